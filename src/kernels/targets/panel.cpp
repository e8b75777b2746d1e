// Filling a panel of weights; see kernels/panel.hpp.
#include "kernels/targets/panel.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const DF32 df;
using VF = VF32;
constexpr size_t kLanes = HWY_LANES(float);

// x between the two, and a number where x is none: a file's scales may be anything.
HWY_INLINE VF within(VF x, float low, float high) {
  return hn::Min(hn::Max(hn::Set(df, low), x), hn::Set(df, high));
}

}  // namespace

void round_floats(const float* x, size_t k, int8_t* values, float* scales) {
  const hn::Rebind<int8_t, DI32> d8;
  for (size_t kg = 0; kg < k; kg += kGroup) {
    VF largest = hn::Zero(df);
    for (size_t i = kg; i < kg + kGroup; i += kLanes)
      largest = hn::Max(largest, hn::Abs(hn::LoadU(df, x + i)));
    const float top = hn::GetLane(hn::MaxOfLanes(df, largest));
    scales[kg / kGroup] = top / 127;
    const VF inverse = hn::Set(df, 127 / (top > 1e-30f ? top : 1e-30f));
    for (size_t i = kg; i < kg + kGroup; i += kLanes) {
      const VF scaled = within(hn::Mul(hn::LoadU(df, x + i), inverse), -127, 127);
      hn::StoreU(hn::DemoteTo(d8, hn::NearestInt(scaled)), d8, values + i);
    }
  }
}

#if CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI
void store_values8(const int8_t* values, size_t k, const WeightPanel& panel, size_t at) {
  const hn::CappedTag<uint8_t, kGroup> bytes;
  const hn::Repartition<int8_t, decltype(bytes)> d8;
  const hn::Repartition<int32_t, decltype(bytes)> d32;
  const hn::Repartition<uint64_t, decltype(bytes)> d64;
  int8_t* out = panel.values + at * kValues8Bytes;
  int32_t* corrections = panel.corrections + at / kGroup;
  for (size_t i = 0; i < k; i += kGroup) {
    const auto w = hn::LoadU(d8, values + i);
    const auto sizes = hn::Abs(w), signs = hn::BroadcastSignBit(w);
    const auto negative = hn::SumsOf8(hn::BitCast(bytes, hn::And(sizes, signs)));
    corrections[i / kGroup] = static_cast<int32_t>(hn::GetLane(hn::SumOfLanes(d64, negative)));
    const auto even = hn::InterleaveLower(d32, hn::BitCast(d32, signs), hn::BitCast(d32, sizes));
    const auto odd = hn::InterleaveUpper(d32, hn::BitCast(d32, signs), hn::BitCast(d32, sizes));
    hn::StoreU(hn::BitCast(d8, hn::ConcatLowerLower(d32, odd, even)), d8, out + 2 * i);
    hn::StoreU(hn::BitCast(d8, hn::ConcatUpperUpper(d32, odd, even)), d8, out + 2 * i + kGroup);
  }
}
#elif !CAIRN_ISA_NEON
void store_values8(const int8_t* values, size_t k, const WeightPanel& panel, size_t at) {
  for (size_t i = 0; i < k; ++i) panel.values[at + i] = static_cast<int8_t>(values[i] ^ -128);
}
#endif

}  // namespace cairn::kernels::CAIRN_TARGET
