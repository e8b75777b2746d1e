#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/buffer.hpp"
#include "offload/accelerator.hpp"
#include "offload/openvino/ir.hpp"
#include "offload/sealed_file.hpp"

namespace cairn::offload::openvino {

// A graph's weights as int8, in one block (WeightLayout): in memory, or mapped from the cache's file, where
// every process and chunk length shares them.
class Weights {
 public:
  // Calls fill() of every linear. Errors: out_of_memory, those of fill().
  Weights(const Int8Graph& graph, const GraphShape& shape);

  // For weights that move(), to be filled by take(), in memory that others may fill meanwhile; it is made
  // large enough.
  Weights(const GraphShape& shape, std::shared_ptr<Buffer> shared);
  // What is there now of every linear's rows; on the pool's threads, or the caller's alone.
  void take(const Int8Graph& graph, ThreadPool* pool);

  // From the cache's file; makes and writes that first where it is not there or not right. cached: it was.
  // notice: one line where a file had to be replaced or could not be written.
  static std::shared_ptr<const Weights> from_cache(const std::string& folder, const Int8Graph& graph,
                                                   const GraphShape& shape, bool* cached,
                                                   const std::function<void(const std::string&)>& notice);

  const WeightLayout& layout() const { return layout_; }
  const std::byte* block() const {
    if (shared_) return shared_->as<std::byte>();
    return file_.size > 0 ? file_.content().data() : memory_.as<std::byte>();
  }
  const int8_t* values(size_t linear) const {
    return reinterpret_cast<const int8_t*>(block() + layout_.linears[linear].values);
  }
  const float* scales(size_t linear) const {
    return reinterpret_cast<const float*>(block() + layout_.linears[linear].scales);
  }

 private:
  Weights(const GraphShape& shape, SealedFile file) : layout_(shape), file_(std::move(file)) {}
  WeightLayout layout_;
  Buffer memory_;
  std::shared_ptr<Buffer> shared_;
  SealedFile file_;
};

}  // namespace cairn::offload::openvino
