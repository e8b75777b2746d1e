// What recurrent states are computed with: short convolutions, the gated delta rule and selective scans, in
// float.
#pragma once

#include <cstddef>

#include "kernels/kernels.hpp"

namespace cairn::kernels {

// A state's columns come in whole vectors of every instruction set.
constexpr size_t kDeltaColumns = 16;
constexpr size_t kDeltaBlock = 32;  // columns that are computed together

// Tokens of one head: what they change a state by, and what they read of it. A matrix's rows are `columns`
// floats apart, where nothing else is said.
struct DeltaTokens {
  size_t count;                 // at least 1
  const float *queries, *keys;  // [count][key_stride of the state]
  const float* values;          // [count][columns]
  const float *decays, *steps;  // [count]
  float* out;                   // [count][columns]: qᵀ S behind the token
  float* deltas;                // [count][columns]: what the key was multiplied with; or null
};

// Some tokens go before, of which all is known: S becomes decay S + key ⊗ delta.
struct DeltaPast {
  size_t count;
  const float* keys;    // [count][key_stride]
  const float* deltas;  // [count][columns]
  const float* decays;  // [count]
};

struct DeltaState {
  size_t keys, columns;  // columns: a multiple of kDeltaColumns
  size_t key_stride;     // floats from a token's key or query to the next one's
  const float* from;     // [keys][columns]
  float* past;           // where the state behind the past goes; may be `from`; null: nowhere
  float* to;             // … that behind the tokens
};

// A tile of tokens of one head's selective scan; "tile" as in gemm.hpp: [features][tile_tokens].
struct ScanTile {
  size_t state, size;           // rows and columns of the head's state
  const float* inputs;          // tile of x, [size]
  const float *keys, *queries;  // tiles of B and C, [state]
  const float* scores;          // [tile_tokens][tile_tokens], of RecurrentKernels::scan_scores
  const float *steps, *decays;  // [tile_tokens]: s, and e^(A s); 0 and 1 in lanes that are no tokens
  float skip;
};

struct RecurrentKernels {
  // out[c] = Σ_i weights[i][c] · inputs[i][c] + bias[c] over `window` inputs and `channels` channels; out may
  // be one of the inputs. bias: or null.
  void (*convolve_token)(const float* const* inputs, const float* weights, const float* bias, size_t window,
                         size_t channels, float* out);
  // One channel: out[t] = Σ_i weights[i · channels] · x[t + i] + bias; x: [n + window − 1].
  void (*convolve_channel)(const float* x, const float* weights, float bias, size_t window, size_t channels,
                           size_t n, float* out);
  // The gated delta rule (Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464, equation 10), token after token:
  // S = e S + k ⊗ δ with δ = s (v − kᵀ e S), out = qᵀ S. What a token computes does not depend on how many
  // there are, nor on whether those before it are past. scratch: [keys][kDeltaBlock].
  void (*delta_rule)(const DeltaState& state, const DeltaPast& past, const DeltaTokens& tokens,
                     float* scratch);
  // A selective scan (Mamba-2: Dao, Gu 2024, arXiv 2405.21060, equation 1 with a scalar A), token after
  // token: S = e S + k ⊗ v, out = qᵀ S; `steps` are not read, and a token's delta is its value. As for the
  // delta rule a token's result does not depend on how the tokens before it are cut. out: nothing that is
  // read.
  void (*selective_scan)(const DeltaState& state, const DeltaPast& past, const DeltaTokens& tokens);
  // s = softplus(alpha + bias) and e^(rate s) of n tokens of a head.
  void (*scan_steps)(const float* alpha, float bias, float rate, size_t n, float* steps, float* decays);
  // The same of a tile's tokens together, as matrix products (section 6): the scores, which all heads with
  // the same B and C share, scores[i][t] = keys[:, i] · queries[:, t]; then of each head out[:, t] =
  // decays[0] … decays[t] Sᵀ queries[:, t] + Σ_{i ≤ t} decays[i + 1] … decays[t] scores[i][t] steps[i]
  // inputs[:, i] + skip inputs[:, t], a tile, and the state behind the tokens.
  void (*scan_scores)(const float* keys, const float* queries, size_t state, float* scores);
  // from, to: [state][columns], columns as DeltaState's; `to` may be `from`. out: or null. scratch:
  // scan_scratch(tile_tokens, columns) floats.
  void (*scan_tile)(const ScanTile& tile, size_t columns, const float* from, float* to, float* out,
                    float* scratch);
};

[[gnu::always_inline]] constexpr size_t scan_scratch(size_t tile_tokens, size_t columns) {
  return tile_tokens * (tile_tokens + columns + 2);
}

// Error unsupported: this build has no such instruction set.
const RecurrentKernels& recurrent_kernels(Target target);

}  // namespace cairn::kernels
