// xgrammar behind the contract of base/plugin.hpp.
#include "base/plugin.hpp"

#include <dlpack/dlpack.h>
#include <xgrammar/xgrammar.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "grammar/kind.hpp"

namespace {

// What xgrammar warns of, while something is compiled on this thread: it goes on without what it cannot do.
thread_local std::string* noted_warnings = nullptr;

}  // namespace

namespace xgrammar {

// Asked for by XGRAMMAR_LOG_CUSTOMIZE.
[[noreturn]] void LogFatalImpl(const std::string& file, int line, const std::string& message) {
  throw std::runtime_error(message.empty() ? file + ":" + std::to_string(line) : message);
}
void LogMessageImpl(const std::string&, int, int level, const std::string& message) {
  constexpr int kWarning = 2;  // XGRAMMAR_LOG_LEVEL_WARNING
  if (level >= kWarning && noted_warnings != nullptr && noted_warnings->empty()) *noted_warnings = message;
}

}  // namespace xgrammar

namespace {

using cairn::grammar::Kind;
using cairn::grammar::kMostBlanks;

// Bytes of rules' masks that are kept for other grammars with such rules.
constexpr int64_t kMostCached = int64_t{64} << 20;

struct Any {
  virtual ~Any() = default;
};

struct Compiler : Any {
  Compiler(const std::vector<std::string>& pieces, const std::vector<int32_t>& ends)
      : tokens(pieces, xgrammar::VocabType::RAW, std::nullopt, ends),
        compiler(tokens, 1, true, kMostCached, true) {}  // masks are made when a text comes to them
  xgrammar::TokenizerInfo tokens;
  xgrammar::GrammarCompiler compiler;
};

struct Grammar : Any {
  Grammar(xgrammar::CompiledGrammar made, bool ends) : compiled(std::move(made)), has_ends(ends) {}
  xgrammar::CompiledGrammar compiled;
  bool has_ends;
};

struct Matcher : Any {
  explicit Matcher(const Grammar& grammar) : matcher(grammar.compiled, std::nullopt, !grammar.has_ends) {}
  xgrammar::GrammarMatcher matcher;
};

// One line, without the words of xgrammar's own checks.
std::string readable(std::string text) {
  const std::string check = " is false: ";
  if (const size_t at = text.find(check); text.starts_with("Check failed") && at != std::string::npos)
    text.erase(0, at + check.size());
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

void tell(const std::string& text, char* message, size_t size) {
  if (size == 0) return;
  const size_t bytes = std::min(text.size(), size - 1);
  std::memcpy(message, text.data(), bytes);
  message[bytes] = '\0';
}

template <class Work>
auto guarded(char* message, size_t size, decltype(std::declval<Work>()()) failed, const Work& work)
    -> decltype(work()) {
  try {
    return work();
  } catch (const std::exception& error) {
    tell(readable(error.what()), message, size);
  } catch (...) {
    tell("an unknown failure", message, size);
  }
  return failed;
}

// Strings that are limited in length may have tabs and other control characters in them as xgrammar makes
// them, which no JSON has. The class of those strings stands nowhere else: texts are printed with more
// escapes.
xgrammar::Grammar without_controls(const xgrammar::Grammar& grammar) {
  const std::string lax = R"([^\"\\\r\n])", right = R"([^\0-\x1f\"\\])";
  std::string text = grammar.ToString();
  size_t at = text.find(lax);
  if (at == std::string::npos) return grammar;
  for (; at != std::string::npos; at = text.find(lax, at + right.size())) text.replace(at, lax.size(), right);
  return xgrammar::Grammar::FromEBNF(text);
}

xgrammar::Grammar read(const Compiler& compiler, Kind kind, const std::string& text) {
  switch (kind) {
    case Kind::json_schema:
      return without_controls(
          xgrammar::Grammar::FromJSONSchema(text, true, std::nullopt, std::nullopt, true, kMostBlanks));
    case Kind::regex:
      return xgrammar::Grammar::FromRegex(text);
    case Kind::ebnf:
      return xgrammar::Grammar::FromEBNF(text);
    case Kind::structure:
      break;
  }
  auto made = xgrammar::Grammar::FromStructuralTag(text, compiler.tokens);
  if (auto* error = std::get_if<xgrammar::StructuralTagError>(&made))
    throw std::runtime_error(std::visit([](const auto& one) { return std::string(one.what()); }, *error));
  return without_controls(std::get<xgrammar::Grammar>(std::move(made)));
}

// Error: nothing may come first.
void check_beginning(const Grammar& grammar);

void* compile(void* with, int kind, const char* text, size_t bytes, char* message, size_t size) {
  return guarded(message, size, static_cast<void*>(nullptr), [&]() -> void* {
    auto& compiler = *static_cast<Compiler*>(static_cast<Any*>(with));
    std::string warnings;
    struct Noting {
      explicit Noting(std::string* to) { noted_warnings = to; }
      ~Noting() { noted_warnings = nullptr; }
    };
    std::optional<xgrammar::Grammar> grammar;
    {
      const Noting noting(&warnings);
      grammar = read(compiler, static_cast<Kind>(kind), std::string(text, bytes));
    }
    if (!warnings.empty()) throw std::runtime_error("it cannot be enforced: " + warnings);
    auto made = std::make_unique<Grammar>(compiler.compiler.CompileGrammar(*grammar),
                                          !compiler.tokens.GetStopTokenIds().empty());
    check_beginning(*made);
    return static_cast<Any*>(made.release());
  });
}

DLTensor tensor_of(uint32_t* bits, int64_t* words) {
  DLTensor tensor{};
  tensor.data = bits;
  tensor.device = {kDLCPU, 0};
  tensor.ndim = 1;
  tensor.dtype = xgrammar::GetBitmaskDLType();
  tensor.shape = words;
  return tensor;
}

void fill(xgrammar::GrammarMatcher& matcher, std::span<uint32_t> bits) {
  auto words = static_cast<int64_t>(bits.size());
  DLTensor tensor = tensor_of(bits.data(), &words);
  if (!matcher.FillNextTokenBitmask(&tensor)) std::fill(bits.begin(), bits.end(), ~uint32_t{0});
}

void check_beginning(const Grammar& grammar) {
  Matcher first(grammar);
  std::vector<uint32_t> bits(
      static_cast<size_t>(xgrammar::GetBitmaskSize(grammar.compiled.GetTokenizerInfo().GetVocabSize())));
  fill(first.matcher, bits);
  if (std::all_of(bits.begin(), bits.end(), [](uint32_t word) { return word == 0; }) &&
      !first.matcher.IsCompleted())
    throw std::runtime_error("it allows no text of this model's tokens");
}

Matcher& matcher_of(void* any) {
  return *static_cast<Matcher*>(static_cast<Any*>(any));
}

}  // namespace

extern "C" {
__attribute__((visibility("default"))) extern const cairn::GrammarPlugin cairn_grammar;
const cairn::GrammarPlugin cairn_grammar = {
    .head = {sizeof(cairn::GrammarPlugin), cairn::kPluginBuild},
    .make_compiler = [](const std::string_view* pieces, size_t tokens, const int32_t* ends, size_t end_count,
                        char* message, size_t size) -> void* {
      return guarded(message, size, static_cast<void*>(nullptr), [&]() -> void* {
        const std::vector<std::string> texts(pieces, pieces + tokens);
        return static_cast<Any*>(new Compiler(texts, {ends, ends + end_count}));
      });
    },
    .compile = compile,
    .make_matcher = [](void* grammar, char* message, size_t size) -> void* {
      return guarded(message, size, static_cast<void*>(nullptr), [&]() -> void* {
        return static_cast<Any*>(new Matcher(*static_cast<Grammar*>(static_cast<Any*>(grammar))));
      });
    },
    .free = [](void* any) { delete static_cast<Any*>(any); },
    .allowed =
        [](void* matcher, uint32_t* bits, size_t words, char* message, size_t size) {
          return guarded(message, size, -1, [&] {
            fill(matcher_of(matcher).matcher, {bits, words});
            return 0;
          });
        },
    .accept =
        [](void* matcher, int32_t token, char* message, size_t size) {
          return guarded(message, size, -1,
                         [&] { return matcher_of(matcher).matcher.AcceptToken(token) ? 1 : 0; });
        },
    .rollback =
        [](void* matcher, size_t tokens, char* message, size_t size) {
          return guarded(message, size, -1, [&] {
            matcher_of(matcher).matcher.Rollback(static_cast<int>(tokens));
            return 0;
          });
        },
    .can_end =
        [](const void* matcher) {
          return static_cast<const Matcher*>(static_cast<const Any*>(matcher))->matcher.IsCompleted() ? 1 : 0;
        }};
}
