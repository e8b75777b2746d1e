// Encodings as files have them, a number at a time: w = scale · code + offset. What repacks matrices and what
// has no form of its own reads blocks by these; kernels/encodings/ describes the bytes.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "cuda/raw_bytes.hpp"
#include "formats/encoding.hpp"

namespace cairn::cuda {

__device__ __forceinline__ uint32_t u16_at(const uint8_t* p) { return p[0] | p[1] << 8; }
__device__ __forceinline__ uint32_t u32_at(const uint8_t* p) { return u16_at(p) | u16_at(p + 2) << 16; }
__device__ __forceinline__ float half_bits(uint32_t bits) {
  return __half2float(__ushort_as_half(static_cast<uint16_t>(bits)));
}
__device__ __forceinline__ float half_at(const uint8_t* p) { return half_bits(u16_at(p)); }
__device__ __forceinline__ int nibble(const uint8_t* p, int i) { return p[i % 16] >> (i / 16 * 4) & 15; }
__device__ __forceinline__ int signed_by(int value, uint32_t sign) { return sign & 1 ? -value : value; }
// Seven signs, and the eighth that makes their number even.
__device__ __forceinline__ uint32_t eight_signs(uint32_t seven) {
  seven &= 127;
  return seven | (__popc(seven) & 1) << 7;
}

__device__ __forceinline__ int non_linear_4(int code) {
  constexpr int8_t kTable[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  return kTable[code];
}
__device__ __forceinline__ int e2m1_doubled(int code) {
  constexpr int8_t kTable[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  return kTable[code];
}

// The scale and min of 6 bits of Q4_K and Q5_K.
__device__ __forceinline__ int k_scale(const uint8_t* p, int j) {
  return j < 4 ? p[j] & 63 : (p[j + 4] & 15) | (p[j - 4] >> 6) << 4;
}
__device__ __forceinline__ int k_min(const uint8_t* p, int j) {
  return j < 4 ? p[j + 4] & 63 : p[j + 4] >> 4 | (p[j] >> 6) << 4;
}
// Q3_K's scale of 6 bits, less 32.
__device__ __forceinline__ int q3_scale(const uint8_t* p, int j) {
  const int low = p[96 + j % 8] >> (j / 8 * 4) & 15, high = p[104 + j % 4] >> (j / 4 * 2) & 3;
  return (low | high << 4) - 32;
}
__device__ __forceinline__ int iq4_xs_scale(const uint8_t* p, int j) {
  const int low = p[4 + j / 2] >> (j % 2 * 4) & 15, high = u16_at(p + 2) >> (2 * j) & 3;
  return (low | high << 4) - 32;
}

template <Encoding>
struct Raw;

#define CAIRN_RAW(encoding, elements, bytes)         \
  template <>                                        \
  struct Raw<Encoding::encoding> {                   \
    static constexpr int kElements = elements, kBytes = bytes;
#define CAIRN_CODE static __device__ __forceinline__ int code(const uint8_t* p, int i, const uint8_t* grids)
#define CAIRN_SCALE static __device__ __forceinline__ float2 scale(const uint8_t* p, int i)

CAIRN_RAW(q4_0, 32, 18)
  CAIRN_CODE { return nibble(p + 2, i) - 8; }
  CAIRN_SCALE { return {half_at(p), 0}; }
};
CAIRN_RAW(q4_1, 32, 20)
  CAIRN_CODE { return nibble(p + 4, i); }
  CAIRN_SCALE { return {half_at(p), half_at(p + 2)}; }
};
CAIRN_RAW(q5_0, 32, 22)
  CAIRN_CODE { return (nibble(p + 6, i) | (u32_at(p + 2) >> i & 1) << 4) - 16; }
  CAIRN_SCALE { return {half_at(p), 0}; }
};
CAIRN_RAW(q5_1, 32, 24)
  CAIRN_CODE { return nibble(p + 8, i) | (u32_at(p + 4) >> i & 1) << 4; }
  CAIRN_SCALE { return {half_at(p), half_at(p + 2)}; }
};
CAIRN_RAW(q8_0, 32, 34)
  CAIRN_CODE { return static_cast<int8_t>(p[2 + i]); }
  CAIRN_SCALE { return {half_at(p), 0}; }
};
CAIRN_RAW(q2_k, 256, 84)
  CAIRN_CODE { return p[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }
  CAIRN_SCALE {
    const int both = p[i / 16];
    return {half_at(p + 80) * static_cast<float>(both & 15), -half_at(p + 82) * static_cast<float>(both >> 4)};
  }
};
CAIRN_RAW(q3_k, 256, 110)
  CAIRN_CODE {
    const int low = p[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    return (low | (p[i % 32] >> (i / 32) & 1) << 2) - 4;
  }
  CAIRN_SCALE { return {half_at(p + 108) * static_cast<float>(q3_scale(p, i / 16)), 0}; }
};
CAIRN_RAW(q4_k, 256, 144)
  CAIRN_CODE { return p[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15; }
  CAIRN_SCALE {
    const int j = i / 32;
    return {half_at(p) * static_cast<float>(k_scale(p + 4, j)), -half_at(p + 2) * static_cast<float>(k_min(p + 4, j))};
  }
};
CAIRN_RAW(q5_k, 256, 176)
  CAIRN_CODE {
    const int low = p[48 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
    return low | (p[16 + i % 32] >> (i / 32) & 1) << 4;
  }
  CAIRN_SCALE { return Raw<Encoding::q4_k>::scale(p, i); }
};
CAIRN_RAW(q6_k, 256, 210)
  CAIRN_CODE {
    const int low = p[i / 128 * 64 + i % 64] >> (i % 128 / 64 * 4) & 15;
    const int high = p[128 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    return (low | high << 4) - 32;
  }
  CAIRN_SCALE { return {half_at(p + 208) * static_cast<float>(static_cast<int8_t>(p[192 + i / 16])), 0}; }
};
CAIRN_RAW(iq4_nl, 32, 18)
  CAIRN_CODE { return non_linear_4(nibble(p + 2, i)); }
  CAIRN_SCALE { return {half_at(p), 0}; }
};
CAIRN_RAW(iq4_xs, 256, 136)
  CAIRN_CODE { return non_linear_4(nibble(p + 8 + i / 32 * 16, i % 32)); }
  CAIRN_SCALE { return {half_at(p) * static_cast<float>(iq4_xs_scale(p, i / 32)), 0}; }
};
CAIRN_RAW(mxfp4, 32, 17)
  CAIRN_CODE { return e2m1_doubled(nibble(p + 1, i)); }
  CAIRN_SCALE {
    const int e = p[0];  // exponents 0 and 1 give subnormals
    return {__int_as_float(e < 2 ? (e + 1) << 21 : (e - 1) << 23), 0};
  }
};
CAIRN_RAW(nvfp4, 64, 36)
  CAIRN_CODE { return e2m1_doubled(p[4 + i / 16 * 8 + i % 8] >> (i % 16 / 8 * 4) & 15); }
  CAIRN_SCALE {
    const int e = p[i / 16];  // an f16 whose exponent has 8 more; 0x7F is no number and stands for 0
    return {e == 0x7F ? 0.0f : half_bits((e & 0x7F) << 7) * 128, 0};
  }
};
CAIRN_RAW(q1_0, 128, 18)
  CAIRN_CODE { return p[2 + i / 8] >> (i % 8) & 1 ? 1 : -1; }
  CAIRN_SCALE { return {half_at(p), 0}; }
};
CAIRN_RAW(tq2_0, 256, 66)
  CAIRN_CODE { return (p[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) - 1; }
  CAIRN_SCALE { return {half_at(p + 64), 0}; }
};
CAIRN_RAW(tq1_0, 256, 54)
  CAIRN_CODE {
    const int at = i < 160 ? i % 32 : i < 240 ? 32 + i % 16 : 48 + i % 4;
    const int digit = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
    constexpr uint8_t kPower[5] = {1, 3, 9, 27, 81};
    return ((p[at] * kPower[digit] & 255) * 3 >> 8) - 1;
  }
  CAIRN_SCALE { return {half_at(p + 52), 0}; }
};
CAIRN_RAW(iq2_xxs, 256, 66)
  CAIRN_CODE {
    const uint8_t* q = p + 2 + i / 32 * 8;
    const int eight = i % 32 / 8;
    return signed_by(grids[raw_bytes::kIq2Xxs + q[eight] * 8 + i % 8],
                     eight_signs(u32_at(q + 4) >> (7 * eight)) >> (i % 8));
  }
  CAIRN_SCALE {
    return {half_at(p) * 0.125f * static_cast<float>(2 * (p[2 + i / 32 * 8 + 7] >> 4) + 1), 0};
  }
};
CAIRN_RAW(iq2_xs, 256, 74)
  CAIRN_CODE {
    const uint32_t q = u16_at(p + 2 + i / 8 * 2);
    return signed_by(grids[raw_bytes::kIq2Xs + (q & 511) * 8 + i % 8], eight_signs(q >> 9) >> (i % 8));
  }
  CAIRN_SCALE {
    return {half_at(p) * 0.125f * static_cast<float>(2 * (p[66 + i / 32] >> (i / 16 % 2 * 4) & 15) + 1), 0};
  }
};
CAIRN_RAW(iq2_s, 256, 82)
  CAIRN_CODE {
    const int eight = i / 8, index = p[2 + eight] | (p[66 + eight / 4] >> (eight % 4 * 2) & 3) << 8;
    return signed_by(grids[raw_bytes::kIq2S + index * 8 + i % 8], p[34 + eight] >> (i % 8));
  }
  CAIRN_SCALE {
    return {half_at(p) * 0.125f * static_cast<float>(2 * (p[74 + i / 32] >> (i / 16 % 2 * 4) & 15) + 1), 0};
  }
};
CAIRN_RAW(iq3_xxs, 256, 98)
  CAIRN_CODE {
    const uint32_t word = u32_at(p + 66 + i / 32 * 4);
    return signed_by(grids[raw_bytes::kIq3Xxs + p[2 + i / 4] * 4 + i % 4],
                     eight_signs(word >> (7 * (i % 32 / 8))) >> (i % 8));
  }
  CAIRN_SCALE {
    return {half_at(p) * 0.25f * static_cast<float>(2 * (p[66 + i / 32 * 4 + 3] >> 4) + 1), 0};
  }
};
CAIRN_RAW(iq3_s, 256, 110)
  CAIRN_CODE {
    const int four = i / 4, index = p[2 + four] | (p[66 + four / 8] >> (four % 8) & 1) << 8;
    return signed_by(grids[raw_bytes::kIq3S + index * 4 + i % 4], p[74 + i / 8] >> (i % 8));
  }
  CAIRN_SCALE {
    return {half_at(p) * static_cast<float>(2 * (p[106 + i / 64] >> (i / 32 % 2 * 4) & 15) + 1), 0};
  }
};
CAIRN_RAW(iq1_s, 256, 50)
  CAIRN_CODE {
    const uint32_t word = u16_at(p + 34 + i / 32 * 2);
    const int eight = i / 8, index = p[2 + eight] | (word >> (eight % 4 * 3) & 7) << 8;
    return grids[raw_bytes::kIq1 + index * 8 + i % 8] - 16 + (word & 0x8000 ? -1 : 1);
  }
  CAIRN_SCALE {
    const uint32_t word = u16_at(p + 34 + i / 32 * 2);
    return {half_at(p) * 0.125f * static_cast<float>(2 * (word >> 12 & 7) + 1), 0};
  }
};
CAIRN_RAW(iq1_m, 256, 56)
  CAIRN_CODE {
    const int eight = i / 8, both = p[32 + eight / 2] >> (eight % 2 * 4);
    const int index = p[eight] | (both & 7) << 8;
    return grids[raw_bytes::kIq1 + index * 8 + i % 8] - 16 + (both & 8 ? -1 : 1);
  }
  CAIRN_SCALE {
    uint32_t d = 0;
    for (int j = 0; j < 4; ++j) d |= (u16_at(p + 48 + 2 * j) >> 12) << (4 * j);
    const int j = i / 16;
    return {half_bits(d) * 0.125f * static_cast<float>(2 * (u16_at(p + 48 + j / 4 * 2) >> (j % 4 * 3) & 7) + 1), 0};
  }
};
#undef CAIRN_RAW
#undef CAIRN_CODE
#undef CAIRN_SCALE

// Calls f with the Encoding of a number that find_encoding knows, as a constant; of blocks alone.
#define CAIRN_FOR_EACH_BLOCKS(X)                                                                              \
  X(q4_0) X(q4_1) X(q5_0) X(q5_1) X(q8_0) X(q2_k) X(q3_k) X(q4_k) X(q5_k) X(q6_k) X(iq2_xxs) X(iq2_xs)        \
  X(iq3_xxs) X(iq1_s) X(iq4_nl) X(iq3_s) X(iq2_s) X(iq4_xs) X(iq1_m) X(tq1_0) X(tq2_0) X(mxfp4) X(nvfp4) X(q1_0)

}  // namespace cairn::cuda
