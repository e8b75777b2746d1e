#include "text/chat_template.hpp"

#include <chrono>
#include <utility>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "jinja/ast.hpp"
#include "jinja/interpreter.hpp"
#include "jinja/json.hpp"
#include "jinja/lexer.hpp"
#include "jinja/limits.hpp"
#include "jinja/parser.hpp"
#include "jinja/runtime.hpp"
#include "jinja/unicode.hpp"

namespace cairn::text {
namespace {

// Size of the variables' text, which what rendering may use up depends on.
size_t text_bytes(const jinja::Value& value) {
  // A weight counts 64 bytes of text as one part.
  return size_t{64} * value.extent().weight;
}

}  // namespace

struct ChatTemplate::State {
  std::string source;
  jinja::ast::Frame root;
  Clock clock;
};

ChatTemplate::ChatTemplate(std::string_view source, Clock clock) : state_(std::make_unique<State>()) {
  if (source.size() > jinja::limits::source) {
    fail(ErrorCode::unsupported, "chat template: longer than {} bytes", jinja::limits::source);
  }
  if (!is_utf8(source)) fail(ErrorCode::format, "chat template: not valid UTF-8");
  state_->source = jinja::normalize_source(source);
  state_->root = jinja::parse(state_->source);
  state_->clock = clock ? std::move(clock) : Clock(std::chrono::system_clock::now);
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

const std::string& ChatTemplate::source() const {
  return state_->source;
}

std::string ChatTemplate::render(const nlohmann::ordered_json& variables) const {
  if (!variables.is_object()) {
    fail(ErrorCode::invalid_argument, "chat template: the variables are not a JSON object");
  }
  const jinja::Value values = jinja::from_json(variables);
  jinja::Runtime runtime(state_->clock, text_bytes(values));
  return jinja::Interpreter(state_->root, state_->source, values, runtime).render();
}

}  // namespace cairn::text
