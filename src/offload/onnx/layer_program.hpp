// A compiled layer and what it takes to run it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "offload/layer_graph.hpp"
#include "offload/onnx/device.hpp"

namespace cairn::offload::onnx {

// What a layer must have been compiled for. fingerprint: Device's.
std::string layer_identity(const LayerGraph& layer, const std::string& fingerprint);

// What a bundle files it under, beside its tokens.
uint64_t layer_key(const LayerGraph& layer);
// What crosses to the device and back when it runs, in bytes.
std::pair<uint64_t, uint64_t> layer_crossing(const LayerGraph& layer);

class LayerProgram final : public AcceleratorLayer {
 public:
  LayerProgram(const Device& device, const LayerGraph& layer, Handle<Session> session);
  void run(const LayerValues& values) override;

 private:
  const Device& device_;
  std::string name_;
  std::vector<int64_t> hidden_, past_, mask_, turns_, new_;  // dims
  bool rope_;
  Handle<Session> session_;
};

}  // namespace cairn::offload::onnx
