// Codes of a step in two vectors of ARM64's NEON, a half of the group in each; included by lanes.hpp.
#pragma once

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

constexpr int kStepCodes = kGroupSize;

// Codes that plain loops have made (grid_portable.hpp).
struct PlainCodes {
  alignas(16) uint8_t code[kGroupSize];
};

struct StepCodes {
  VU8 half[2];
  StepCodes() = default;
  HWY_INLINE StepCodes(VU8 low, VU8 high) : half{low, high} {}
  HWY_INLINE StepCodes(const PlainCodes& plain)
      : half{hn::Load(DU8(), plain.code), hn::Load(DU8(), plain.code + 16)} {}
};

HWY_INLINE StepCodes Or(const StepCodes& a, const StepCodes& b) {
  return {hn::Or(a.half[0], b.half[0]), hn::Or(a.half[1], b.half[1])};
}

// Bits kMask of each byte after a shift to the right (left when negative).
template <int kShift, uint8_t kMask>
HWY_INLINE VU8 BitField(VU8 v) {
  constexpr unsigned kLeft =
      kShift > 0 ? 0xFFu >> (kShift > 0 ? kShift : 0) : 0xFFu << (kShift < 0 ? -kShift : 0);
  if constexpr (kShift > 0) v = VU8{vshrq_n_u8(v.raw, kShift)};
  if constexpr (kShift < 0) v = VU8{vshlq_n_u8(v.raw, -kShift)};
  if constexpr ((kLeft & 0xFF & ~unsigned{kMask}) != 0) v = hn::And(v, hn::Set(DU8(), kMask));
  return v;
}

// See lanes_x86.hpp for what these read.
template <class Field, class Lanes>
HWY_INLINE StepCodes LoadField(const uint8_t* block) {
  constexpr int kShift = Field::Shift(Lanes::Group(0));
  const uint8_t* p = block + Field::Offset(Lanes::Group(0));
  return {BitField<kShift, Field::kMask>(hn::LoadU(DU8(), p)),
          BitField<kShift, Field::kMask>(hn::LoadU(DU8(), p + 16))};
}

// Low's nibbles with High's two bits above them, in two or three instructions instead of three or four.
template <class Low, class High, class Lanes>
HWY_INLINE StepCodes InsertFields(const uint8_t* block) {
  constexpr int kGroup = Lanes::Group(0), kUp = High::Shift(kGroup) + 4;
  static_assert(Low::kMask == 15 && High::kMask == 0x30);
  const auto half = [&](int at) CAIRN_LAMBDA {
    uint8x16_t low = vld1q_u8(block + Low::Offset(kGroup) + at),
               high = vld1q_u8(block + High::Offset(kGroup) + at);
    if constexpr (Low::Shift(kGroup) != 0) low = vshrq_n_u8(low, Low::Shift(kGroup));
    if constexpr (kUp != 0) high = vshrq_n_u8(high, kUp);
    const VU8 both{vsliq_n_u8(low, high, 4)};
    return kUp == 6 ? both : hn::And(both, hn::Set(DU8(), 0x3F));
  };
  return {half(0), half(16)};
}

template <int kStride, class Lanes>
HWY_INLINE StepCodes LoadNibbles(const uint8_t* first) {
  const VU8 pairs = hn::LoadU(DU8(), first + Lanes::Group(0) * kStride);
  return {BitField<0, 15>(pairs), BitField<4, 15>(pairs)};
}

template <int kStride, class Lanes>
HWY_INLINE StepCodes LoadGroups(const uint8_t* first) {
  const uint8_t* p = first + Lanes::Group(0) * kStride;
  return {hn::LoadU(DU8(), p), hn::LoadU(DU8(), p + 16)};
}

template <int kStride, class Lanes>
HWY_INLINE StepCodes AddFifthBits(const StepCodes& codes, const uint8_t* first) {
  const uint32x4_t word = vdupq_n_u32(LoadScalar<uint32_t>(first + Lanes::Group(0) * kStride));
  alignas(16) static constexpr uint8_t kBytes[32] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
                                                     2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3};
  const uint8x16_t bits = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
  const auto fifth = [&](int half) CAIRN_LAMBDA {
    const uint8x16_t spread = vqtbl1q_u8(vreinterpretq_u8_u32(word), vld1q_u8(kBytes + 16 * half));
    return VU8{vandq_u8(vtstq_u8(spread, bits), vdupq_n_u8(16))};
  };
  return {hn::Or(codes.half[0], fifth(0)), hn::Or(codes.half[1], fifth(1))};
}

template <int kStride, class Lanes>
HWY_INLINE StepCodes LoadHalfNibbles(const uint8_t* first) {
  const VU8 pairs = hn::LoadU(DU8(), first + Lanes::Group(0) / 2 * kStride + Lanes::Group(0) % 2 * 16);
  const uint64x2_t low = vreinterpretq_u64_u8(BitField<0, 15>(pairs).raw);
  const uint64x2_t high = vreinterpretq_u64_u8(BitField<4, 15>(pairs).raw);
  return {VU8{vreinterpretq_u8_u64(vzip1q_u64(low, high))}, VU8{vreinterpretq_u8_u64(vzip2q_u64(low, high))}};
}

// table[codes], codes in [0, 15]; the table has 16 bytes.
HWY_INLINE StepCodes LookUp(const int8_t* table, const StepCodes& codes) {
  const uint8x16_t entries = vld1q_u8(reinterpret_cast<const uint8_t*>(table));
  return {VU8{vqtbl1q_u8(entries, codes.half[0].raw)}, VU8{vqtbl1q_u8(entries, codes.half[1].raw)}};
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
