// How much of a layer a device's graphs hold: what crosses to the device and back, and what the simulated
// phone takes for it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "offload/chunks.hpp"
#include "offload/simulated/phone.hpp"
#include "offload/tasks.hpp"

namespace cairn::offload {

// products: the products of each of a layer's four inputs are a graph (qkv; attention output; gate, up;
// down), as cairn's layer plan runs them. subgraphs: llm.npu's, the feed-forward part with its activation in
// one graph. The others hold whole layers: norms, products, rotary embedding, attention, activation,
// residuals. layers8: the activations of products rounded to 8 bits inside; layers16: kept in 16 bits;
// layers_float: the float work at the rate that llm.npu measured.
enum class Form : uint8_t { products, subgraphs, layers8, layers16, layers_float, count };
const char* name(Form form);  // "products", "subgraphs", "layers-a8", "layers-a16", "layers-fp16"
bool whole_layers(Form form);

// What one chunk of a model costs at the border: device graphs run, bytes that the CPU writes for them and
// reads from them. Inputs of products are int8, results 16 bits (what Hexagon's compiler takes), as are
// hidden states, keys and values. Whole layers get keys and values of the `position` tokens before the chunk
// and give those of its own back.
struct Crossings {
  uint64_t graphs = 0, in = 0, out = 0;
  Crossings& operator+=(const Crossings& other);
};
Crossings crossings(const ModelSizes& sizes, Form form, uint32_t tokens, uint32_t position);
// Of a prompt's chunks together.
Crossings crossings(const ModelSizes& sizes, Form form, std::span<const uint32_t> lengths);

// The tasks of a prompt with the phone's times. `prune`: as for simulated_tasks; whole layers have no shadow
// work. A whole layer of a chunk waits for the layer before it and for that layer of the chunk before it.
TaskGraph form_tasks(const simulated::PhoneConstants& phone, const ModelSizes& sizes,
                     std::span<const uint32_t> lengths, Form form, double prune);

// A whole layer of a chunk of `tokens` that sees `position` tokens before it, seconds.
double layer_seconds(const simulated::PhoneConstants& phone, const ModelSizes& sizes, Form form,
                     uint32_t tokens, uint32_t position);

}  // namespace cairn::offload
