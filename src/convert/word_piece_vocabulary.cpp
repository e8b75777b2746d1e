// WordPiece of tokenizer.json, as llama.cpp's files have it: U+2581 before what begins a word, nothing in
// place of "##" before what continues one.
#include "base/error.hpp"
#include "convert/special_tokens.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr std::string_view kBlank = "\xE2\x96\x81", kContinues = "##";

const Json& word_piece_model(const TokenizerFiles& files) {
  const std::string path = files.path("tokenizer.json");
  if (!files.tokenizer) fail(ErrorCode::not_found, "{}: is not there; vocab.txt alone is not read", path);
  const Json* model = member(*files.tokenizer, "model");
  if (!model) fail(ErrorCode::format, "{}: has no model", path);
  // Files of before 2021 leave it unsaid.
  const std::string type = text_of(*model, "type");
  const bool known = type == "WordPiece" || (type.empty() && model->contains("max_input_chars_per_word"));
  if (!known)
    fail(ErrorCode::unsupported, "{}: BERT's tokenizer is {}, expected WordPiece", path, quote(type));
  if (const std::string prefix = text_of(*model, "continuing_subword_prefix"); prefix != kContinues)
    fail(ErrorCode::unsupported, "{}: continuing_subword_prefix {} is not supported ('{}' is)", path,
         quote(prefix), kContinues);
  return *model;
}

// Normalisers that cut texts otherwise than BERT's would give other tokens in silence.
void check_steps(const TokenizerFiles& files) {
  const auto is_berts = [&](const char* step, const char* wanted) {
    const Json* found = member(*files.tokenizer, step);
    const std::string type = found ? text_of(*found, "type") : std::string();
    if (type != wanted)
      fail(ErrorCode::unsupported, "{}: {} {} is not supported with WordPiece ({} is)",
           files.path("tokenizer.json"), step, quote(type), wanted);
    return *found;
  };
  const Json normalizer = is_berts("normalizer", "BertNormalizer");
  for (const char* key : {"clean_text", "handle_chinese_chars"}) {
    const Json* value = member(normalizer, key);
    if (value && *value != true)
      fail(ErrorCode::unsupported, "{}: a normalizer without {} is not supported",
           files.path("tokenizer.json"), key);
  }
  is_berts("pre_tokenizer", "BertPreTokenizer");
}

Tokens read_tokens(const TokenizerFiles& files, uint32_t size) {
  const Json& model = word_piece_model(files);
  const std::string path = files.path("tokenizer.json");
  Tokens out;
  for (uint32_t i = 0; i < size; ++i) out.texts.push_back(fmt::format("{}[PAD{}]", kBlank, i));
  out.types.assign(size, TokenType::unused);
  const auto place = [&](uint64_t id, const std::string& text, TokenType type) {
    if (id >= size)
      fail(ErrorCode::format, "{}: token {} has id {}, but config.json's vocab_size is {}", path, quote(text),
           id, size);
    const bool continues = text.starts_with(kContinues);
    out.texts[id] = type == TokenType::control ? text
                    : continues                ? text.substr(kContinues.size())
                                               : std::string(kBlank) + text;
    out.types[id] = type;
  };
  const Json* vocabulary = member(model, "vocab");
  if (!vocabulary || !vocabulary->is_object() || vocabulary->empty())
    fail(ErrorCode::format, "{}: has no vocab", path);
  std::vector<bool> taken(size, false);
  for (const auto& [text, number] : vocabulary->items()) {
    const uint64_t id = whole_number(number, UINT32_MAX, path, "a token's id");
    if (id < size && taken[id])
      fail(ErrorCode::format, "{}: tokens {} and {} both have id {}", path, quote(out.texts[id]), quote(text),
           id);
    place(id, text, TokenType::normal);
    taken[id] = true;
  }
  for (const AddedToken& token : added_tokens(files)) {
    const bool control = token.special || looks_special(token.text);
    place(token.id, token.text, control ? TokenType::control : TokenType::user_defined);
  }
  return out;
}

// llama.cpp's table goes by the tokens of a text, of which a tokenizer that cuts texts off keeps fewer: so do
// all-MiniLM's, to 128.
const char* pre_name(const Json& tokenizer) {
  const Json* truncation = member(tokenizer, "truncation");
  return truncation != nullptr && truncation->is_object() ? "jina-v2-en" : "bert-bge";
}

}  // namespace

void word_piece_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  const TokenizerFiles files(checkpoint.folder());
  const uint32_t size = config.size("vocab_size");
  const Tokens tokens = read_tokens(files, size);
  check_steps(files);
  out.set("tokenizer.ggml.token_type_count", config.size("type_vocab_size"));
  write_tokens(tokens, "bert", pre_name(*files.tokenizer), out);
  SpecialTokens(files, config, size).write(out);
}

}  // namespace cairn::convert
