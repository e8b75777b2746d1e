// What rows and chunks share of recurrent states.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backends/cpu/plan.hpp"
#include "backends/cpu/state.hpp"
#include "base/buffer.hpp"
#include "kernels/recurrent.hpp"

namespace cairn::cpu {

struct Machine;

// One head's tokens, as kernels::DeltaTokens has them, and what its kernel works in. Columns beyond the
// head's size stay zero.
struct DeltaScratch {
  DeltaScratch() = default;
  DeltaScratch(size_t tokens, size_t size);
  Buffer memory{};
  float *queries = nullptr, *keys = nullptr, *values = nullptr, *out = nullptr, *deltas = nullptr;
  float *decays = nullptr, *steps = nullptr, *block = nullptr;
};

// The largest head of any delta rule of the plan; 0: it has none.
size_t largest_delta(const Plan& plan);

// The head's q and k, made unit vectors and q divided by sqrt(size). In place.
void normalise(const Machine& machine, const graph::Op& op, float* query, float* key);
// What a token's state decays by. alpha: of the head.
float decay(const BoundOp& bound, size_t head, float alpha);
float sigmoid(float x);

// What was the input of a convolution `back` positions before `length` (1 … ConvPart::kept), [channels].
const float* input_before(const StateView& state, const ConvPart& part, uint32_t length, size_t back);

}  // namespace cairn::cpu
