#include "grammar/compiler.hpp"

#include <algorithm>
#include <array>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/plugin.hpp"
#include "grammar/expression_size.hpp"
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

// More would take minutes and gigabytes, in xgrammar's making or at each token.
void check_size(Kind kind, std::string_view text) {
  if (kind != Kind::regex && kind != Kind::ebnf) return;
  const ExpressionSize size = kind == Kind::regex ? size_of_regex(text) : size_of_rules(text);
  const size_t most = kind == Kind::regex ? kMostChoices : kMostRuleChoices;
  if (size.places > kMostBytes) {
    fail(ErrorCode::invalid_argument, "{}: with its repetitions written out it has more than {} characters",
         name_of(kind), kMostBytes);
  }
  if (size.choices > most) {
    fail(ErrorCode::invalid_argument,
         "{}: with its repetitions written out it has {} times where something may come or not; at most {} "
         "are taken",
         name_of(kind), size.choices, most);
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

// Nanoseconds that this thread has computed, whoever else did.
int64_t thread_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

class PluginMatcher : public Matcher {
 public:
  PluginMatcher(const GrammarPlugin& plugin, std::shared_ptr<const void> grammar, Handle matcher,
                const MatchingTime& most)
      : plugin_(plugin), grammar_(std::move(grammar)), matcher_(std::move(matcher)), most_(most) {}

  void allowed(std::span<uint32_t> bits) override {
    Message message;
    const int64_t begin = thread_ns();
    check(plugin_.allowed(matcher_.get(), bits.data(), bits.size(), message.data(), message.size()), message);
    spent_ += std::chrono::nanoseconds(thread_ns() - begin);
    if (spent_ > most_.first + most_.each * ++tokens_) {
      fail(ErrorCode::unsupported,
           "the grammar: {:.3g} s were spent on {} tokens: what came so far can be read in too many ways",
           std::chrono::duration<double>(spent_).count(), tokens_);
    }
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
  const MatchingTime most_;
  std::chrono::nanoseconds spent_{0};
  int64_t tokens_ = 0;
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
  PluginGrammar(std::shared_ptr<const void> library, const GrammarPlugin& plugin, void* grammar,
                const MatchingTime& most)
      : plugin_(plugin),
        most_(most),
        grammar_(grammar, [library, free = plugin.free](void* handle) { free(handle); }) {}

  std::unique_ptr<Matcher> begin() const override {
    Message message;
    Handle matcher(plugin_.make_matcher(grammar_.get(), message.data(), message.size()), plugin_.free);
    if (!matcher) fail(ErrorCode::unsupported, "the grammar: {}", message.text());
    return std::make_unique<PluginMatcher>(plugin_, grammar_, std::move(matcher), most_);
  }

 private:
  const GrammarPlugin& plugin_;
  const MatchingTime most_;
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
  check_size(kind, text);
  const std::string taken = kind == Kind::json_schema ? checked_schema(text).dump() : std::string(text);
  Message message;
  void* made = library->plugin.compile(library->compiler.get(), static_cast<int>(kind), taken.data(),
                                       taken.size(), message.data(), message.size());
  if (made == nullptr) fail(ErrorCode::invalid_argument, "{}: {}", name_of(kind), message.text());
  auto grammar = std::make_shared<const PluginGrammar>(library, library->plugin, made, most_);
  const std::lock_guard lock(mutex_);
  made_.push_front({kind, std::string(text), grammar});
  if (made_.size() > kMostKept) made_.pop_back();
  return grammar;
}

}  // namespace cairn::grammar
