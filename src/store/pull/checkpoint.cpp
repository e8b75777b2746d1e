#include "store/pull/checkpoint.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "base/error.hpp"
#include "store/model_store.hpp"
#include "store/pull/hub.hpp"
#include "store/pull/verified.hpp"

namespace cairn {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndex = "model.safetensors.index.json";
// What a checkpoint may have beside its weights; none but the config is in all of them.
constexpr std::string_view kOptional[] = {
    "generation_config.json", "tokenizer_config.json",   "tokenizer.json",
    "tokenizer.model",        "special_tokens_map.json", "added_tokens.json",
    "chat_template.jinja",    "chat_template.json",      "merges.txt",
    "modules.json",           "1_Pooling/config.json"};

bool is_plain_name(std::string_view name) {
  constexpr std::string_view kKnown = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
  return !name.empty() && name.front() != '.' && name.find_first_not_of(kKnown) == std::string_view::npos;
}

class Fetcher {
 public:
  Fetcher(const std::string& source, const Patience& patience) : source_(source), patience_(patience) {
    const std::string rest = source.substr(kHub.size());
    const size_t slash = rest.find('/');
    if (slash == std::string::npos || !is_plain_name(rest.substr(0, slash)) ||
        !is_plain_name(rest.substr(slash + 1)))
      fail(ErrorCode::invalid_argument, "{}: a hub's checkpoint is written hf:owner/repository", source);
    const std::string cache = cache_folder("checkpoints");
    if (cache.empty()) fail(ErrorCode::io, "no folder for downloads: neither XDG_CACHE_HOME nor HOME is set");
    folder_ = cache + "/" + rest;
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error) fail(ErrorCode::io, "cannot write {}: {}", folder_, error.message());
  }

  const std::string& folder() const { return folder_; }

  void fetch(std::string_view name) const {
    const std::string destination = folder_ + "/" + std::string(name),
                      from = source_ + "/" + std::string(name);
    if (verified(destination).source == from) return;
    std::error_code error;
    fs::create_directories(fs::path(destination).parent_path(), error);
    if (error) fail(ErrorCode::io, "cannot write {}: {}", destination, error.message());
    DownloadRequest request = hub_request(from, destination);
    request.retries = patience_.retries;
    request.connect_seconds = patience_.connect_seconds;
    note_verified(destination, {download(request).sha256, from});
  }

  // False: the hub has none.
  bool find(std::string_view name) const {
    try {
      fetch(name);
      return true;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;
      return false;
    }
  }

 private:
  std::string source_, folder_;
  Patience patience_;
};

std::set<std::string> shards(const std::string& index) {
  std::ifstream file(index, std::ios::binary);
  const auto json = nlohmann::json::parse(file, nullptr, false);
  std::set<std::string> names;
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object())
    fail(ErrorCode::format, "{}: has no weight_map", index);
  for (const auto& shard : *map) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : std::string();
    if (!is_plain_name(name) || !name.ends_with(".safetensors"))
      fail(ErrorCode::format, "{}: names a shard that is no file's name ending in .safetensors", index);
    names.insert(name);
  }
  return names;
}

}  // namespace

bool is_hub_checkpoint(std::string_view source) {
  return source.starts_with(kHub);
}

std::string pull_checkpoint(const std::string& source, const Patience& patience) {
  const Fetcher hub(source, patience);
  hub.fetch("config.json");
  for (const std::string_view name : kOptional) hub.find(name);
  if (hub.find(kIndex)) {
    for (const std::string& name : shards(hub.folder() + "/" + std::string(kIndex))) hub.fetch(name);
  } else {
    hub.fetch("model.safetensors");
  }
  return hub.folder();
}

}  // namespace cairn
