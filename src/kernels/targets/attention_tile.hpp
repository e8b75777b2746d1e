// Prefill's attention of one tile of queries, twice: in float, and in 16-bit integers where the instruction
// set sums pairs of them. Both take blocks of kKeys keys with a running maximum for each query.
#pragma once

#include "kernels/targets/lanes.hpp"
#include "kernels/vector.hpp"

namespace cairn::kernels::CAIRN_TARGET {

constexpr size_t kKeys = 64;                         // keys a block
constexpr size_t kKeyRows = kManyRegisters ? 8 : 4;  // of a block at a time: what the registers hold
constexpr float kMasked = -1e30f;                    // score of a key that a query may not see

// As AttentionKernels::tiles; scratch sizes in floats.
size_t float_scratch(const AttentionShape& shape);
void attend_float(const AttentionTiles& tiles, float* scratch);

// For caches of 16 and 8 bits. Null (and 0) where the instruction set has no such sums.
using TilesKernel = decltype(AttentionKernels::tiles);
size_t int16_scratch(const AttentionShape& shape, size_t tiles);
TilesKernel int16_tiles();

// The keys that some query of a tile at `first` may see begin in this block.
HWY_INLINE size_t first_block(const AttentionShape& shape, uint32_t first) {
  const size_t visible = shape.window != 0 && first + 1 > shape.window ? first + 1 - shape.window : 0;
  return visible / kKeys * kKeys;
}

// One block of keys, [begin, stop) in the cache, padded to `rows`, a multiple of kKeyRows.
struct KeyBlock {
  size_t begin, stop, rows;
};
HWY_INLINE KeyBlock key_block(size_t begin, size_t end) {
  const size_t stop = begin + kKeys < end ? begin + kKeys : end;
  return {begin, stop, (stop - begin + kKeyRows - 1) / kKeyRows * kKeyRows};
}
// Whether some query of the tile at `first` may not see some of the block's rows.
HWY_INLINE bool is_masked(const KeyBlock& block, uint32_t first, uint32_t window) {
  return block.stop > first + 1 || block.stop < block.begin + block.rows ||
         (window != 0 && block.begin + window < first + kTile);
}

// Which lanes may not see a key. first: position of lane 0.
class Mask {
 public:
  HWY_INLINE Mask(const KeyBlock& block, uint32_t first, uint32_t window, size_t v)
      : block_(block),
        window_(window),
        position_(hn::Add(hn::Iota(hn::RebindToSigned<FloatTag>(), static_cast<int32_t>(v)),
                          hn::Set(hn::RebindToSigned<FloatTag>(), static_cast<int32_t>(first)))) {}
  // The score of the block's key number `key`, or kMasked.
  HWY_INLINE VF operator()(size_t key, VF score) const {
    const FloatTag df;
    const hn::RebindToSigned<FloatTag> di;
    const auto at = hn::Set(di, static_cast<int32_t>(block_.begin + key));
    auto hidden = hn::Gt(at, position_);
    if (window_ != 0) {
      const auto distance = hn::Sub(position_, at);
      hidden = hn::Or(hidden, hn::Gt(distance, hn::Set(di, static_cast<int32_t>(window_) - 1)));
    }
    if (block_.begin + key >= block_.stop) hidden = hn::Eq(at, at);
    return hn::IfThenElse(hn::RebindMask(df, hidden), hn::Set(df, kMasked), score);
  }

 private:
  KeyBlock block_;
  uint32_t window_;
  hn::Vec<hn::RebindToSigned<FloatTag>> position_;
};

// cap · tanh(score / cap)
HWY_INLINE VF cap_score(VF score, float cap) {
  const FloatTag df;
  return hn::Mul(hn::Set(df, cap), Tanh(hn::Mul(score, hn::Set(df, 1 / cap))));
}

// out[head][d][lane] /= sums[head][lane]
HWY_INLINE void normalise(const AttentionShape& shape, const float* HWY_RESTRICT sums,
                          float* HWY_RESTRICT out) {
  const FloatTag df;
  for (size_t head = 0; head < shape.group; ++head) {
    for (size_t v = 0; v < kTile; v += kLanes) {
      const VF inverse = hn::Div(hn::Set(df, 1.0f), hn::LoadU(df, sums + head * kTile + v));
      for (size_t d = 0; d < shape.head_size; ++d) {
        float* p = out + (head * shape.head_size + d) * kTile + v;
        hn::StoreU(hn::Mul(hn::LoadU(df, p), inverse), df, p);
      }
    }
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
