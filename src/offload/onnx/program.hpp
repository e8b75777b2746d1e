#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "offload/onnx/device.hpp"

namespace cairn::offload::onnx {

// Memory that the graphs of one accelerator take turns with.
struct Buffers {
  std::vector<uint8_t> input;
  std::vector<std::vector<std::byte>> outputs;
};

// One compiled graph in its session. Not thread-safe.
class Program {
 public:
  Program(const Device& device, Int8Graph graph, std::vector<OutputScale> scales, Handle<Session> session,
          std::shared_ptr<Buffers> buffers);

  // x: [tokens][k] int8; outputs[i]: [tokens][rows] float. Returns how many outputs lay beyond their range
  // and were computed here from the integers. Error io, naming device and graph.
  uint64_t run(const void* x, std::span<float* const> outputs);

 private:
  uint64_t read_output(size_t linear, const int8_t* x, float* out) const;

  const Device& device_;
  Int8Graph graph_;
  std::vector<OutputScale> scales_;
  std::vector<std::string> names_;
  Handle<Session> session_;
  std::shared_ptr<Buffers> buffers_;
};

}  // namespace cairn::offload::onnx
