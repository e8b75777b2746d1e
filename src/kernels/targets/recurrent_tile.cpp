// Selective scans of a tile of tokens as matrix products; see kernels/recurrent.hpp. Lanes run along tokens
// where a token's result is made, and along a state's columns where the state is.
#include "kernels/recurrent.hpp"
#include "kernels/targets/lanes.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {

void scan_steps(const float* alpha, float bias, float rate, size_t n, float* steps, float* decays);
void scan_scores(const float* keys, const float* queries, size_t state, float* scores);
void scan_tile(const ScanTile& tile, size_t columns, const float* from, float* to, float* out,
               float* scratch);

namespace {

const FloatTag df;
constexpr size_t kRows = 4;  // that are computed together
static_assert(kDeltaColumns % kLanes == 0);

// acc[r][v] += Σ_i rows[i · row_stride + r · step] · vectors[i · vector_stride + v · kLanes]
template <size_t Rows, size_t Vectors>
HWY_INLINE void multiply_add(const float* rows, size_t row_stride, size_t step, const float* vectors,
                             size_t vector_stride, size_t n, VF (&acc)[Rows][Vectors]) {
  for (size_t i = 0; i < n; ++i, rows += row_stride, vectors += vector_stride) {
    VF x[Vectors];
    CAIRN_UNROLL(Vectors, v, x[v] = hn::LoadU(df, vectors + v * kLanes));
    CAIRN_UNROLL(Rows, r, const VF w = hn::Set(df, rows[r * step]);
                 CAIRN_UNROLL(Vectors, v, acc[r][v] = hn::MulAdd(w, x[v], acc[r][v])));
  }
}

// Rows [row, row + Rows) of the head's result.
template <size_t Rows>
HWY_INLINE void results(const ScanTile& tile, size_t columns, const float* from, const float* passed,
                        const float* mixing, size_t row, float* out) {
  VF acc[Rows][kVectors];
  CAIRN_UNROLL(Rows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::Zero(df)));
  multiply_add<Rows, kVectors>(from + row, columns, 1, tile.queries, kTile, tile.state, acc);
  CAIRN_UNROLL(kVectors, v, const VF e = hn::LoadU(df, passed + v * kLanes);
               CAIRN_UNROLL(Rows, r, acc[r][v] = hn::Mul(acc[r][v], e)));
  multiply_add<Rows, kVectors>(tile.inputs + row * kTile, 1, kTile, mixing, kTile, kTile, acc);
  CAIRN_UNROLL(Rows, r,
               CAIRN_UNROLL(kVectors, v, hn::StoreU(acc[r][v], df, out + (row + r) * kTile + v * kLanes)));
}

// Vectors of columns from `column` on of `Rows` rows of the state.
template <size_t Rows, size_t Vectors>
HWY_INLINE void take_up(const ScanTile& tile, size_t columns, const float* from, float* to, float decay,
                        const float* inputs, size_t row, size_t column) {
  const VF e = hn::Set(df, decay);
  const size_t at = row * columns + column;
  VF acc[Rows][Vectors];
  CAIRN_UNROLL(
      Rows, r,
      CAIRN_UNROLL(Vectors, v, acc[r][v] = hn::Mul(e, hn::LoadU(df, from + at + r * columns + v * kLanes))));
  multiply_add<Rows, Vectors>(tile.keys + row * kTile, 1, kTile, inputs + column, columns, kTile, acc);
  CAIRN_UNROLL(Rows, r,
               CAIRN_UNROLL(Vectors, v, hn::StoreU(acc[r][v], df, to + at + r * columns + v * kLanes)));
}

template <size_t Rows>
HWY_INLINE void take_up_rows(const ScanTile& tile, size_t columns, const float* from, float* to, float decay,
                             const float* inputs, size_t row) {
  size_t column = 0;
  for (; column + 2 * kLanes <= columns; column += 2 * kLanes)
    take_up<Rows, 2>(tile, columns, from, to, decay, inputs, row, column);
  if (column < columns) take_up<Rows, 1>(tile, columns, from, to, decay, inputs, row, column);
}

