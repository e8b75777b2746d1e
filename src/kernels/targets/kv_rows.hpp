// Reading rows of the KV cache as vectors of floats, whatever their format.
#pragma once

#include "kernels/targets/lanes.hpp"
#include "kernels/vector.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// The formats of the cache that are read as they are behind one interface: kLanes elements as floats, and
// whether each row has a scale. Packed rows become floats first (kv_q4.hpp).
struct HalfRows {
  using Element = hwy::float16_t;
  static constexpr bool kScaled = false;
  static HWY_INLINE VF load(const Element* p) {
    const FloatTag df;
    return hn::PromoteTo(df, hn::LoadU(hn::Rebind<Element, FloatTag>(), p));
  }
};
struct ByteRows {
  using Element = int8_t;
  static constexpr bool kScaled = true;
  static HWY_INLINE VF load(const Element* p) {
    const FloatTag df;
    const hn::RebindToSigned<FloatTag> di;
    return hn::ConvertTo(df, hn::PromoteTo(di, hn::LoadU(hn::Rebind<Element, FloatTag>(), p)));
  }
};
struct FloatRows {
  using Element = float;
  static constexpr bool kScaled = false;
  static HWY_INLINE VF load(const Element* p) { return hn::LoadU(FloatTag(), p); }
};

// What is left of a row after whole vectors, padded with zeros.
template <class Rows>
HWY_INLINE VF load_tail(const typename Rows::Element* p, size_t count) {
  typename Rows::Element lanes[kLanes] = {};
  for (size_t i = 0; i < count; ++i) lanes[i] = p[i];
  return Rows::load(lanes);
}

// body(whole, i) for each vector [i, i + kLanes) of n elements; whole: std::true_type, or false_type for what
// is left behind the last of them. Asked of each vector at run time, clang loads all elements one by one.
template <class Body>
HWY_INLINE void for_parts(size_t n, const Body& body) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(std::true_type(), i);
  if (i < n) body(std::false_type(), i);
}

// Elements [i, i + kLanes) of a row of n; those beyond its end are zeros.
template <class Rows, class Whole>
HWY_INLINE VF load_part(Whole, const typename Rows::Element* row, size_t i, size_t n) {
  if constexpr (Whole::value) return Rows::load(row + i);
  return load_tail<Rows>(row + i, i < n ? (n - i < kLanes ? n - i : kLanes) : 0);
}

template <class Rows>
HWY_INLINE const typename Rows::Element* row_of(const KvRows& cache, size_t position, size_t n) {
  const std::byte* page = cache.pages[position / kPagePositions] + cache.rows;
  return reinterpret_cast<const typename Rows::Element*>(page) + position % kPagePositions * n;
}

// Brings a row near that is read a page later: where pages end, the processor does not see what comes next.
template <class Rows>
HWY_INLINE void fetch_row(const KvRows& cache, size_t position, size_t n) {
  const auto* row = row_of<Rows>(cache, position, n);
  for (size_t i = 0; i < n; i += 64 / sizeof(*row)) __builtin_prefetch(row + i);
}

// body(elements' index, how many, their floats) for each vector of row `position`.
template <class Rows, class Body>
HWY_INLINE void for_row(const KvRows& cache, size_t position, size_t n, const Body& body) {
  const auto* row = row_of<Rows>(cache, position, n);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes, Rows::load(row + i));
  if (i < n) body(i, n - i, load_tail<Rows>(row + i, n - i));
}

template <class Body>
HWY_INLINE void with_format(KvFormat format, const Body& body) {
  switch (format) {
    case KvFormat::f16:
      body(HalfRows());
      break;
    case KvFormat::i8:
      body(ByteRows());
      break;
    case KvFormat::f32:
      body(FloatRows());
      break;
    case KvFormat::q4:
    case KvFormat::q5:
      break;
  }
}

HWY_INLINE float scale_of(const KvRows& cache, size_t position) {
  if (cache.format != KvFormat::i8) return 1.0f;
  const std::byte* page = cache.pages[position / kPagePositions] + cache.scales;
  return reinterpret_cast<const float*>(page)[position % kPagePositions];
}

HWY_INLINE void store(VF x, size_t count, float* out) {
  const FloatTag df;
  if (count == kLanes) {
    hn::StoreU(x, df, out);
    return;
  }
  float lanes[kLanes];
  hn::StoreU(x, df, lanes);
  for (size_t i = 0; i < count; ++i) out[i] = lanes[i];
}

}  // namespace cairn::kernels::CAIRN_TARGET
