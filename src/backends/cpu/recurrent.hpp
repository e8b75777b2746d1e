// What rows and chunks share of recurrent states.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/cpu/plan.hpp"
#include "backends/cpu/state.hpp"
#include "base/buffer.hpp"
#include "kernels/recurrent.hpp"

namespace cairn::cpu {

struct Machine;

// One head's tokens, as kernels::DeltaTokens has them, and what its kernel works in, for the largest keys and
// heads of a plan. Columns beyond the head's size stay zero.
struct DeltaScratch {
  DeltaScratch() = default;
  DeltaScratch(size_t tokens, size_t keys, size_t size, size_t tile_tokens);
  Buffer memory{};
  float *queries = nullptr, *keys = nullptr, *values = nullptr, *out = nullptr, *deltas = nullptr;
  float *decays = nullptr, *steps = nullptr, *block = nullptr;
  float* tile = nullptr;  // of RecurrentKernels::scan_tile
};

// One scratch a thread, or none where the plan has neither delta rules nor selective scans. tile_tokens: 0
// for rows.
std::vector<DeltaScratch> delta_scratch(const Plan& plan, size_t tokens, size_t tile_tokens, size_t threads);

// The head's q and k, made unit vectors and q divided by sqrt(size). In place.
void normalise(const Machine& machine, const graph::Op& op, float* query, float* key);
// What a token's state decays by. alpha: of the head.
float decay(const BoundOp& bound, size_t head, float alpha);
float sigmoid(float x);

// What was the input of a convolution `back` positions before `length` (1 … ConvPart::kept), [channels].
const float* input_before(const StateView& state, const ConvPart& part, uint32_t length, size_t back);

}  // namespace cairn::cpu