// What each token's input is multiplied with for each token's result, [token of the input][token].
HWY_INLINE void mix(const ScanTile& tile, float* mixing) {
  VF passed[kVectors];  // the decays between the input's token and each later one
  CAIRN_UNROLL(kVectors, v, passed[v] = hn::Zero(df));
  for (size_t i = kTile; i-- > 0;) {
    const VF decay = hn::Set(df, i + 1 < kTile ? tile.decays[i + 1] : 0), step = hn::Set(df, tile.steps[i]);
    CAIRN_UNROLL(kVectors, v,
                 const auto own =
                     hn::Eq(hn::Iota(df, static_cast<float>(v * kLanes)), hn::Set(df, static_cast<float>(i)));
                 passed[v] = hn::IfThenElse(own, hn::Set(df, 1.0F), hn::Mul(passed[v], decay));
                 const VF score = hn::Mul(hn::LoadU(df, tile.scores + i * kTile + v * kLanes), step);
                 const VF skip = hn::IfThenElseZero(own, hn::Set(df, tile.skip));
                 // A score that no later token asks for may be infinite.
                 const VF used = hn::IfThenElseZero(hn::Ne(passed[v], hn::Zero(df)), score);
                 hn::StoreU(hn::MulAdd(passed[v], used, skip), df, mixing + i * kTile + v * kLanes));
  }
}

}  // namespace

void scan_steps(const float* alpha, float bias, float rate, size_t n, float* steps, float* decays) {
  const VF zero = hn::Zero(df), b = hn::Set(df, bias), a = hn::Set(df, rate);
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t count = HWY_MIN(kLanes, n - i);
    float padded[kLanes] = {}, step[kLanes], decay[kLanes];
    for (size_t j = 0; j < count; ++j) padded[j] = alpha[i + j];
    const VF x = hn::Add(hn::LoadU(df, padded), b);
    // log(1 + e^x) without overflow.
    const VF rest = hn::Log1p(df, hn::Exp(df, hn::Neg(hn::Abs(x))));
    const VF all = hn::Add(hn::IfThenZeroElse(hn::Lt(x, zero), x), rest);
    hn::StoreU(all, df, step);
    hn::StoreU(hn::Exp(df, hn::Mul(a, all)), df, decay);
    for (size_t j = 0; j < count; ++j) steps[i + j] = step[j], decays[i + j] = decay[j];
  }
}

void scan_scores(const float* keys, const float* queries, size_t state, float* scores) {
  for (size_t i = 0; i < kTile; i += kRows) {
    VF acc[kRows][kVectors];
    CAIRN_UNROLL(kRows, r, CAIRN_UNROLL(kVectors, v, acc[r][v] = hn::Zero(df)));
    multiply_add<kRows, kVectors>(keys + i, kTile, 1, queries, kTile, state, acc);
    CAIRN_UNROLL(kRows, r,
                 CAIRN_UNROLL(kVectors, v, hn::StoreU(acc[r][v], df, scores + (i + r) * kTile + v * kLanes)));
  }
}

void scan_tile(const ScanTile& tile, size_t columns, const float* from, float* to, float* out,
               float* scratch) {
  float *mixing = scratch, *inputs = mixing + kTile * kTile, *passed = inputs + kTile * columns,
        *weights = passed + kTile;
  float before = 1, behind = 1;
  for (size_t t = 0; t < kTile; ++t) passed[t] = before *= tile.decays[t];
  for (size_t t = kTile; t-- > 0; behind *= tile.decays[t]) weights[t] = behind * tile.steps[t];
  if (out != nullptr) {
    mix(tile, mixing);
    size_t row = 0;
    for (; row + kRows <= tile.size; row += kRows)
      results<kRows>(tile, columns, from, passed, mixing, row, out);
    for (; row < tile.size; ++row) results<1>(tile, columns, from, passed, mixing, row, out);
  }
  for (size_t t = 0; t < kTile; ++t) {
    float* token = inputs + t * columns;
    for (size_t c = 0; c < tile.size; ++c) token[c] = tile.inputs[c * kTile + t] * weights[t];
    for (size_t c = tile.size; c < columns; ++c) token[c] = 0;
  }
  size_t row = 0;
  for (; row + kRows <= tile.state; row += kRows)
    take_up_rows<kRows>(tile, columns, from, to, before, inputs, row);
  for (; row < tile.state; ++row) take_up_rows<1>(tile, columns, from, to, before, inputs, row);
}

}  // namespace cairn::kernels::CAIRN_TARGET
