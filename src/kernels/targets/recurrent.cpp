// Short convolutions and the gated delta rule; see kernels/recurrent.hpp. The delta rule's lanes run along a
// state's columns, which do not know of each other: a block of them stays in the first-level cache while all
// tokens pass.
#include "kernels/recurrent.hpp"

#include "kernels/targets/lanes.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const FloatTag df;
static_assert(kDeltaColumns % kLanes == 0);

void convolve_token(const float* const* inputs, const float* weights, size_t window, size_t channels,
                    float* out) {
  size_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    VF sum = hn::Zero(df);
    for (size_t i = 0; i < window; ++i)
      sum = hn::MulAdd(hn::LoadU(df, weights + i * channels + c), hn::LoadU(df, inputs[i] + c), sum);
    hn::StoreU(sum, df, out + c);
  }
  for (; c < channels; ++c) {
    float sum = 0;
    for (size_t i = 0; i < window; ++i) sum += weights[i * channels + c] * inputs[i][c];
    out[c] = sum;
  }
}

void convolve_channel(const float* x, const float* weights, size_t window, size_t channels, size_t n,
                      float* out) {
  size_t t = 0;
  for (; t + kLanes <= n; t += kLanes) {
    VF sum = hn::Zero(df);
    for (size_t i = 0; i < window; ++i)
      sum = hn::MulAdd(hn::Set(df, weights[i * channels]), hn::LoadU(df, x + t + i), sum);
    hn::StoreU(sum, df, out + t);
  }
  for (; t < n; ++t) {
    float sum = 0;
    for (size_t i = 0; i < window; ++i) sum += weights[i * channels] * x[t + i];
    out[t] = sum;
  }
}

// Vectors of columns from `column` on, in `block`, [keys][Vectors · kLanes].
template <size_t Vectors>
HWY_INLINE void load_block(const DeltaState& state, size_t column, float* block) {
  for (size_t i = 0; i < state.keys; ++i) {
    const float* from = state.from + i * state.columns + column;
    CAIRN_UNROLL(Vectors, v,
                 hn::StoreU(hn::LoadU(df, from + v * kLanes), df, block + (i * Vectors + v) * kLanes));
  }
}

template <size_t Vectors>
HWY_INLINE void store_block(const DeltaState& state, size_t column, const float* block, float* to) {
  for (size_t i = 0; i < state.keys; ++i) {
    float* at = to + i * state.columns + column;
    CAIRN_UNROLL(Vectors, v,
                 hn::StoreU(hn::LoadU(df, block + (i * Vectors + v) * kLanes), df, at + v * kLanes));
  }
}

template <size_t Vectors>
HWY_INLINE void replay(size_t keys, const float* key, const float* delta, float decay, float* block) {
  VF d[Vectors];
  CAIRN_UNROLL(Vectors, v, d[v] = hn::LoadU(df, delta + v * kLanes));
  const VF e = hn::Set(df, decay);
  for (size_t i = 0; i < keys; ++i) {
    const VF k = hn::Set(df, key[i]);
    CAIRN_UNROLL(Vectors, v, float* s = block + (i * Vectors + v) * kLanes;
                 hn::StoreU(hn::MulAdd(k, d[v], hn::Mul(hn::LoadU(df, s), e)), df, s));
  }
}

// δ of a token whose state before it is in the block; the block decays.
template <size_t Vectors>
HWY_INLINE void find_delta(size_t keys, const float* key, const float* value, float decay, float step,
                           float* block, VF* delta) {
  VF sum[Vectors];
  CAIRN_UNROLL(Vectors, v, sum[v] = hn::Zero(df));
  const VF e = hn::Set(df, decay);
  for (size_t i = 0; i < keys; ++i) {
    const VF k = hn::Set(df, key[i]);
    CAIRN_UNROLL(Vectors, v, float* s = block + (i * Vectors + v) * kLanes;
                 const VF decayed = hn::Mul(hn::LoadU(df, s), e); hn::StoreU(decayed, df, s);
                 sum[v] = hn::MulAdd(k, decayed, sum[v]));
  }
  CAIRN_UNROLL(Vectors, v,
               delta[v] = hn::Mul(hn::Sub(hn::LoadU(df, value + v * kLanes), sum[v]), hn::Set(df, step)));
}

