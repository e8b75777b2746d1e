#include "llm/draft_model.hpp"

#include <algorithm>
#include <string_view>

#include "base/error.hpp"

namespace cairn::llm {
namespace {

// Names of tokens that fill a vocabulary up: [PAD151665] (llama.cpp's converter), <unused12>.
bool is_filler(std::string_view token) {
  return token.starts_with("[PAD") || token.starts_with("<unused");
}

size_t used_tokens(const text::Tokenizer& tokenizer) {
  size_t size = tokenizer.vocabulary();
  while (size > 0 && is_filler(tokenizer.raw_token(static_cast<Token>(size - 1)))) --size;
  return size;
}

}  // namespace

void check_vocabulary(const Model& model, const Model& other, std::string_view what) {
  const auto ours = model.tokenizer(), its = other.tokenizer();
  const size_t wanted = used_tokens(*ours), size = used_tokens(*its);
  for (size_t i = 0; i < std::min(wanted, size); ++i) {
    const auto token = static_cast<Token>(i);
    if (ours->raw_token(token) == its->raw_token(token)) continue;
    fail(ErrorCode::invalid_argument,
         "{} cannot {} {}: its vocabulary is another one, where token {} is '{}', not '{}'",
         other.file().path(), what, model.file().path(), i, its->raw_token(token), ours->raw_token(token));
  }
  if (size == wanted) return;
  fail(ErrorCode::invalid_argument, "{} cannot {} {}: its vocabulary has {} tokens, not {}",
       other.file().path(), what, model.file().path(), size, wanted);
}

void check_draft(const Model& model, const Model& draft) {
  check_vocabulary(model, draft, "draft for");
}

std::shared_ptr<engine::Engine> make_draft(const Model& model, const Model& draft, engine::Options options) {
  check_draft(model, draft);
  options.context = model.context(options.context);
  options.precision = engine::Precision::standard;  // its guesses are checked
  options.memory = 0;
  options.memory_auto = false;
  options.device_memory = 0;
  options.device_memory_auto = false;
  options.warn = {};
  options.observer = {};
  options.repeatable = false;
  return draft.make_engine(std::move(options));
}

}  // namespace cairn::llm
