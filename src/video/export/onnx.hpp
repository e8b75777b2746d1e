// A network as an ONNX model.
#pragma once

#include <string>

#include "video/network.hpp"

namespace cairn::video {

constexpr int kOnnxOpset = 13;

// What is told of the network beside its layers.
struct OnnxNotes {
  std::string name;                // of its architecture
  uint32_t width = 0, height = 0;  // of restored frames
  uint32_t bits = 8;               // of a sample
};

// The bytes of a ModelProto. Input "small": float [batch, frames, height, width], samples / peak (255, or
// 1023) of the plane: the frame, the one before, the one after, as many as network.frames. Output "restored":
// float [batch, 1, height · scale, width · scale], clamped to 0 … 1, not rounded. Weights are float32,
// activations are not quantised: run_reference() in float32.
std::string write_onnx(const Network& network, const OnnxNotes& notes);

}  // namespace cairn::video
