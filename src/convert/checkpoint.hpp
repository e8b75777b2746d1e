#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "convert/safetensors.hpp"

namespace cairn::convert {

// A folder as Hugging Face's libraries save it: model.safetensors, or several files with
// model.safetensors.index.json, which says what is where.
class Checkpoint {
 public:
  // Errors: not_found (no folder, no such files, a shard that is missing), format (those of Safetensors; an
  // index that is no index, or that disagrees with the shards; a tensor in two of them).
  explicit Checkpoint(const std::string& folder);

  const std::string& folder() const noexcept { return folder_; }
  std::string path(std::string_view name) const { return folder_ + "/" + std::string(name); }
  // By the shards' names, in each by their own.
  const std::vector<const SourceTensor*>& tensors() const noexcept { return tensors_; }
  const SourceTensor* find(std::string_view name) const noexcept;  // nullptr if absent
  const std::string& file_of(const SourceTensor& tensor) const;
  void require_whole() const;  // see MappedFile
  std::vector<std::shared_ptr<const MappedFile>> files() const;

 private:
  std::string folder_;
  std::vector<Safetensors> shards_;
  std::vector<const SourceTensor*> tensors_;
  std::map<std::string, std::pair<const SourceTensor*, size_t>, std::less<>> by_name_;  // with its shard
};

}  // namespace cairn::convert
