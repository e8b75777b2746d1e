// What recurrent states are computed with: short convolutions and the gated delta rule, in float.
#pragma once

#include <cstddef>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

// A state's columns come in whole vectors of every instruction set.
constexpr size_t kDeltaColumns = 16;
constexpr size_t kDeltaBlock = 32;  // columns that are computed together

// Tokens of one head: what they change a state by, and what they read of it. A matrix's rows are `columns`
// floats apart.
struct DeltaTokens {
  size_t count;                 // at least 1
  const float *queries, *keys;  // [count][keys of the state], `columns` apart
  const float* values;          // [count][columns]
  const float *decays, *steps;  // [count]
  float* out;                   // [count][columns]: qᵀ S behind the token
  float* deltas;                // [count][columns]: what the key was multiplied with; or null
};

// Some tokens go before, of which all is known: S becomes decay S + key ⊗ delta.
struct DeltaPast {
  size_t count;
  const float *keys, *deltas;  // [count][columns]
  const float* decays;         // [count]
};

struct DeltaState {
  size_t keys, columns;  // columns: a multiple of kDeltaColumns
  const float* from;     // [keys][columns]
  float* past;           // where the state behind the past goes; may be `from`; null: nowhere
  float* to;             // … that behind the tokens
};

struct RecurrentKernels {
  // out[c] = Σ_i weights[i][c] · inputs[i][c] over `window` inputs and `channels` channels; out may be one of
  // the inputs.
  void (*convolve_token)(const float* const* inputs, const float* weights, size_t window, size_t channels,
                         float* out);
  // One channel: out[t] = Σ_i weights[i · channels] · x[t + i]; x: [n + window − 1].
  void (*convolve_channel)(const float* x, const float* weights, size_t window, size_t channels, size_t n,
                           float* out);
  // The gated delta rule (Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464, equation 10), token after token:
  // S = e S + k ⊗ δ with δ = s (v − kᵀ e S), out = qᵀ S. What a token computes does not depend on how many
  // there are, nor on whether those before it are past. scratch: [keys][kDeltaBlock].
  void (*delta_rule)(const DeltaState& state, const DeltaPast& past, const DeltaTokens& tokens,
                     float* scratch);
};

// Error unsupported: this build has no such instruction set.
const RecurrentKernels& recurrent_kernels(Target target);

}  // namespace cairn::kernels
