#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.hpp"

namespace cairn::convert {

// How a checkpoint stores numbers. What is `other` has a size alone: it is never converted.
enum class Dtype : uint8_t { f32, f16, bf16, f8_e4m3, other };

struct SourceTensor {
  std::string name;
  Dtype dtype;
  std::string dtype_name;  // as the file has it: "BF16"
  uint32_t element_bytes;
  std::vector<uint64_t> shape;      // slowest-running first, as PyTorch has it; empty: one number
  std::span<const std::byte> data;  // exactly elements() of them, inside the mapping
  uint64_t elements() const noexcept;
};

// "[2, 3]"
std::string shape_text(const std::vector<uint64_t>& shape);

// One file of the safetensors format: a header's length (8 bytes), the header (JSON), the tensors' bytes
// without holes. Source: the format's description in safetensors' README. Everything is checked before it is
// handed out; errors of code format name the file, the tensor and the reason.
class Safetensors {
 public:
  explicit Safetensors(const std::string& path);

  const std::string& path() const noexcept { return file_->path(); }
  const std::vector<SourceTensor>& tensors() const noexcept { return tensors_; }  // by name
  const std::shared_ptr<const MappedFile>& file() const noexcept { return file_; }

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<SourceTensor> tensors_;
};

}  // namespace cairn::convert
