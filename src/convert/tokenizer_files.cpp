// What tokenizers of both kinds need of a checkpoint's files.
#include <algorithm>
#include <array>
#include <filesystem>
#include <map>

#include "base/error.hpp"
#include "convert/vocabulary.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

constexpr uint64_t kMostTokens = 1U << 24;

std::string text_or_content(const Json& entry) {
  return entry.is_string() ? entry.get<std::string>() : text_of(entry, "content");
}

}  // namespace

TokenizerFiles::TokenizerFiles(std::string folder_)
    : folder(std::move(folder_)),
      tokenizer(find_json(path("tokenizer.json"))),
      config(find_json(path("tokenizer_config.json"))) {
  if (!config || !config->contains("added_tokens_decoder"))
    special = find_json(path("special_tokens_map.json"));
}

TokenizerFiles TokenizerFiles::none(std::string folder) {
  TokenizerFiles out;
  out.folder = std::move(folder);
  return out;
}

bool TokenizerFiles::has(const char* name) const {
  std::error_code none;
  return std::filesystem::exists(path(name), none);
}

std::vector<std::string> special_texts(const TokenizerFiles& files) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& text) {
    if (!text.empty() && std::ranges::find(out, text) == out.end()) out.push_back(text);
  };
  const std::string kind = files.config ? text_of(*files.config, "tokenizer_class") : "";
  const bool llama = kind.starts_with("Llama") || kind.starts_with("CodeLlama");
  for (const auto& [key, of_llama] : {std::pair{"bos_token", "<s>"},
                                      {"eos_token", "</s>"},
                                      {"unk_token", "<unk>"},
                                      {"sep_token", ""},
                                      {"pad_token", ""},
                                      {"cls_token", ""},
                                      {"mask_token", ""}}) {
    if (files.config && files.config->contains(key)) {
      add(text_or_content((*files.config)[key]));
    } else if (files.special && files.special->contains(key)) {
      add(text_or_content((*files.special)[key]));
    } else if (llama) {
      add(of_llama);
    }
  }
  for (const auto* source : {&files.special, &files.config}) {
    if (!*source) continue;
    for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
      const Json* list = member(**source, key);
      if (!list || (!list->is_array() && !list->is_object())) continue;
      for (const Json& entry : *list) add(text_or_content(entry));
    }
  }
  return out;
}

bool looks_special(const std::string& text) {
  constexpr std::array kNames = {"<pad>", "<mask>", "<2mass>", "[@BOS@]"};
  constexpr std::string_view kOpen = "<\xEF\xBD\x9C", kClose = "\xEF\xBD\x9C>";
  return std::ranges::find(kNames, text) != kNames.end() ||
         (text.starts_with("<|") && text.ends_with("|>")) ||
         (text.starts_with(kOpen) && text.ends_with(kClose)) ||
         (text.starts_with("<unused") && text.ends_with(">"));
}

std::vector<AddedToken> added_tokens(const TokenizerFiles& files) {
  std::map<uint32_t, AddedToken> by_id;
  const std::vector<std::string> specials = special_texts(files);
  const auto is_special = [&](const std::string& text) {
    return std::ranges::find(specials, text) != specials.end();
  };
  if (const Json* list = files.tokenizer ? member(*files.tokenizer, "added_tokens") : nullptr) {
    const std::string where = files.path("tokenizer.json");
    if (!list->is_array()) fail(ErrorCode::format, "{}: added_tokens is no list", where);
    for (const Json& token : *list) {
      const std::string text = text_of(token, "content");
      const Json* id = member(token, "id");
      if (text.empty() || !id) fail(ErrorCode::format, "{}: an added token has no content or no id", where);
      const auto number = static_cast<uint32_t>(whole_number(*id, kMostTokens, where, "an added token's id"));
      by_id[number] = {number, text, member(token, "special") && *member(token, "special") == true};
    }
  }
  if (const Json* list = files.config ? member(*files.config, "added_tokens_decoder") : nullptr) {
    const std::string where = files.path("tokenizer_config.json");
    for (const auto& [key, token] : list->items()) {
      const bool digits = !key.empty() && key.size() < 9 &&
                          std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
      const std::string text = text_of(token, "content");
      if (!digits || text.empty())
        fail(ErrorCode::format, "{}: added_tokens_decoder: {} is no token's id with its content", where,
             quote(key));
      const auto id = static_cast<uint32_t>(std::stoul(key));
      const auto known = by_id.find(id);
      if (known != by_id.end() && known->second.text != text)
        fail(ErrorCode::format, "{}: token {} is {}, but {} in tokenizer.json", where, id, quote(text),
             quote(known->second.text));
      by_id[id] = {id, text,
                   (member(token, "special") && *member(token, "special") == true) || is_special(text)};
    }
  }
  // Special tokens that nobody has added are added where they stand in the vocabulary.
  const Json* model = files.tokenizer ? member(*files.tokenizer, "model") : nullptr;
  const Json* vocabulary = model ? member(*model, "vocab") : nullptr;
  for (const std::string& text : specials) {
    const bool there = std::ranges::any_of(by_id, [&](const auto& one) { return one.second.text == text; });
    const Json* id = vocabulary && !there ? member(*vocabulary, text) : nullptr;
    if (!id) continue;
    const auto number =
        static_cast<uint32_t>(whole_number(*id, kMostTokens, files.path("tokenizer.json"), "a token's id"));
    by_id[number] = {number, text, true};
  }
  std::vector<AddedToken> out;
  for (auto& [id, token] : by_id) out.push_back(std::move(token));
  return out;
}

void write_tokens(const Tokens& tokens, const char* model, const std::string& pre, Metadata& out) {
  out.set("tokenizer.ggml.model", std::string(model));
  if (!pre.empty()) out.set("tokenizer.ggml.pre", pre);
  out.set("tokenizer.ggml.tokens", tokens.texts);
  if (!tokens.scores.empty()) out.set("tokenizer.ggml.scores", tokens.scores);
  std::vector<int32_t> types;
  for (const TokenType type : tokens.types) types.push_back(static_cast<int32_t>(type));
  out.set("tokenizer.ggml.token_type", std::move(types));
}

}  // namespace cairn::convert
