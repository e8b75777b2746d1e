// A model's own metadata, "<architecture>.<key>", checked. Key names: ggml's docs/gguf.md and the `gguf`
// Python package. Errors: format, each with the file's path, the key and what it is.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/gguf.hpp"

namespace cairn::graph {

// Far above any model, and low enough that products of two sizes fit into 64 bits with room to spare.
constexpr uint64_t kMaxSize = uint64_t{1} << 24;
constexpr uint64_t kMaxContext = uint64_t{1} << 31;
constexpr uint64_t kMaxDeltaSize = 1024, kMaxDeltaHeads = 4096;
constexpr uint64_t kMaxState = uint64_t{1} << 26;  // numbers of a layer's

class Metadata {
 public:
  explicit Metadata(const gguf::File& file)
      : file_(file), prefix_(std::string(file.text("general.architecture")) + ".") {}

  const std::string& path() const { return file_.path(); }
  std::string key(const char* suffix) const { return prefix_ + suffix; }
  bool has(const char* suffix) const { return file_.find(key(suffix)) != nullptr; }

  // Integers of 1 to `most`.
  uint32_t size(const char* suffix, uint64_t most = kMaxSize) const;
  uint32_t size(const char* suffix, uint64_t otherwise, uint64_t most) const;
  // Finite numbers; positive ones.
  float number(const char* suffix, double otherwise) const;
  float positive(const char* suffix) const;
  float positive(const char* suffix, double otherwise) const;
  // attention.sliding_window_pattern where it lists for each layer whether it is local; else empty.
  std::vector<bool> windows(uint32_t layers) const;
  // The same key where it says that every n-th layer is global; else `otherwise`.
  uint32_t window_pattern(uint32_t otherwise) const;
  // A flag for each layer; empty where the key is not there.
  std::vector<bool> flags(const char* suffix, uint32_t layers) const;
  // Whether the value is a list, and this list, an integer of up to `most` for each layer.
  bool is_list(const char* suffix) const;
  std::vector<uint32_t> list(const char* suffix, uint32_t layers, uint64_t most) const;

 private:
  uint32_t checked(const char* suffix, uint64_t value, uint64_t most) const;
  float checked(const char* suffix, double value) const;

  const gguf::File& file_;
  std::string prefix_;
};

}  // namespace cairn::graph
