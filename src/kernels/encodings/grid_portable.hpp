// Parts of the IQ encodings in plain loops, for ARM64 too; included by grid.hpp. See grid_x86.hpp for what
// these are.
#pragma once

namespace cairn::kernels::CAIRN_TARGET {

struct EightBytes {
  uint8_t byte[32];
};
struct GroupWords {
  uint32_t word[kChunkGroups];
};

HWY_INLINE EightBytes LoadEightBytes(const uint8_t* p, const uint8_t* q) {
  EightBytes out;
  __builtin_memcpy(out.byte, p, 16);
  __builtin_memcpy(out.byte + 16, q, 16);
  return out;
}
HWY_INLINE EightBytes LoadEightBytes(const uint8_t* p) {
  return LoadEightBytes(p, p + 16);
}

template <int kStride>
HWY_INLINE GroupWords LoadWords(const uint8_t* p) {
  GroupWords out;
  for (int g = 0; g < kChunkGroups; ++g) out.word[g] = LoadScalar<uint32_t>(p + (g + 1) * kStride - 4);
  return out;
}

HWY_INLINE void ScaleWords(const GroupWords& words, float step, float* HWY_RESTRICT out) {
  for (int g = 0; g < kChunkGroups; ++g) out[g] = step * static_cast<float>(2 * (words.word[g] >> 28) + 1);
}

HWY_INLINE uint8_t WithParity(uint32_t seven) {
  constexpr uint32_t kParityOf4 = 0x6996;
  seven &= 0x7F;
  return static_cast<uint8_t>(seven | (kParityOf4 >> ((seven ^ seven >> 4) & 15) & 1) << 7);
}

HWY_INLINE EightBytes SignsOfWords(const GroupWords& words) {
  EightBytes out;
  for (int i = 0; i < 32; ++i) out.byte[i] = WithParity(words.word[i / 4] >> 7 * (i % 4));
  return out;
}

HWY_INLINE EightBytes SignsOfShorts(const uint8_t* p) {
  EightBytes out;
  for (int i = 0; i < 32; ++i) out.byte[i] = WithParity(LoadScalar<uint16_t>(p + 2 * i) >> 9);
  return out;
}

template <class Bits>
HWY_INLINE EightBytes MinusOrPlusOne(const uint8_t* p) {
  EightBytes out;
  for (int i = 0; i < 32; ++i) out.byte[i] = p[Bits::Byte(i)] & Bits::Mask(i) ? 0xFF : 1;
  return out;
}

template <class T, class Field, int kCount>
HWY_INLINE void JoinIndices(const uint8_t* low, const uint8_t* high, uint16_t (&index)[kCount]) {
  for (int i = 0; i < kCount; ++i) {
    const uint32_t from = LoadScalar<T>(high + i / Field::kEach * static_cast<int>(sizeof(T)));
    const uint32_t field = from >> Field::kStep * (i % Field::kEach) & ((1u << Field::kBits) - 1);
    index[i] = static_cast<uint16_t>(low[i] | field << 8);
  }
}

template <class Lanes>
HWY_INLINE PlainCodes Spread(const EightBytes& v) {
  PlainCodes out;
  for (int i = 0; i < kGroupSize; ++i) out.code[i] = v.byte[4 * Lanes::Group(0) + i / 8];
  return out;
}

template <class Lanes>
HWY_INLINE PlainCodes SpreadBits(const EightBytes& v) {
  PlainCodes out = Spread<Lanes>(v);
  for (int i = 0; i < kGroupSize; ++i) out.code[i] = out.code[i] >> i % 8 & 1 ? 0xFF : 0;
  return out;
}

template <class T, class Lanes, size_t kPoints, size_t kCodes, class At>
HWY_INLINE PlainCodes FromGrid(const Grid<kPoints, kCodes>& grid, const At& at) {
  constexpr int kEach = kGroupSize / kCodes;
  PlainCodes out;
  for (int i = 0; i < kEach; ++i)
    __builtin_memcpy(out.code + i * kCodes,
                     grid.points[LoadScalar<T>(at(kEach * Lanes::Group(0) + i)) & (kPoints - 1)], kCodes);
  return out;
}

template <int kZero>
HWY_INLINE PlainCodes AroundZero(PlainCodes codes, const PlainCodes& negative) {
  for (int i = 0; i < kGroupSize; ++i)
    codes.code[i] = static_cast<uint8_t>((codes.code[i] ^ negative.code[i]) - negative.code[i] + kZero);
  return codes;
}
HWY_INLINE PlainCodes Add(PlainCodes a, const PlainCodes& b) {
  for (int i = 0; i < kGroupSize; ++i) a.code[i] = static_cast<uint8_t>(a.code[i] + b.code[i]);
  return a;
}
HWY_INLINE PlainCodes And(PlainCodes a, uint8_t bits) {
  for (uint8_t& code : a.code) code &= bits;
  return a;
}

}  // namespace cairn::kernels::CAIRN_TARGET
