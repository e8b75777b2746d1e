// A checkpoint's tokenizer as GGUF metadata: tokens, types, merges or scores, special ids, chat templates.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "convert/checkpoint.hpp"
#include "convert/config.hpp"
#include "convert/metadata.hpp"
#include "text/tokenizer_vocabulary.hpp"

namespace cairn::convert {

// One for each way in which llama.cpp's converter looks for a family's tokenizer. Errors: not_found (no
// tokenizer's file), format (files that contradict themselves or the config, each naming file and token),
// unsupported (a kind of tokenizer, a pre-tokenizer that is not known, by name).
void any_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void bpe_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void llama_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void gemma_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void gemma3_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void phi2_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void phi3_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void glm4_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void glm4_moe_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void gemma4_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);
void word_piece_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out);

// --- what these are made of -----------------------------------------------------------------------------

using text::TokenType;

struct Tokens {
  std::vector<std::string> texts;
  std::vector<float> scores;  // empty for BPE
  std::vector<TokenType> types;
};

struct TokenizerFiles {
  explicit TokenizerFiles(std::string folder_);
  // Without what lies there.
  static TokenizerFiles none(std::string folder);
  std::string path(const char* name) const { return folder + "/" + name; }
  bool has(const char* name) const;

  std::string folder;
  std::optional<Json> tokenizer;  // tokenizer.json
  std::optional<Json> config;     // tokenizer_config.json
  std::optional<Json> special;    // special_tokens_map.json, where the former does not list added tokens

 private:
  TokenizerFiles() = default;
};

// Tokens added to a tokenizer, by id: what tokenizer.json lists, with what tokenizer_config.json says of
// them, and the special ones.
struct AddedToken {
  uint32_t id;
  std::string text;
  bool special;
};
std::vector<AddedToken> added_tokens(const TokenizerFiles& files);
// bos, eos and the like, by their texts.
std::vector<std::string> special_texts(const TokenizerFiles& files);
// Names that control tokens have, whatever the files say of them.
bool looks_special(const std::string& text);

// Byte-level BPE of tokenizer.json: `size` tokens, those that it lacks as [PADn].
Tokens read_bpe_tokens(const TokenizerFiles& files, uint32_t size);
// "a b" each; from merges.txt where tokenizer.json has none.
std::vector<std::string> read_merges(const TokenizerFiles& files);
// SentencePiece's BPE as tokenizer.json has it, with byte fallback; false when it is none.
bool is_sentencepiece_json(const Json& tokenizer);
Tokens read_sentencepiece_json(const TokenizerFiles& files, uint32_t size);
// tokenizer.model, with added_tokens.json and tokenizer_config.json; `phi`: tokenizer.json's added tokens
// too.
Tokens read_sentencepiece(const TokenizerFiles& files, uint32_t size, bool phi = false);

void write_tokens(const Tokens& tokens, const char* model, const std::string& pre, Metadata& out);

}  // namespace cairn::convert
