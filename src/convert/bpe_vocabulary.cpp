// Byte-level BPE of tokenizer.json.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581, SentencePiece's space

const Json& bpe_model(const TokenizerFiles& files) {
  const std::string path = files.path("tokenizer.json");
  if (!files.tokenizer) fail(ErrorCode::not_found, "{}: is not there, and no other tokenizer", path);
  const Json* model = member(*files.tokenizer, "model");
  if (!model) fail(ErrorCode::format, "{}: has no model", path);
  std::string type = text_of(*model, "type");
  if (type.empty() && model->contains("merges")) type = "BPE";  // as files of before 2021 leave it unsaid
  if (type != "BPE")
    fail(ErrorCode::unsupported, "{}: tokenizers of kind {} are not supported (BPE is)", path, quote(type));
  return *model;
}

void place(Tokens& tokens, std::vector<bool>& taken, uint64_t id, std::string text, TokenType type,
           const std::string& path) {
  if (id >= tokens.texts.size())
    fail(ErrorCode::format, "{}: token {} has id {}, but config.json's vocab_size is {}", path, quote(text),
         id, tokens.texts.size());
  tokens.texts[id] = std::move(text);
  tokens.types[id] = type;
  taken[id] = true;
}

Tokens blank_tokens(uint32_t size) {
  Tokens out;
  for (uint32_t i = 0; i < size; ++i) out.texts.push_back(fmt::format("[PAD{}]", i));
  out.types.assign(size, TokenType::unused);
  return out;
}

// model.vocab's ids by text, each checked.
template <class Each>
void each_token(const Json& model, const std::string& path, const Each& each) {
  const Json* vocabulary = member(model, "vocab");
  if (!vocabulary || !vocabulary->is_object() || vocabulary->empty())
    fail(ErrorCode::format, "{}: has no vocab", path);
  for (const auto& [text, id] : vocabulary->items())
    each(text, whole_number(id, UINT32_MAX, path, "a token's id"));
}

void replace_all(std::string& text, std::string_view what, std::string_view by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
}

}  // namespace

Tokens read_bpe_tokens(const TokenizerFiles& files, uint32_t size) {
  const Json& model = bpe_model(files);
  const std::string path = files.path("tokenizer.json");
  Tokens out = blank_tokens(size);
  std::vector<bool> taken(size, false);
  each_token(model, path, [&](const std::string& text, uint64_t id) {
    if (id < size && taken[id])
      fail(ErrorCode::format, "{}: tokens {} and {} both have id {}", path, quote(out.texts[id]), quote(text),
           id);
    place(out, taken, id, text, TokenType::normal, path);
  });
  for (AddedToken& token : added_tokens(files)) {
    const bool control = token.special || looks_special(token.text);
    if (!control) replace_all(token.text, kBlank, " ");
    place(out, taken, token.id, std::move(token.text), control ? TokenType::control : TokenType::user_defined,
          path);
  }
  return out;
}

std::vector<std::string> read_merges(const TokenizerFiles& files) {
  const std::string path = files.path("tokenizer.json");
  std::vector<std::string> out;
  const Json* merges = member(bpe_model(files), "merges");
  if (merges && !merges->is_array()) fail(ErrorCode::format, "{}: merges is no list", path);
  for (const Json& merge : merges ? *merges : Json::array()) {
    if (merge.is_string()) {
      out.push_back(merge.get<std::string>());
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      std::string left = merge[0].get<std::string>(), right = merge[1].get<std::string>();
      for (std::string* part : {&left, &right}) replace_all(*part, " ", "\xC4\xA0");  // U+0120
      out.push_back(left + " " + right);
    } else {
      fail(ErrorCode::format, "{}: merge {} is neither a text nor two", path, out.size());
    }
  }
  if (!out.empty() || !files.has("merges.txt")) return out;
  constexpr size_t kMost = size_t{256} << 20;
  std::istringstream lines(read_text_file(files.path("merges.txt"), kMost));
  std::string line, left, right, rest;
  for (bool first = true; std::getline(lines, line); first = false) {
    if (first && line.starts_with('#')) continue;
    std::istringstream words(line);
    if (words >> left >> right && !(words >> rest)) out.push_back(left + " " + right);
  }
  return out;
}

bool is_sentencepiece_json(const Json& tokenizer) {
  const Json *model = member(tokenizer, "model"), *decoder = member(tokenizer, "decoder");
  return model && text_of(*model, "type") == "BPE" && model->value("byte_fallback", Json()) == true &&
         decoder && text_of(*decoder, "type") == "Sequence";
}

Tokens read_sentencepiece_json(const TokenizerFiles& files, uint32_t size) {
  constexpr float kScore = -1000;  // the file has none; the order of merges is told by the ids
  const std::string path = files.path("tokenizer.json");
  const Json& model = bpe_model(files);
  Tokens out = blank_tokens(size);
  std::vector<bool> taken(size, false);
  const std::vector<std::string> specials = special_texts(files);
  const auto type_of = [&](const std::string& text) {
    const auto hex = [](char c) {
      return std::string_view("0123456789abcdefABCDEF").find(c) != std::string_view::npos;
    };
    if (text.size() == 6 && text.starts_with("<0x") && text[5] == '>' && hex(text[3]) && hex(text[4]))
      return TokenType::byte;
    return std::ranges::find(specials, text) != specials.end() ? TokenType::control : TokenType::normal;
  };
  uint64_t base = 0;
  each_token(model, path, [&](const std::string& text, uint64_t id) {
    ++base;
    place(out, taken, id, text, type_of(text), path);
  });
  for (const AddedToken& token : added_tokens(files)) {
    if (token.id < base) continue;
    const bool special = std::ranges::find(specials, token.text) != specials.end();
    place(out, taken, token.id, token.text, special ? TokenType::control : TokenType::user_defined, path);
  }
  out.scores.assign(size, kScore);
  return out;
}

}  // namespace cairn::convert
