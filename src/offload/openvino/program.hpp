#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "offload/openvino/device.hpp"
#include "offload/openvino/ir.hpp"
#include "offload/openvino/library.hpp"
#include "offload/openvino/weights.hpp"
#include "offload/sealed_file.hpp"

namespace cairn::offload::openvino {

// One compiled graph and its request. Not thread-safe.
class Program {
 public:
  // Reads the IR and compiles it. weights: its constants (none where weights are inputs); kept, as a plug-in
  // may go on reading them.
  // Errors: unsupported (the device refuses it: named, with OpenVINO's reason), out_of_memory.
  Program(const Device& device, const std::string& graph, const GraphShape& shape, WeightPlacement placement,
          Arithmetic arithmetic, std::shared_ptr<const Weights> weights);
  // From a blob that write_blob() wrote. Error io where OpenVINO refuses it.
  Program(const Device& device, const std::string& graph, const GraphShape& shape, WeightPlacement placement,
          SealedFile blob);

  // x: [tokens][k]; weights: for WeightPlacement::inputs. Error io, naming device and graph.
  void run(const std::string& graph, const void* x, const Weights* weights, std::span<float* const> outputs);

  // The largest error of products with inputs that drive int8 sums to their extremes, in parts of the largest
  // sum: 0 to about 1e-7 where the device multiplies exactly.
  double worst_error(const std::string& graph, const Weights& weights);

  void write_blob(const std::string& path, const std::string& identity);  // Error io
  Arithmetic arithmetic() const { return arithmetic_; }
  bool from_cache() const { return blob_.size > 0; }
  uint64_t kept_bytes() const;  // weights that the program holds beside the device's own copy

 private:
  void check(Status status, const std::string& graph, const char* what) const;
  void request();

  const Device& device_;
  GraphShape shape_;
  WeightPlacement placement_;
  Arithmetic arithmetic_;
  std::shared_ptr<const Weights> weights_;
  SealedFile blob_;
  Handle<CompiledModel> compiled_;
  Handle<InferRequest> request_;
};

}  // namespace cairn::offload::openvino
