// Short convolutions, the gated delta rule and selective scans token by token; see kernels/recurrent.hpp.
// Lanes run along a state's columns, which do not know of each other. A block of the delta rule's stays in
// the first-level cache while all tokens pass.
#include "kernels/recurrent.hpp"

#include "kernels/targets/lanes.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const FloatTag df;
static_assert(kDeltaColumns % kLanes == 0);

void convolve_token(const float* const* inputs, const float* weights, const float* bias, size_t window,
                    size_t channels, float* out) {
  size_t c = 0;
  for (; c + kLanes <= channels; c += kLanes) {
    VF sum = bias == nullptr ? hn::Zero(df) : hn::LoadU(df, bias + c);
    for (size_t i = 0; i < window; ++i)
      sum = hn::MulAdd(hn::LoadU(df, weights + i * channels + c), hn::LoadU(df, inputs[i] + c), sum);
    hn::StoreU(sum, df, out + c);
  }
  for (; c < channels; ++c) {
    float sum = bias == nullptr ? 0 : bias[c];
    for (size_t i = 0; i < window; ++i) sum += weights[i * channels + c] * inputs[i][c];
    out[c] = sum;
  }
}

void convolve_channel(const float* x, const float* weights, float bias, size_t window, size_t channels,
                      size_t n, float* out) {
  size_t t = 0;
  for (; t + kLanes <= n; t += kLanes) {
    VF sum = hn::Set(df, bias);
    for (size_t i = 0; i < window; ++i)
      sum = hn::MulAdd(hn::Set(df, weights[i * channels]), hn::LoadU(df, x + t + i), sum);
    hn::StoreU(sum, df, out + t);
  }
  for (; t < n; ++t) {
    float sum = bias;
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
    replay<Vectors>(state.keys, past.keys + t * state.key_stride, past.deltas + t * state.columns + column,
                    past.decays[t], block);
  }
  if (state.past != nullptr && (past.count > 0 || state.past != state.from))
    store_block<Vectors>(state, column, block, state.past);
  VF delta[Vectors];
  find_delta<Vectors>(state.keys, tokens.keys, tokens.values + column, tokens.decays[0], tokens.steps[0],
                      block, delta);
  for (size_t t = 0; t < tokens.count; ++t) {
    const size_t row = t * state.columns, next = row + state.columns, key = t * state.key_stride;
    if (tokens.deltas != nullptr)
      CAIRN_UNROLL(Vectors, v, hn::StoreU(delta[v], df, tokens.deltas + row + column + v * kLanes));
    if (t + 1 == tokens.count) {
      update<Vectors>(state.keys, tokens.queries + key, tokens.keys + key, delta, block,
                      tokens.out + row + column);
    } else {
      update_and_find<Vectors>(state.keys, tokens.queries + key, tokens.keys + key,
                               tokens.keys + key + state.key_stride, tokens.values + next + column,
                               tokens.decays[t + 1], tokens.steps[t + 1], delta, block,
                               tokens.out + row + column);
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

// One key's row of the state, in registers: it takes up a token.
template <size_t Vectors>
HWY_INLINE void take_up(float key, float decay, const float* delta, VF* s) {
  const VF k = hn::Set(df, key), e = hn::Set(df, decay);
  CAIRN_UNROLL(Vectors, v, s[v] = hn::MulAdd(k, hn::LoadU(df, delta + v * kLanes), hn::Mul(s[v], e)));
}

// A row of the state after the other: all tokens pass while it is in registers. Sums of the tokens are in
// `out`, of a single one (Single) in registers.
template <size_t Vectors, bool Single>
HWY_INLINE void scan_columns(const DeltaState& state, const DeltaPast& past, const DeltaTokens& tokens,
                             size_t column) {
  const bool keeps = state.past != nullptr && (past.count > 0 || state.past != state.from);
  VF sum[Vectors];
  CAIRN_UNROLL(Vectors, v, sum[v] = hn::Zero(df));
  for (size_t t = 0; t < tokens.count && !Single; ++t) {
    CAIRN_UNROLL(Vectors, v,
                 hn::StoreU(hn::Zero(df), df, tokens.out + t * state.columns + column + v * kLanes));
  }
  for (size_t i = 0; i < state.keys; ++i) {
    const size_t at = i * state.columns + column;
    VF s[Vectors];
    CAIRN_UNROLL(Vectors, v, s[v] = hn::LoadU(df, state.from + at + v * kLanes));
    for (size_t t = 0; t < past.count; ++t)
      take_up<Vectors>(past.keys[t * state.key_stride + i], past.decays[t],
                       past.deltas + t * state.columns + column, s);
    if (keeps) CAIRN_UNROLL(Vectors, v, hn::StoreU(s[v], df, state.past + at + v * kLanes));
    for (size_t t = 0; t < (Single ? 1 : tokens.count); ++t) {
      const size_t row = t * state.columns + column, key = t * state.key_stride + i;
      take_up<Vectors>(tokens.keys[key], tokens.decays[t], tokens.values + row, s);
      const VF q = hn::Set(df, tokens.queries[key]);
      if constexpr (Single) {
        CAIRN_UNROLL(Vectors, v, sum[v] = hn::MulAdd(q, s[v], sum[v]));
      } else {
        CAIRN_UNROLL(Vectors, v, float* out = tokens.out + row + v * kLanes;
                     hn::StoreU(hn::MulAdd(q, s[v], hn::LoadU(df, out)), df, out));
      }
    }
    if (state.to != nullptr) CAIRN_UNROLL(Vectors, v, hn::StoreU(s[v], df, state.to + at + v * kLanes));
  }
  if constexpr (Single) CAIRN_UNROLL(Vectors, v, hn::StoreU(sum[v], df, tokens.out + column + v * kLanes));
}

template <bool Single>
void scan(const DeltaState& state, const DeltaPast& past, const DeltaTokens& tokens) {
  constexpr size_t kBlock = 4 * kLanes;  // whose rows and sums fit the registers
  size_t column = 0;
  for (; column + kBlock <= state.columns; column += kBlock)
    scan_columns<4, Single>(state, past, tokens, column);
  for (; column < state.columns; column += kDeltaColumns)
    scan_columns<kDeltaColumns / kLanes, Single>(state, past, tokens, column);
}

void selective_scan(const DeltaState& state, const DeltaPast& past, const DeltaTokens& tokens) {
  tokens.count == 1 ? scan<true>(state, past, tokens) : scan<false>(state, past, tokens);
}

}  // namespace

// In recurrent_tile.cpp.
void scan_steps(const float* alpha, float bias, float rate, size_t n, float* steps, float* decays);
void scan_scores(const float* keys, const float* queries, size_t state, float* scores);
void scan_tile(const ScanTile& tile, size_t columns, const float* from, float* to, float* out,
               float* scratch);

const RecurrentKernels& recurrent_table() {
  static constexpr RecurrentKernels table{convolve_token, convolve_channel, delta_rule, selective_scan,
                                          scan_steps,     scan_scores,      scan_tile};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
