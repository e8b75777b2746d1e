#include "convert/special_tokens.hpp"

#include <algorithm>
#include <filesystem>
#include <map>

#include "base/error.hpp"

namespace cairn::convert {
namespace {

constexpr size_t kMostTemplate = size_t{16} << 20;

const std::map<std::string, const char*> kIdKeys = {
    {"bos", "tokenizer.ggml.bos_token_id"},     {"eos", "tokenizer.ggml.eos_token_id"},
    {"eot", "tokenizer.ggml.eot_token_id"},     {"eom", "tokenizer.ggml.eom_token_id"},
    {"unk", "tokenizer.ggml.unknown_token_id"}, {"sep", "tokenizer.ggml.seperator_token_id"},
    {"pad", "tokenizer.ggml.padding_token_id"}, {"mask", "tokenizer.ggml.mask_token_id"}};

bool is_set(const Json& value) {
  return !value.is_null() && value != "" && value != Json::object() && value != false;
}

// {"SpecialToken": {"id": …}} or {"Sequence": {"id": …}}; null otherwise.
Json id_of(const Json& step, const char* kind) {
  const Json* inner = member(step, kind);
  const Json* id = inner ? member(*inner, "id") : nullptr;
  return id ? *id : Json();
}

Json list_of(const Json& object, const char* key) {
  const Json* list = member(object, key);
  return list && list->is_array() ? *list : Json::array();
}

}  // namespace

SpecialTokens::SpecialTokens(const TokenizerFiles& files, const Config& config,
                             std::optional<uint32_t> vocabulary, std::vector<std::string> kinds)
    : vocabulary_(vocabulary), kinds_(std::move(kinds)) {
  has_config_ = files.config && !files.config->empty();
  if (has_config_) config_ = *files.config;
  Json added = Json::array();
  if (files.tokenizer) {
    if (const Json* normalizer = member(*files.tokenizer, "normalizer")) read_normalizer(*normalizer);
    added = list_of(*files.tokenizer, "added_tokens");
    read_post_processor(*files.tokenizer);
  }
  if (has_config_) {
    read_chat_template(files);
    read_tokenizer_config(added);
  }
  for (const std::string& kind : kinds_) {
    const Json* id = member(config.file(), kind + "_token_id");
    const Json* inner = member(config.file(), "text_config");
    if (!id && inner) id = member(*inner, kind + "_token_id");
    if (id && id->is_number_unsigned()) set(kind, id->get<uint64_t>());
  }
}

void SpecialTokens::set(const std::string& kind, uint64_t id) {
  if (vocabulary_ && id >= *vocabulary_) return;
  const auto has = [&](const auto& pair) { return pair.first == kind; };
  if (id <= UINT32_MAX && std::none_of(ids_.begin(), ids_.end(), has)) ids_.emplace_back(kind, id);
}

void SpecialTokens::set_adds(const std::string& kind, bool value) {
  for (auto& [name, adds] : adds_) {
    if (name == kind) return void(adds = value);
  }
  adds_.emplace_back(kind, value);
}

bool SpecialTokens::adds(const std::string& kind) const {
  return std::any_of(adds_.begin(), adds_.end(), [&](const auto& a) { return a.first == kind && a.second; });
}

Json SpecialTokens::setting(const char* key) const {
  const Json* value = has_config_ ? member(config_, key) : nullptr;
  return value ? *value : Json();
}

void SpecialTokens::read_normalizer(const Json& normalizer) {
  const std::string type = text_of(normalizer, "type");
  if (type == "Lowercase") lowercase_ = true;
  if (type == "StripAccents") strip_accents_ = true;
  if (type == "BertNormalizer") {
    const auto read = [&](const char* key, std::optional<bool>& to) {
      if (const Json* value = member(normalizer, key); value && value->is_boolean()) to = value->get<bool>();
    };
    read("lowercase", lowercase_);
    read("strip_accents", strip_accents_);
  }
  if (type == "Sequence") {
    for (const Json& one : list_of(normalizer, "normalizers")) read_normalizer(one);
  }
}

void SpecialTokens::read_post_processor(const Json& tokenizer) {
  bos_ = setting("bos_token");
  cls_ = setting("cls_token");
  eos_ = setting("eos_token");
  sep_ = setting("sep_token");
  if (!is_set(bos_) && is_set(cls_) && has_config_) config_["bos_token"] = bos_ = cls_;
  if (!is_set(eos_) && is_set(sep_) && has_config_) config_["eos_token"] = eos_ = sep_;
  const Json* processor = member(tokenizer, "post_processor");
  if (!processor) return;
  Json steps = list_of(*processor, "processors");
  if (steps.empty()) steps.push_back(*processor);
  for (const Json& step : steps) {
    const std::string type = text_of(step, "type");
    if (type == "ByteLevel") {
      for (const char* kind : {"bos", "eos"}) {
        const auto has = [&](const auto& pair) { return pair.first == kind; };
        if (std::none_of(adds_.begin(), adds_.end(), has)) adds_.emplace_back(kind, false);
      }
    } else if (type == "TemplateProcessing") {
      read_template_step(step);
    }
  }
}

void SpecialTokens::read_template_step(const Json& step) {
  const Json single = list_of(step, "single");
  Json first, last;
  if (single.size() > 1) {
    first = id_of(single.front(), "SpecialToken");
    if (is_set(first)) {
      if (!has_config_) {
        bos_ = first;
      } else if (first != bos_ && first != cls_) {
        if (!is_set(bos_)) config_["bos_token"] = bos_ = first;
        if (!is_set(cls_)) config_["cls_token"] = cls_ = first;
      }
      set_adds("bos", first == bos_ || first == cls_);
    }
    last = id_of(single.back(), "SpecialToken");
    if (is_set(last)) {
      if (!has_config_) {
        eos_ = last;
      } else if (last != eos_) {  // the one that is added ends texts; the other ends turns
        for (const char* kind : {"eot", "eom"}) {
          if (std::ranges::find(kinds_, kind) != kinds_.end()) continue;
          kinds_.emplace_back(kind);
          config_[std::string(kind) + "_token"] = eos_;
          break;
        }
        config_["eos_token"] = eos_ = last;
      }
      set_adds("eos", last == eos_);
    }
  }
  read_pair(step, first, last);
}

// "A [sep] [eos] B": is a separator added between two texts?
void SpecialTokens::read_pair(const Json& step, const Json& first, const Json& last) {
  Json pair = list_of(step, "pair");
  if (pair.empty()) return;
  if (is_set(last) && id_of(pair.back(), "SpecialToken") == last) pair.erase(pair.size() - 1);
  if (!pair.empty() && is_set(first) && id_of(pair.front(), "SpecialToken") == first) pair.erase(0);
  if (pair.size() < 3 || id_of(pair.front(), "Sequence") != "A" || id_of(pair.back(), "Sequence") != "B")
    return;
  const Json middle = id_of(pair[1], "SpecialToken");
  bool adds = is_set(middle) && (middle == sep_ || middle == eos_) && !is_set(last);
  if (pair.size() == 4) {
    const Json second = id_of(pair[2], "SpecialToken");
    adds |= is_set(second) && (second == sep_ || second == eos_);
  }
  set_adds("sep", adds);
  if (adds && !is_set(sep_) && has_config_) config_["sep_token"] = eos_;
}

void SpecialTokens::read_chat_template(const TokenizerFiles& files) {
  Json found;
  if (files.has("chat_template.jinja")) {
    found = read_text_file(files.path("chat_template.jinja"), kMostTemplate);
    const std::filesystem::path more = files.path("additional_chat_templates");
    std::error_code none;
    std::vector<std::filesystem::path> others;
    if (std::filesystem::is_directory(more, none)) {
      std::filesystem::directory_iterator at(more, none);
      for (; !none && at != std::filesystem::directory_iterator(); at.increment(none)) {
        if (at->path().extension() == ".jinja") others.push_back(at->path());
      }
      if (none) fail(ErrorCode::io, "{}: cannot read the folder: {}", more.string(), none.message());
    }
    std::ranges::sort(others);
    if (!others.empty()) found = Json::array({{{"name", "default"}, {"template", found}}});
    for (const auto& path : others)
      found.push_back(
          {{"name", path.stem().string()}, {"template", read_text_file(path.string(), kMostTemplate)}});
  } else if (const auto file = find_json(files.path("chat_template.json"))) {
    if (const Json* inside = member(*file, "chat_template")) found = *inside;
  }
  if (config_.contains("chat_template")) found = config_["chat_template"];
  if (found.is_string() || found.is_array()) template_ = found;
}

void SpecialTokens::read_tokenizer_config(const Json& added) {
  for (const std::string& kind : kinds_) {
    const Json told = setting(("add_" + kind + "_token").c_str());
    const auto has = [&](const auto& pair) { return pair.first == kind; };
    if (told.is_boolean() && std::none_of(adds_.begin(), adds_.end(), has))
      adds_.emplace_back(kind, told.get<bool>());
    const Json entry = setting((kind + "_token").c_str());
    const std::string text = entry.is_string() ? entry.get<std::string>() : text_of(entry, "content");
    if (text.empty()) continue;
    for (const Json& token : added) {
      if (text_of(token, "content") != text) continue;
      if (const Json* id = member(token, "id"); id && id->is_number_unsigned())
        set(kind, id->get<uint64_t>());
      break;
    }
  }
}

void SpecialTokens::write(Metadata& out) const {
  for (const auto& [kind, id] : ids_) {
    const auto key = kIdKeys.find(kind);
    if (key != kIdKeys.end()) out.set(key->second, static_cast<uint32_t>(id));
  }
  for (const auto& [kind, adds] : adds_) {
    if (kind == "bos" || kind == "eos" || kind == "sep")
      out.set("tokenizer.ggml.add_" + kind + "_token", adds);
  }
  if (template_ && template_->is_string()) out.set("tokenizer.chat_template", template_->get<std::string>());
  if (template_ && template_->is_array()) {
    std::vector<std::string> names;
    std::optional<std::string> plain;
    for (const Json& choice : *template_) {
      std::string name = text_of(choice, "name");
      const Json* text = member(choice, "template");
      for (char& c : name) {
        const bool known = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!known) c = '_';
      }
      if (name.empty() || !text || !text->is_string()) continue;
      if (name == "default") {
        plain = text->get<std::string>();
      } else {
        names.push_back(name);
        out.set("tokenizer.chat_template." + name, text->get<std::string>());
      }
    }
    std::ranges::sort(names);
    names.erase(std::unique(names.begin(), names.end()), names.end());
    if (!names.empty()) out.set("tokenizer.chat_templates", names);
    if (plain) out.set("tokenizer.chat_template", *plain);
  }
  if (lowercase_) out.set("tokenizer.ggml.normalizer.lowercase", *lowercase_);
  if (strip_accents_) out.set("tokenizer.ggml.normalizer.strip_accents", *strip_accents_);
}

}  // namespace cairn::convert
