// A whole layer as an ONNX model, as Hexagon's compiler takes it: half precision, with or without products of
// 16-bit integers inside.
#pragma once

#include <string>

#include "offload/layer_graph.hpp"

namespace cairn::offload::onnx {

// Inputs and outputs as LayerValues, under its names; cosines and sines where the layer has RoPE. Weights are
// called alike in the graphs of all lengths, so that a shared context has them once.
//
// layers_fp16: weights in binary16. layers_a16: each token of a product's input is divided by its largest
// |x|, becomes u16, is multiplied with int8 rows that are scaled as `Form::steps` scales them, and comes back
// to half precision out of a u16 with room for 8 ‖row‖: nobody computes again what is beyond that.
std::string write_layer(const LayerGraph& layer);

}  // namespace cairn::offload::onnx
