// Codes of a step in plain loops over a group, for the compiler to vectorise; included by lanes.hpp.
#pragma once

namespace cairn::kernels::CAIRN_TARGET {

struct StepCodes {
  uint8_t code[kGroupSize];
};
constexpr int kStepCodes = kGroupSize;

inline StepCodes Or(const StepCodes& a, const StepCodes& b) {
  StepCodes out;
  for (int i = 0; i < kGroupSize; ++i) out.code[i] = a.code[i] | b.code[i];
  return out;
}

// See lanes_x86.hpp for what these read.
template <class Field, int kStep>
inline StepCodes LoadField(const uint8_t* block) {
  constexpr int kShift = Field::Shift(kStep);
  const uint8_t* p = block + Field::Offset(kStep);
  StepCodes out;
  for (int i = 0; i < kGroupSize; ++i) {
    out.code[i] = static_cast<uint8_t>(
        (kShift < 0 ? p[i] << (kShift < 0 ? -kShift : 0) : p[i] >> (kShift < 0 ? 0 : kShift)) & Field::kMask);
  }
  return out;
}

template <int kStride, int kStep, int>
inline StepCodes LoadNibbles(const uint8_t* first) {
  const uint8_t* p = first + kStep * kStride;
  StepCodes out;
  for (int i = 0; i < 16; ++i) out.code[i] = p[i] & 15;
  for (int i = 0; i < 16; ++i) out.code[16 + i] = p[i] >> 4;
  return out;
}

template <int kStride, int kStep, int>
inline StepCodes LoadGroups(const uint8_t* first) {
  StepCodes out;
  __builtin_memcpy(out.code, first + kStep * kStride, kGroupSize);
  return out;
}

template <int kStride, int kStep, int>
inline StepCodes AddFifthBits(StepCodes codes, const uint8_t* first) {
  const uint8_t* p = first + kStep * kStride;
  for (int i = 0; i < kGroupSize; ++i) codes.code[i] |= static_cast<uint8_t>((p[i / 8] >> i % 8 & 1) << 4);
  return codes;
}

inline StepCodes LookUp(const int8_t* table, StepCodes codes) {
  for (uint8_t& code : codes.code) code = static_cast<uint8_t>(table[code]);
  return codes;
}

}  // namespace cairn::kernels::CAIRN_TARGET
