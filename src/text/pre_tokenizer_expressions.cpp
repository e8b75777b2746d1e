#include <initializer_list>
#include <utility>
#include <vector>

#include "text/pre_tokenizer.hpp"
#include "text/pre_tokenizer_unicode.hpp"

namespace cairn::text {
namespace {

constexpr std::string_view gpt2 =
    R"re('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)re";
constexpr std::string_view llama3 = R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})re"
                                    R"re(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view qwen2 = R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})re"
                                   R"re(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view qwen35 =
    R"re((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})re"
    R"re(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view gpt4o =
    R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?)re"
    R"re(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?)re"
    R"re(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";
constexpr std::string_view tekken =
    R"re([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+)re"
    R"re(|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*)re"
    R"re(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

// Hugging Face's "Digits" step: characters of a numeric category, one by one (\p{Digit} is our own name, for
// that step follows a later version of Unicode than the expressions do).
constexpr std::string_view digit = R"re(\p{Digit})re";
constexpr std::string_view line_break = R"re([\r\n])re";
constexpr std::string_view han_to_hangul = R"re([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)re";

// The cased letters of Unicode 11, as DeepSeek's tokenizer.json lists them; by number, because some have
// canonical equivalents that an editor's normalisation would put in their place.
constexpr std::string_view deepseek_words =
    R"(\s?[)"
    R"(A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A})"
    R"(\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556})"
    R"(\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF})"
    R"(\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D})"
    R"(\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D})"
    R"(\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4})"
    R"(\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4})"
    R"(\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124})"
    R"(\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F})"
    R"(\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
    R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F})"
    R"(\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17})"
    R"(\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3})"
    R"(\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF})"
    R"(\x{1E900}-\x{1E943})"
    R"(]+)";
constexpr std::string_view deepseek_signs =
    R"re(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)re";
// "\s+$", told that a match can only start where a run of blanks does: the same, but linear in time.
constexpr std::string_view final_blanks = R"re((?<!\s)\s+$)re";

constexpr std::string_view deepseek3_words =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)re"
    R"re(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

struct Named {
  std::string_view name;
  PreTokenizerInfo info;
};

PreTokenizerInfo info(std::vector<std::string_view> expressions) {
  return {std::move(expressions)};
}

PreTokenizerInfo whole_words(std::vector<std::string_view> expressions) {
  PreTokenizerInfo result = info(std::move(expressions));
  result.ignore_merges = true;
  result.add_bos = true;
  return result;
}

PreTokenizerInfo composed(std::vector<std::string_view> expressions) {
  PreTokenizerInfo result = info(std::move(expressions));
  result.normalize = true;
  return result;
}

std::vector<Named> table() {
  std::vector<Named> out;
  const auto add = [&](std::initializer_list<std::string_view> names, const PreTokenizerInfo& what) {
    for (std::string_view name : names) out.push_back({name, what});
  };
  add({"gpt-2", "gpt2", "phi-2", "mpt", "olmo", "exaone4"}, info({gpt2}));
  add({"smollm", "starcoder", "refact", "command-r", "codeshell"}, info({digit, gpt2}));
  add({"llama-bpe", "llama3", "llama-v3", "falcon3", "lfm2", "pixtral"}, whole_words({llama3}));
  add({"dbrx", "smaug-bpe", "chatglm-bpe"}, info({llama3}));
  PreTokenizerInfo glm4 = whole_words({llama3});
  glm4.add_bos = false;
  add({"glm4"}, glm4);
  add({"qwen2", "deepseek-r1-qwen", "megrez"}, composed({qwen2}));
  add({"stablelm2"}, info({qwen2}));
  add({"qwen35"}, composed({qwen35}));
  add({"gpt-4o", "llama4"}, info({gpt4o}));
  add({"tekken"}, whole_words({tekken}));
  add({"deepseek-llm"},
      info({line_break, deepseek_words, deepseek_signs, final_blanks, han_to_hangul, digit}));
  add({"deepseek-coder"}, info({line_break, R"re(\s?\p{L}+)re", R"re(\s?\p{P}+)re", han_to_hangul, digit}));
  add({"deepseek-v3"},
      info({R"re(\p{N}{1,3})re", R"re([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)re",
            deepseek3_words}));
  add({"falcon"}, info({R"re([\p{P}\$\+<=>\^~\|`]+)re", gpt2, "[0-9][0-9][0-9]"}));
  add({"default"}, info({R"re([\p{P}\$\+<=>\^~\|]+)re", gpt2, R"re(\p{N}+)re", "[0-9][0-9][0-9]"}));
  return out;
}

std::string_view additions(std::string_view category) {
  for (const UnicodeAdditions& one : unicode_additions()) {
    if (one.category == category) return one.members;
  }
  return {};
}

constexpr std::string_view white_space =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

}  // namespace

std::string portable_expression(std::string_view expression) {
  std::string out;
  bool inside = false;  // a character class
  const auto members = [&](std::string_view what, std::string_view more, bool negated) {
    if (inside) {
      out.append(what).append(more);
    } else {
      out.append(negated ? "[^" : "[").append(what).append(more).append("]");
    }
  };
  for (size_t i = 0; i < expression.size();) {
    const std::string_view rest = expression.substr(i);
    if (rest.substr(0, 3) == "\\p{") {
      const size_t end = rest.find('}');
      const std::string_view category = rest.substr(3, end - 3);
      members(category == "Digit" ? "\\p{N}" : rest.substr(0, end + 1), additions(category), false);
      i += end + 1;
    } else if (rest.substr(0, 2) == "\\s" || rest.substr(0, 2) == "\\S") {
      members(white_space, {}, rest[1] == 'S');
      i += 2;
    } else if (rest[0] == '\\') {
      out.append(rest.substr(0, 2));
      i += 2;
    } else {
      if (rest[0] == '[') inside = true;
      if (rest[0] == ']') inside = false;
      out.push_back(rest[0]);
      ++i;
    }
  }
  return out;
}

const PreTokenizerInfo* find_pre_tokenizer(std::string_view name) {
  static const std::vector<Named> all = table();
  for (const Named& one : all) {
    if (one.name == name) return &one.info;
  }
  return nullptr;
}

}  // namespace cairn::text
