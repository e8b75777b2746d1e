#include "convert/pre_tokenizer_name.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "formats/byte_reader.hpp"
#include "text/pre_tokenizer.hpp"

namespace cairn::convert {
namespace {

using text::find_pre_tokenizer;

// Names that a family's models have, most particular first; then those of any.
std::vector<std::string_view> candidates(std::string_view architecture, bool adds_bos) {
  std::vector<std::string_view> out;
  if (architecture == "phi2") out = {"phi-2"};
  if (architecture == "glm4") out = {"glm4"};
  if (architecture == "exaone4") out = {"exaone4"};
  if (architecture == "lfm2") out = {"lfm2"};
  if (architecture == "deepseek2") out = {"deepseek-llm"};
  const bool granite = architecture.starts_with("granite");
  if (granite) out = {"refact"};
  if (architecture == "phi3" || architecture == "olmo2" || granite) out.emplace_back("dbrx");
  out.emplace_back(adds_bos ? "llama-bpe" : "smaug-bpe");
  for (const char* name : {"smollm", "tekken", "qwen2", "stablelm2", "qwen35", "gpt-2", "gpt-4o",
                           "deepseek-coder", "deepseek-v3"})
    out.emplace_back(name);
  return out;
}

// A pre_tokenizer's steps as expressions, one after the other.
class Steps {
 public:
  Steps(const Json& tokenizer, const std::string& path) : path_(path) {
    if (const Json* outer = member(tokenizer, "pre_tokenizer")) read(*outer);
  }
  const std::vector<std::string>& expressions() const noexcept { return expressions_; }
  bool byte_level() const noexcept { return byte_level_; }

 private:
  void read(const Json& step) {
    const std::string type = text_of(step, "type");
    if (type == "Sequence") {
      if (const Json* inner = member(step, "pretokenizers"); inner && inner->is_array()) {
        for (const Json& one : *inner) read(one);
      }
    } else if (type == "Split") {
      split(step);
    } else if (type == "Digits" && step.value("individual_digits", Json()) == true) {
      expressions_.emplace_back("\\p{Digit}");
    } else if (type == "ByteLevel") {
      if (step.value("add_prefix_space", Json()) == true) unknown("ByteLevel with add_prefix_space");
      byte_level_ = true;
      if (step.value("use_regex", Json(true)) != false)
        expressions_.emplace_back(find_pre_tokenizer("gpt-2")->expressions[0]);
    } else {
      unknown(quote(type));
    }
  }

  // Matches become pieces, and so does what lies between them: said by "Isolated", or by removing what does
  // not match where everything does.
  void split(const Json& step) {
    const Json* pattern = member(step, "pattern");
    const std::string expression = pattern ? text_of(*pattern, "Regex") : std::string();
    const bool inverted = step.value("invert", Json(false)) == true;
    const std::string behavior = text_of(step, "behavior");
    if (expression.empty() || !((behavior == "Isolated" && !inverted) || (behavior == "Removed" && inverted)))
      unknown("Split by " + (pattern ? quote(pattern->dump(), 200) : "nothing"));
    expressions_.push_back(expression);
  }

  [[noreturn]] void unknown(const std::string& what) const {
    fail(ErrorCode::unsupported, "{}: the pre-tokenizer {} is not known", path_, what);
  }

  const std::string& path_;
  std::vector<std::string> expressions_;
  bool byte_level_ = false;
};

// An expression of ours as tokenizer.json has it: characters in place of their numbers, and blanks at the end
// without what only makes them fast.
std::string published(std::string expression) {
  constexpr std::string_view kNumber = "\\x{", kFast = "(?<!\\s)\\s+$";
  if (expression == kFast) return "\\s+$";
  for (size_t at = expression.find(kNumber); at != std::string::npos; at = expression.find(kNumber, at)) {
    const size_t end = expression.find('}', at);
    utf8proc_uint8_t character[4];
    const auto code = std::stoul(expression.substr(at + kNumber.size()), nullptr, 16);
    const auto bytes = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), character);
    expression.replace(at, end + 1 - at, reinterpret_cast<const char*>(character),
                       static_cast<size_t>(bytes));
  }
  return expression;
}

bool composes(const Json& tokenizer) {
  const Json* normalizer = member(tokenizer, "normalizer");
  return normalizer && text_of(*normalizer, "type") == "NFC";
}

bool has_token(const Json& tokenizer, std::string_view text) {
  const Json* added = member(tokenizer, "added_tokens");
  return added && std::any_of(added->begin(), added->end(),
                              [&](const Json& token) { return text_of(token, "content") == text; });
}

}  // namespace

std::string pre_tokenizer_name(const Json& tokenizer, std::string_view architecture, bool adds_bos,
                               const std::string& path) {
  const Steps steps(tokenizer, path);
  for (const std::string_view name : candidates(architecture, adds_bos)) {
    const text::PreTokenizerInfo& info = *find_pre_tokenizer(name);
    if (!steps.byte_level() ||
        !std::equal(info.expressions.begin(), info.expressions.end(), steps.expressions().begin(),
                    steps.expressions().end(), [](const auto& ours, const std::string& theirs) {
                      return published(std::string(ours)) == theirs;
                    }))
      continue;
    const bool qwen = name == "qwen2" || name == "stablelm2";
    if (qwen && info.normalize != composes(tokenizer)) continue;
    // DeepSeek's distilled Qwen: the same but for its special tokens.
    if (name == "qwen2" && has_token(tokenizer,
                                     "<\xEF\xBD\x9C"
                                     "begin\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"))
      return "deepseek-r1-qwen";
    return std::string(name);
  }
  std::string list;
  for (const std::string& expression : steps.expressions())
    list += (list.empty() ? "" : ", ") + quote(expression, 200);
  fail(ErrorCode::unsupported, "{}: the pre-tokenizer with {} {} is not known", path,
       steps.byte_level() ? "byte-level tokens and the expressions"
                          : "no byte-level tokens and the expressions",
       list.empty() ? "(none)" : list);
}

}  // namespace cairn::convert
