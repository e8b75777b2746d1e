// What encoding a stack spends its time on; see kernels/encode.hpp.
#include "kernels/encode.hpp"

#include <cmath>

#include "kernels/dot.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const DF32 df;
const DI32 di;
constexpr size_t kLanes = HWY_LANES(float) < 16 ? HWY_LANES(float) : 16;
constexpr bool kManyRegisters = kLanes == 16;
// A block of accumulators of kVectors · kRows registers; of one row, of kLong.
constexpr size_t kVectors = kManyRegisters ? 4 : 2, kLong = kManyRegisters ? 4 : 8;
constexpr size_t kRows = 6;
static_assert(kStripRows % (kVectors * kLanes) == 0 && kStripRows % (kLong * kLanes) == 0);

template <size_t Rows, size_t Vectors>
HWY_INLINE void block(size_t k, float factor, const float* HWY_RESTRICT a, size_t a_stride,
                      const float* HWY_RESTRICT b, size_t b_stride, float* HWY_RESTRICT c, size_t c_stride) {
  VF32 sum[Rows][Vectors];
  CAIRN_UNROLL(Rows, i, CAIRN_UNROLL(Vectors, v, sum[i][v] = hn::Zero(df)));
  for (size_t j = 0; j < k; ++j, a += a_stride, b += b_stride) {
    VF32 x[Vectors];
    CAIRN_UNROLL(Vectors, v, x[v] = hn::LoadU(df, b + v * kLanes));
    CAIRN_UNROLL(Rows, i, const VF32 w = hn::Set(df, a[i]);
                 CAIRN_UNROLL(Vectors, v, sum[i][v] = hn::MulAdd(w, x[v], sum[i][v])));
  }
  const VF32 f = hn::Set(df, factor);
  CAIRN_UNROLL(Rows, i,
               CAIRN_UNROLL(Vectors, v, float* to = c + i * c_stride + v * kLanes;
                            hn::StoreU(hn::MulAdd(sum[i][v], f, hn::LoadU(df, to)), df, to)));
}

void multiply_add(size_t m, size_t k, float factor, const float* a, size_t a_stride, const float* b,
                  size_t b_stride, float* c, size_t c_stride) {
  const size_t whole = m / kRows * kRows;
  for (size_t r = 0; r < kStripRows; r += kVectors * kLanes) {
    for (size_t i = 0; i < whole; i += kRows)
      block<kRows, kVectors>(k, factor, a + i, a_stride, b + r, b_stride, c + i * c_stride + r, c_stride);
  }
  for (size_t r = 0; r < kStripRows; r += kLong * kLanes) {
    for (size_t i = whole; i < m; ++i)
      block<1, kLong>(k, factor, a + i, a_stride, b + r, b_stride, c + i * c_stride + r, c_stride);
  }
}

constexpr unsigned kCodeBits = kMostCodeBits;
constexpr size_t kPairs = size_t{1} << (kCodeBits - 1);

// The values of two codes that differ in the last bit alone: of a target t the nearer one is |t − middle| −
// half away, on one side or the other.
struct Pairs {
  float middle[kPairs], half[kPairs];
};

// All codes of kGroups vectors of targets but for their last bit, as a tree: what the first bits cost is
// shared by all that begin with them. Unrolled whole, so that costs stay in registers.
class Search {
 public:
  // values: those of k bits from entry 2^k on; targets: [kCodeBits + 1][kStripRows].
  Search(const float* values, const Pairs& pairs, const float* targets)
      : values_(values), pairs_(pairs), targets_(targets) {
    CAIRN_UNROLL(kGroups, g, best_[g] = hn::Set(df, 3.0e38f); code_[g] = hn::Zero(di));
  }
  static constexpr size_t kGroups = kManyRegisters ? 4 : 2;
  void run(int32_t* codes) {
    Costs none;
    CAIRN_UNROLL(kGroups, g, none.of[g] = hn::Zero(df));
    node<1, 0>(none);
    node<1, 1>(none);
    CAIRN_UNROLL(kGroups, g, hn::StoreU(code_[g], di, codes + g * kLanes));
  }

 private:
  struct Costs {
    VF32 of[kGroups];
  };
  template <unsigned Level, unsigned Code>
  HWY_INLINE void node(const Costs& before) {
    const VF32 value = hn::Set(df, values_[(1u << Level) + Code]);
    Costs costs;
    CAIRN_UNROLL(kGroups, g,
                 const VF32 e = hn::Sub(value, hn::LoadU(df, targets_ + Level * kStripRows + g * kLanes));
                 costs.of[g] = hn::MulAdd(e, e, before.of[g]));
    if constexpr (Level + 1 < kCodeBits) {
      node<Level + 1, 2 * Code>(costs);
      node<Level + 1, 2 * Code + 1>(costs);
    } else {
      const VI32 code = hn::Set(di, static_cast<int32_t>(Code));
      const VF32 middle = hn::Set(df, pairs_.middle[Code]), half = hn::Set(df, pairs_.half[Code]);
      CAIRN_UNROLL(kGroups, g, const VF32 t = hn::LoadU(df, targets_ + kCodeBits * kStripRows + g * kLanes);
                   const VF32 e = hn::Sub(hn::Abs(hn::Sub(middle, t)), half);
                   const VF32 cost = hn::MulAdd(e, e, costs.of[g]);
                   const auto better = hn::RebindMask(di, hn::Lt(cost, best_[g]));
                   best_[g] = hn::Min(cost, best_[g]); code_[g] = hn::IfThenElse(better, code, code_[g]));
    }
  }

  const float* values_;
  const Pairs& pairs_;
  const float* targets_;
  VF32 best_[kGroups];
  VI32 code_[kGroups];
};

void choose(const NestedTables& tables, const float* targets, int32_t* codes) {
  // With the weights' roots in values and targets a cost is a sum of squares. What is not asked for costs
  // nothing.
  float values[2 << kCodeBits] = {}, scaled[(kCodeBits + 1) * kStripRows] = {};
  for (unsigned k = tables.first; k <= tables.last; ++k) {
    const float root = std::sqrt(tables.weights[k]);
    for (size_t i = 0; i < size_t{1} << k; ++i) values[(size_t{1} << k) + i] = root * tables.values[k][i];
    for (size_t r = 0; r < kStripRows; ++r) scaled[k * kStripRows + r] = root * targets[k * kStripRows + r];
  }
  const float* last = values + 2 * kPairs;
  Pairs pairs;
  for (size_t i = 0; i < kPairs; ++i) {
    const float apart = last[2 * i + 1] - last[2 * i];
    pairs.middle[i] = (last[2 * i] + last[2 * i + 1]) / 2;
    pairs.half[i] = (apart < 0 ? -apart : apart) / 2;
  }
  for (size_t r = 0; r < kStripRows; r += Search::kGroups * kLanes)
    Search(values, pairs, scaled + r).run(codes + r);
  for (size_t r = 0; r < kStripRows; ++r) {
    const float* pair = last + 2 * codes[r];
    const float t = scaled[kCodeBits * kStripRows + r], below = t - pair[0], above = t - pair[1];
    const int32_t code = 2 * codes[r] + (above * above < below * below ? 1 : 0);
    codes[r] = code >> (kCodeBits - tables.last);
  }
}

}  // namespace

const EncodeKernels& encode_table() {
  static constexpr EncodeKernels table{&multiply_add, &choose};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
