#include "convert/checkpoint.hpp"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "convert/json_file.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndex = "model.safetensors.index.json";

// The index's tensors, each with the shard that holds it.
std::map<std::string, std::string> read_index(const std::string& path) {
  const Json index = read_json(path);
  const Json* weights = member(index, "weight_map");
  if (!weights || !weights->is_object()) fail(ErrorCode::format, "{}: has no weight_map", path);
  std::map<std::string, std::string> out;
  for (const auto& [tensor, shard] : weights->items()) {
    const std::string name = shard.is_string() ? shard.get<std::string>() : std::string();
    if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
      fail(ErrorCode::format, "{}: tensor {}: {} is no file's name", path, quote(tensor), quote(name));
    out.emplace(tensor, name);
  }
  return out;
}

std::vector<std::string> files_without_index(const std::string& folder) {
  std::vector<std::string> names;
  bool pickled = false;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with("model") && name.ends_with(".safetensors")) names.push_back(name);
    pickled |= name.starts_with("pytorch_model") && name.ends_with(".bin");
  }
  if (error) fail(ErrorCode::io, "{}: cannot read the folder: {}", folder, error.message());
  if (names.empty() && pickled)
    fail(ErrorCode::unsupported, "{}: holds pytorch_model.bin, which is not read; safetensors are", folder);
  if (names.empty()) fail(ErrorCode::not_found, "{}: holds no model.safetensors", folder);
  std::ranges::sort(names);
  return names;
}

}  // namespace

Checkpoint::Checkpoint(const std::string& folder) : folder_(folder) {
  std::error_code none;
  while (folder_.size() > 1 && folder_.ends_with('/')) folder_.pop_back();
  if (!fs::exists(folder_, none)) fail(ErrorCode::not_found, "{}: no such folder", folder_);
  if (!fs::is_directory(folder_, none))
    fail(ErrorCode::invalid_argument, "{}: is no folder; a checkpoint is one with config.json in it",
         folder_);
  std::map<std::string, std::string> index;
  std::vector<std::string> names;
  const std::string index_path = path(kIndex);
  const bool indexed = fs::exists(index_path, none);
  if (indexed) {
    index = read_index(index_path);
    std::set<std::string> shards;
    for (const auto& [tensor, shard] : index) shards.insert(shard);
    names.assign(shards.begin(), shards.end());
    for (const std::string& name : names) {
      if (!fs::exists(path(name), none))
        fail(ErrorCode::not_found, "{}: names {}, which is not in the folder", index_path, quote(name));
    }
  } else {
    names = files_without_index(folder_);
  }
  shards_.reserve(names.size());
  for (const std::string& name : names) shards_.emplace_back(path(name));
  for (size_t i = 0; i < shards_.size(); ++i) {
    for (const SourceTensor& t : shards_[i].tensors()) {
      if (!by_name_.emplace(t.name, std::pair(&t, i)).second)
        fail(ErrorCode::format, "{}: tensor {} is in {} too", shards_[i].path(), quote(t.name),
             file_of(*find(t.name)));
      tensors_.push_back(&t);
    }
  }
  for (const auto& [tensor, shard] : index) {
    const auto found = by_name_.find(tensor);
    if (found == by_name_.end() || names[found->second.second] != shard)
      fail(ErrorCode::format, "{}: tensor {} is not in {}, where the index has it", index_path, quote(tensor),
           quote(shard));
  }
  for (const SourceTensor* t : tensors_) {
    if (indexed && !index.contains(t->name))
      fail(ErrorCode::format, "{}: tensor {} is not in the index", file_of(*t), quote(t->name));
  }
}

const SourceTensor* Checkpoint::find(std::string_view name) const noexcept {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second.first;
}

const std::string& Checkpoint::file_of(const SourceTensor& tensor) const {
  return shards_[by_name_.find(tensor.name)->second.second].path();
}

std::vector<std::shared_ptr<const MappedFile>> Checkpoint::files() const {
  std::vector<std::shared_ptr<const MappedFile>> out;
  for (const Safetensors& shard : shards_) out.push_back(shard.file());
  return out;
}

void Checkpoint::require_whole() const {
  for (const Safetensors& shard : shards_) shard.file()->require_whole();
}

}  // namespace cairn::convert
