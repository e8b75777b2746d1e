#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "convert/vocabulary.hpp"

namespace cairn::convert {

// Ids of bos, eos and the like, whether they are added to texts, chat templates: found in tokenizer.json's
// post_processor, tokenizer_config.json, config.json and chat_template.jinja in the order that llama.cpp's
// gguf.SpecialVocab follows, so that both write the same.
class SpecialTokens {
 public:
  // vocabulary: ids from here on are passed over; nullopt: none are.
  SpecialTokens(const TokenizerFiles& files, const Config& config, std::optional<uint32_t> vocabulary,
                std::vector<std::string> kinds = {"bos", "eos", "unk", "sep", "pad", "cls", "mask"});

  // What was set first stays.
  void set(const std::string& kind, uint64_t id);
  void drop_template() { template_.reset(); }
  void write(Metadata& out) const;
  bool adds(const std::string& kind) const;

 private:
  void read_post_processor(const Json& tokenizer);
  void read_template_step(const Json& step);
  void read_pair(const Json& step, const Json& first, const Json& last);
  void read_normalizer(const Json& normalizer);
  void read_chat_template(const TokenizerFiles& files);
  void read_tokenizer_config(const Json& added);
  void set_adds(const std::string& kind, bool value);
  Json setting(const char* key) const;

  std::optional<uint32_t> vocabulary_;
  std::vector<std::string> kinds_;
  bool has_config_ = false;
  Json config_;  // tokenizer_config.json, with what the post_processor corrects
  Json bos_, eos_, cls_, sep_;
  std::vector<std::pair<std::string, uint64_t>> ids_;
  std::vector<std::pair<std::string, bool>> adds_;
  std::optional<Json> template_;
  std::optional<bool> lowercase_, strip_accents_;
};

}  // namespace cairn::convert
