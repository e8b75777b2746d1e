#include "grammar/compiler.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/plugin.hpp"
#include "grammar/schema.hpp"

namespace cairn::grammar {
namespace {

constexpr size_t kMostKept = 8;  // grammars, for requests that want them again

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::json_schema:
      return "the schema";
    case Kind::regex:
      return "the regular expression";
    default:
      return "the grammar";
  }
}

class Message {
 public:
  char* data() { return text_.data(); }
  size_t size() const { return text_.size(); }
  const char* text() const { return text_.data(); }

 private:
  std::array<char, 1024> text_{};
};

const GrammarPlugin& open_library() {
  return open_plugin<GrammarPlugin>(own_library(
      GrammarPlugin::kLibrary,
      "./quickstart.sh --grammar fetches its sources and builds it, for answers held to grammars and schemas "
      "(docs/grammar.md)"));
}

// What the library hands out, given back in the end.
using Handle = std::unique_ptr<void, void (*)(void*)>;

class PluginMatcher : public Matcher {
 public:
  PluginMatcher(const GrammarPlugin& plugin, std::shared_ptr<const void> grammar, Handle matcher)
      : plugin_(plugin), grammar_(std::move(grammar)), matcher_(std::move(matcher)) {}

  void allowed(std::span<uint32_t> bits) override {
    Message message;
    check(plugin_.allowed(matcher_.get(), bits.data(), bits.size(), message.data(), message.size()), message);
  }
  bool accept(Token token) override {
    Message message;
    return check(plugin_.accept(matcher_.get(), token, message.data(), message.size()), message) != 0;
  }
  void rollback(size_t tokens) override {
    Message message;
    check(plugin_.rollback(matcher_.get(), tokens, message.data(), message.size()), message);
  }
  bool can_end() const override { return plugin_.can_end(matcher_.get()) != 0; }

 private:
  static int check(int result, const Message& message) {
    if (result < 0) fail(ErrorCode::unsupported, "the grammar: {}", message.text());
    return result;
  }

  const GrammarPlugin& plugin_;
  const std::shared_ptr<const void> grammar_;
  Handle matcher_;
};

}  // namespace

struct Compiler::Library {
  explicit Library(const text::Tokenizer& tokenizer)
      : plugin(open_library()), compiler(nullptr, plugin.free) {
    std::vector<std::string> pieces(tokenizer.vocabulary());
    std::vector<int32_t> ends;
    for (size_t i = 0; i < pieces.size(); ++i) {
      const auto token = static_cast<Token>(i);
      // Bytes that no text has: a control token comes where a grammar names it, and nowhere else.
      const bool control = tokenizer.is_control(token) && !tokenizer.is_end(token);
      pieces[i] = control ? "\xff" + std::string(tokenizer.raw_token(token)) : tokenizer.piece(token);
      if (tokenizer.is_end(token)) ends.push_back(token);
    }
    const std::vector<std::string_view> views(pieces.begin(), pieces.end());
    Message message;
    compiler.reset(plugin.make_compiler(views.data(), views.size(), ends.data(), ends.size(), message.data(),
                                        message.size()));
    if (!compiler) fail(ErrorCode::unsupported, "{}: {}", GrammarPlugin::kLibrary, message.text());
  }

  const GrammarPlugin& plugin;
  Handle compiler;
};

namespace {

class PluginGrammar : public Grammar {
 public:
  PluginGrammar(std::shared_ptr<const void> library, const GrammarPlugin& plugin, void* grammar)
      : plugin_(plugin), grammar_(grammar, [library, free = plugin.free](void* handle) { free(handle); }) {}

  std::unique_ptr<Matcher> begin() const override {
    Message message;
    Handle matcher(plugin_.make_matcher(grammar_.get(), message.data(), message.size()), plugin_.free);
    if (!matcher) fail(ErrorCode::unsupported, "the grammar: {}", message.text());
    return std::make_unique<PluginMatcher>(plugin_, grammar_, std::move(matcher));
  }

 private:
  const GrammarPlugin& plugin_;
  const std::shared_ptr<void> grammar_;
};

}  // namespace

Compiler::~Compiler() = default;

std::shared_ptr<Compiler::Library> Compiler::library() {
  const std::lock_guard lock(mutex_);
  if (!library_) library_ = std::make_shared<Library>(*tokenizer_);
  return library_;
}

std::shared_ptr<const Grammar> Compiler::compile(Kind kind, std::string_view text) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(made_.begin(), made_.end(),
                                    [&](const Made& one) { return one.kind == kind && one.text == text; });
    if (found != made_.end()) {
      made_.splice(made_.begin(), made_, found);
      return found->grammar;
    }
  }
  const auto library = this->library();
  if (text.size() > kMostBytes) {
    fail(ErrorCode::invalid_argument, "{} has {} bytes; at most {} are taken", name_of(kind), text.size(),
         kMostBytes);
  }
  const std::string taken = kind == Kind::json_schema ? checked_schema(text).dump() : std::string(text);
  Message message;
  void* made = library->plugin.compile(library->compiler.get(), static_cast<int>(kind), taken.data(),
                                       taken.size(), message.data(), message.size());
  if (made == nullptr) fail(ErrorCode::invalid_argument, "{}: {}", name_of(kind), message.text());
  auto grammar = std::make_shared<const PluginGrammar>(library, library->plugin, made);
  const std::lock_guard lock(mutex_);
  made_.push_front({kind, std::string(text), grammar});
  if (made_.size() > kMostKept) made_.pop_back();
  return grammar;
}

}  // namespace cairn::grammar
