#include "convert/vocabulary.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "convert/pre_tokenizer_name.hpp"
#include "convert/special_tokens.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr const char* kSentencePieceFile = "tokenizer.model";
constexpr const char* kSpacePrefix = "tokenizer.ggml.add_space_prefix";

void write_bpe(const TokenizerFiles& files, const Config& config, std::string_view architecture,
               const std::vector<std::pair<std::string, uint64_t>>& also, Metadata& out) {
  const Tokens tokens = read_bpe_tokens(files, config.size("vocab_size"));
  SpecialTokens special(files, config, std::nullopt);
  for (const auto& [kind, id] : also) special.set(kind, id);
  const std::string pre =
      pre_tokenizer_name(*files.tokenizer, architecture, special.adds("bos"), files.path("tokenizer.json"));
  write_tokens(tokens, "gpt2", pre, out);
  const std::vector<std::string> merges = read_merges(files);
  if (merges.empty()) fail(ErrorCode::format, "{}: has no merges", files.path("tokenizer.json"));
  out.set("tokenizer.ggml.merges", merges);
  special.write(out);
}

void write_sentencepiece(const TokenizerFiles& files, const Config& config, const Tokens& tokens,
                         Metadata& out) {
  write_tokens(tokens, "llama", "default", out);
  SpecialTokens(files, config, config.size("vocab_size")).write(out);
}

void require_sentencepiece(const TokenizerFiles& files) {
  if (!files.has(kSentencePieceFile))
    fail(ErrorCode::not_found, "{}: is not there; this family's tokenizer is read from it",
         files.path(kSentencePieceFile));
}

std::string architecture_of(const Metadata& out) {
  for (const auto& [key, value] : out.all()) {
    if (key == "general.architecture") return std::get<std::string>(value);
  }
  return {};
}

// SentencePiece's ids that a model was trained with, whatever its files say.
void end_of_turn(const TokenizerFiles& files, const Config& config, uint64_t id, Metadata& out) {
  SpecialTokens turn(files, config, std::nullopt, {"prefix", "suffix", "middle", "fsep", "eot"});
  turn.set("eot", id);
  turn.drop_template();
  turn.write(out);
}

}  // namespace

void bpe_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  write_bpe(TokenizerFiles(checkpoint.folder()), config, architecture_of(out), {}, out);
}

void any_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  const TokenizerFiles files(checkpoint.folder());
  if (!files.has(kSentencePieceFile)) return write_bpe(files, config, architecture_of(out), {}, out);
  write_sentencepiece(files, config, read_sentencepiece(files, config.size("vocab_size")), out);
}

void llama_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  constexpr uint32_t kCodeLlama = 32016,
                     kSmall = 49152;  // vocabularies of CodeLlama, of SmolLM and small Granites
  const TokenizerFiles files(checkpoint.folder());
  const uint32_t size = config.size("vocab_size");
  if (files.has("tekken.json") && !files.tokenizer)
    fail(ErrorCode::unsupported, "{}: Mistral's own tokenizer file is not read; tokenizer.json is",
         files.path("tekken.json"));
  const Json* prefix = files.config ? member(*files.config, "add_prefix_space") : nullptr;
  if (prefix && prefix->is_boolean()) out.set(kSpacePrefix, prefix->get<bool>());
  if (files.has(kSentencePieceFile)) {
    write_sentencepiece(files, config, read_sentencepiece(files, size), out);
  } else if (files.tokenizer && is_sentencepiece_json(*files.tokenizer)) {
    write_sentencepiece(files, config, read_sentencepiece_json(files, size), out);
  } else {
    write_bpe(files, config, architecture_of(out), {}, out);
  }
  if (size == kCodeLlama) end_of_turn(files, config, 32010, out);
  if (size == kSmall) out.set("tokenizer.ggml.add_bos_token", false);
}

void gemma_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  constexpr uint64_t kEndOfTurn = 107;
  const TokenizerFiles files(checkpoint.folder());
  require_sentencepiece(files);
  write_sentencepiece(files, config, read_sentencepiece(files, config.size("vocab_size")), out);
  end_of_turn(files, config, kEndOfTurn, out);
  out.set(kSpacePrefix, false);
}

void gemma3_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  const TokenizerFiles files(checkpoint.folder());
  require_sentencepiece(files);
  write_sentencepiece(files, config, read_sentencepiece(files, config.size("vocab_size")), out);
  out.set(kSpacePrefix, false);
}

void phi2_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  out.set("tokenizer.ggml.add_bos_token", false);
  bpe_vocabulary(checkpoint, config, out);
}

void phi3_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  const TokenizerFiles files(checkpoint.folder());
  if (files.config && text_of(*files.config, "tokenizer_class") == "GPT2Tokenizer")  // Phi-4
    return write_bpe(files, config, architecture_of(out), {}, out);
  require_sentencepiece(files);
  write_sentencepiece(files, config, read_sentencepiece(files, config.size("vocab_size"), true), out);
}

// Both kinds of GLM-4's name its tokens, not its files.
class GlmTokens {
 public:
  explicit GlmTokens(const TokenizerFiles& files) : files_(files), added_(added_tokens(files)) {}
  uint64_t operator()(std::string_view text) const {
    const auto found = std::ranges::find(added_, text, &AddedToken::text);
    if (found == added_.end())
      fail(ErrorCode::format, "{}: has no added token '{}', which GLM-4 has", files_.path("tokenizer.json"),
           text);
    return found->id;
  }

 private:
  const TokenizerFiles& files_;
  const std::vector<AddedToken> added_;
};

void glm4_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  const TokenizerFiles files(checkpoint.folder());
  const GlmTokens id_of(files);
  const uint64_t end = id_of("<|endoftext|>");
  write_bpe(files, config, architecture_of(out),
            {{"eos", end}, {"eot", id_of("<|user|>")}, {"unk", end}, {"bos", end}}, out);
}

void glm4_moe_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  const TokenizerFiles files(checkpoint.folder());
  const GlmTokens id_of(files);
  write_bpe(files, config, "glm4",
            {{"bos", id_of("[gMASK]")},
             {"eot", id_of("<|user|>")},
             {"unk", id_of("<|endoftext|>")},
             {"eom", id_of("<|observation|>")}},
            out);
}

}  // namespace cairn::convert
