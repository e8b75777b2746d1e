// Gemma 4's tokenizer: SentencePiece's vocabulary with byte fallback, and a list of merges.
#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "convert/special_tokens.hpp"
#include "convert/vocabulary.hpp"

namespace cairn::convert {
namespace {

// What chats' readers look for is shown, though the checkpoint calls it special.
constexpr std::array<std::string_view, 7> kVisible = {"<|channel>",      "<channel|>", "<|tool_call>",
                                                      "<tool_call|>",    "<|\"|>",     "<|tool_response>",
                                                      "<tool_response|>"};

}  // namespace

void gemma4_vocabulary(const Checkpoint& checkpoint, const Config& config, Metadata& out) {
  const TokenizerFiles files(checkpoint.folder());
  const std::string path = files.path("tokenizer.json");
  if (!files.tokenizer) fail(ErrorCode::not_found, "{}: is not there, and no other tokenizer", path);
  if (!is_sentencepiece_json(*files.tokenizer))
    fail(ErrorCode::unsupported, "{}: Gemma 4's tokenizer is BPE with byte fallback, this is not", path);
  Tokens tokens = read_sentencepiece_json(files, config.size("vocab_size"));
  for (size_t i = 0; i < tokens.texts.size(); ++i) {
    if (std::ranges::find(kVisible, tokens.texts[i]) != kVisible.end())
      tokens.types[i] = TokenType::user_defined;
  }
  write_tokens(tokens, "gemma4", "", out);
  const std::vector<std::string> merges = read_merges(files);
  if (merges.empty()) fail(ErrorCode::format, "{}: has no merges", path);
  out.set("tokenizer.ggml.merges", merges);
  SpecialTokens(files, config, std::nullopt).write(out);
  out.set("tokenizer.ggml.add_space_prefix", false);
  out.set("tokenizer.ggml.add_bos_token", true);
}

}  // namespace cairn::convert
