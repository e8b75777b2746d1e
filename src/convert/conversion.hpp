#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "convert/checkpoint.hpp"
#include "convert/convert.hpp"
#include "convert/elements.hpp"
#include "convert/families.hpp"
#include "convert/metadata.hpp"
#include "convert/names.hpp"
#include "formats/gguf_writer.hpp"

namespace cairn::convert {

// A checkpoint read and checked, and what its GGUF file would hold; weights are read when they are asked for.
class Conversion {
 public:
  // Errors: those of convert().
  Conversion(const std::string& folder, Type type);
  Conversion(const Conversion&) = delete;
  Conversion& operator=(const Conversion&) = delete;

  struct Output {
    std::string name;
    Encoding encoding;
    std::vector<uint64_t> shape;  // fastest-running first
    std::span<const std::byte>
        unchanged;  // the checkpoint's own bytes where the file has the same; else empty
  };
  const std::vector<Output>& tensors() const noexcept { return outputs_; }
  const Metadata& metadata() const noexcept { return metadata_; }
  const Report& report() const noexcept { return report_; }  // bytes: of the file's tensors, with padding
  const Checkpoint& checkpoint() const noexcept { return checkpoint_; }
  // The metadata and all tensors, to be written.
  const gguf::Writer& writer() const noexcept { return writer_; }

  using Sink = std::function<void(std::span<const std::byte>)>;
  // Tensor `i` as the file has it, in pieces.
  void write(size_t i, const Sink& sink) const;

 private:
  void add(std::string name, Encoding encoding, std::vector<uint64_t> shape,
           std::span<const std::byte> unchanged);

  Checkpoint checkpoint_;
  Config config_;
  const Family& family_;
  ScaleBlock block_;
  Metadata metadata_;
  TensorPlan plan_;
  std::vector<PlannedTensor> planned_;
  std::vector<DerivedTensor> derived_;
  std::vector<Output> outputs_;  // the derived, then the planned
  gguf::Writer writer_;
  Report report_;
};

}  // namespace cairn::convert
