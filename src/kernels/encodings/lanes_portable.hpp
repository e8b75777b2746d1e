// Codes of a step in plain loops over a group, for the compiler to vectorise; included by lanes.hpp.
#pragma once

namespace cairn::kernels::CAIRN_TARGET {

struct StepCodes {
  uint8_t code[kGroupSize];
};
constexpr int kStepCodes = kGroupSize;
using PlainCodes = StepCodes;  // as grid_portable.hpp fills them

HWY_INLINE StepCodes Or(const StepCodes& a, const StepCodes& b) {
  StepCodes out;
  for (int i = 0; i < kGroupSize; ++i) out.code[i] = a.code[i] | b.code[i];
  return out;
}

// See lanes_x86.hpp for what these read.
template <class Field, class Lanes>
HWY_INLINE StepCodes LoadField(const uint8_t* block) {
  constexpr int kShift = Field::Shift(Lanes::Group(0));
  const uint8_t* p = block + Field::Offset(Lanes::Group(0));
  StepCodes out;
  for (int i = 0; i < kGroupSize; ++i) {
    out.code[i] = static_cast<uint8_t>(
        (kShift < 0 ? p[i] << (kShift < 0 ? -kShift : 0) : p[i] >> (kShift < 0 ? 0 : kShift)) & Field::kMask);
  }
  return out;
}

template <int kStride, class Lanes>
HWY_INLINE StepCodes LoadNibbles(const uint8_t* first) {
  const uint8_t* p = first + Lanes::Group(0) * kStride;
  StepCodes out;
  for (int i = 0; i < 16; ++i) out.code[i] = p[i] & 15;
  for (int i = 0; i < 16; ++i) out.code[16 + i] = p[i] >> 4;
  return out;
}

template <int kStride, class Lanes>
HWY_INLINE StepCodes LoadGroups(const uint8_t* first) {
  StepCodes out;
  __builtin_memcpy(out.code, first + Lanes::Group(0) * kStride, kGroupSize);
  return out;
}

template <int kStride, class Lanes>
HWY_INLINE StepCodes AddFifthBits(StepCodes codes, const uint8_t* first) {
  // A byte of bits spread over eight bytes: bit i stays in byte i, and an addition carries it to the byte's
  // top.
  for (int i = 0; i < 4; ++i) {
    const uint64_t byte = first[Lanes::Group(0) * kStride + i];
    const uint64_t bits = byte * 0x0101010101010101 & 0x8040201008040201;
    const uint64_t fifth = (bits + 0x00406070787C7E7F) >> 3 & 0x1010101010101010;
    uint64_t eight;
    __builtin_memcpy(&eight, codes.code + 8 * i, 8);
    eight |= fifth;
    __builtin_memcpy(codes.code + 8 * i, &eight, 8);
  }
  return codes;
}

template <int kStride, class Lanes>
HWY_INLINE StepCodes LoadHalfNibbles(const uint8_t* first) {
  const uint8_t* p = first + Lanes::Group(0) / 2 * kStride + Lanes::Group(0) % 2 * 16;
  StepCodes out;
  for (int i = 0; i < kGroupSize; ++i)
    out.code[i] = static_cast<uint8_t>(p[i / 16 * 8 + i % 8] >> i % 16 / 8 * 4 & 15);
  return out;
}

HWY_INLINE StepCodes LookUp(const int8_t* table, StepCodes codes) {
  for (uint8_t& code : codes.code) code = static_cast<uint8_t>(table[code]);
  return codes;
}

}  // namespace cairn::kernels::CAIRN_TARGET