// The block takes k ⊗ δ; out = qᵀ S.
template <size_t Vectors>
HWY_INLINE void update(size_t keys, const float* query, const float* key, const VF* delta, float* block,
                       float* out) {
  VF sum[Vectors];
  CAIRN_UNROLL(Vectors, v, sum[v] = hn::Zero(df));
  for (size_t i = 0; i < keys; ++i) {
    const VF k = hn::Set(df, key[i]), q = hn::Set(df, query[i]);
    CAIRN_UNROLL(Vectors, v, float* s = block + (i * Vectors + v) * kLanes;
                 const VF now = hn::MulAdd(k, delta[v], hn::LoadU(df, s)); hn::StoreU(now, df, s);
                 sum[v] = hn::MulAdd(q, now, sum[v]));
  }
  CAIRN_UNROLL(Vectors, v, hn::StoreU(sum[v], df, out + v * kLanes));
}

// update() of one token and find_delta() of the next in one pass over the block: the same arithmetic.
template <size_t Vectors>
HWY_INLINE void update_and_find(size_t keys, const float* query, const float* key, const float* next_key,
                                const float* next_value, float next_decay, float next_step, VF* delta,
                                float* block, float* out) {
  VF sum[Vectors], known[Vectors];
  CAIRN_UNROLL(Vectors, v, sum[v] = known[v] = hn::Zero(df));
  const VF e = hn::Set(df, next_decay);
  for (size_t i = 0; i < keys; ++i) {
    const VF k = hn::Set(df, key[i]), q = hn::Set(df, query[i]), next = hn::Set(df, next_key[i]);
    CAIRN_UNROLL(Vectors, v, float* s = block + (i * Vectors + v) * kLanes;
                 const VF now = hn::MulAdd(k, delta[v], hn::LoadU(df, s));
                 sum[v] = hn::MulAdd(q, now, sum[v]); const VF decayed = hn::Mul(now, e);
                 hn::StoreU(decayed, df, s); known[v] = hn::MulAdd(next, decayed, known[v]));
  }
  CAIRN_UNROLL(
      Vectors, v, hn::StoreU(sum[v], df, out + v * kLanes);
      delta[v] = hn::Mul(hn::Sub(hn::LoadU(df, next_value + v * kLanes), known[v]), hn::Set(df, next_step)));
}

template <size_t Vectors>
HWY_INLINE void delta_columns(const DeltaState& state, const DeltaPast& past, const DeltaTokens& tokens,
                              size_t column, float* block) {
  load_block<Vectors>(state, column, block);
  for (size_t t = 0; t < past.count; ++t) {
    const size_t row = t * state.columns;
    replay<Vectors>(state.keys, past.keys + row, past.deltas + row + column, past.decays[t], block);
  }
  if (state.past != nullptr && (past.count > 0 || state.past != state.from))
    store_block<Vectors>(state, column, block, state.past);
  VF delta[Vectors];
  find_delta<Vectors>(state.keys, tokens.keys, tokens.values + column, tokens.decays[0], tokens.steps[0],
                      block, delta);
  for (size_t t = 0; t < tokens.count; ++t) {
    const size_t row = t * state.columns, next = row + state.columns;
    if (tokens.deltas != nullptr)
      CAIRN_UNROLL(Vectors, v, hn::StoreU(delta[v], df, tokens.deltas + row + column + v * kLanes));
    if (t + 1 == tokens.count) {
      update<Vectors>(state.keys, tokens.queries + row, tokens.keys + row, delta, block,
                      tokens.out + row + column);
    } else {
      update_and_find<Vectors>(state.keys, tokens.queries + row, tokens.keys + row, tokens.keys + next,
                               tokens.values + next + column, tokens.decays[t + 1], tokens.steps[t + 1],
                               delta, block, tokens.out + row + column);
    }
  }
  if (state.to != nullptr) store_block<Vectors>(state, column, block, state.to);
}

void delta_rule(const DeltaState& state, const DeltaPast& past, const DeltaTokens& tokens, float* scratch) {
  size_t column = 0;
  for (; column + kDeltaBlock <= state.columns; column += kDeltaBlock)
    delta_columns<kDeltaBlock / kLanes>(state, past, tokens, column, scratch);
  for (; column < state.columns; column += kDeltaColumns)
    delta_columns<kDeltaColumns / kLanes>(state, past, tokens, column, scratch);
}

}  // namespace

const RecurrentKernels& recurrent_table() {
  static constexpr RecurrentKernels table{convolve_token, convolve_channel, delta_rule};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
