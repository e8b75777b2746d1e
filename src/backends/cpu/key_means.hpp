#pragma once

#include <memory>
#include <vector>

#include "backends/cpu/plan.hpp"
#include "kernels/vector.hpp"

namespace cairn::cpu {

// What is taken off each layer's keys before an int8 cache rounds them: the mean of their bias over
// positions, [layer][kv head · head_size]; empty where there is none. Attention does not change: softmax does
// not see what is added to all scores of a query. (Qwen 2's biases are up to 200 in the channels that
// positions hardly turn, where what tells keys apart is about 1: one scale a row would round that away.
// SageAttention, arXiv 2410.02367, takes off the mean of the keys themselves.)
using KeyMeans = std::vector<std::vector<float>>;

// null: nothing is taken off.
std::shared_ptr<const KeyMeans> key_means(const graph::Model& model, const Plan& plan, kernels::KvFormat kv);

}  // namespace cairn::cpu
