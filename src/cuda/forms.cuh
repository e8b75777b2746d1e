// The form that matrices of most encodings have on a GPU: for each 16 rows, records of 128 or 256 columns one
// behind the other. A record holds its codes as the lanes of a warp want them for mma.sync (mma.cuh): of a
// group of 32 columns lane 4 · r + t has columns 4t … 4t + 3 and 16 + 4t … of rows r and r + 8; then scales.
//
// A lane's codes, [row, row + 8][group]: of 4 bits a word, low nibbles the first four columns, high ones
// those 16 further (encodings with a table: nibbles in the order of columns); of 8 bits two words; of 2 bits
// for two groups a word, whose byte c has columns 4t + c and 16 + 4t + c of the first, then of the second.
// Further bits of codes likewise: of one bit a word for four groups, of two for two.
#pragma once

#include "cuda/mma.cuh"
#include "cuda/raw.cuh"

namespace cairn::cuda {

enum class ScaleForm {
  half,        // f16 for each 32
  half_min,    // … and an offset
  bytes,       // d f16 for each 256 times a byte, less 128, for each 32
  bytes16,     // … for each 16
  bytes_min,   // d, dmin f16 for each 256 times a byte each for each 32
  nibbles_min  // … times a nibble each for each 16
};

constexpr int scale_bytes(ScaleForm form) {  // of a row in a record
  switch (form) {
    case ScaleForm::half:
      return 8;
    case ScaleForm::half_min:
      return 16;
    case ScaleForm::bytes:
      return 8 + 2;
    case ScaleForm::bytes16:
      return 16 + 2;
    default:
      return 16 + 4;
  }
}

// A byte of a word as a float, less `zero`.
template <int kByte>
__device__ __forceinline__ float byte_of(uint32_t word, float zero = 0) {
  return __uint_as_float(__byte_perm(word, 0x4B000000, 0x7540 | kByte)) - (8388608.0f + zero);
}

template <Encoding kOf, int kWide, int kMore, int kZeroCode, bool kTableOf, ScaleForm kScale>
struct Packed {
  static constexpr Encoding kEncoding = kOf;
  static constexpr ScaleForm kScales = kScale;
  static constexpr int kBits = kWide, kMoreBits = kMore, kZero = kZeroCode;
  static constexpr bool kTable = kTableOf;
  static constexpr bool kSigned = kTable || kWide == 8;  // codes as mma reads them
  static constexpr int kGroups = kScale == ScaleForm::half || kScale == ScaleForm::half_min ? 4 : 8;
  static constexpr int kSubscales = kScale == ScaleForm::bytes16 || kScale == ScaleForm::nibbles_min ? 2 : 1;
  static constexpr bool kOffset =
      kScale == ScaleForm::half_min || kScale == ScaleForm::bytes_min || kScale == ScaleForm::nibbles_min;
  static constexpr int kWords = 2 * kGroups * kWide / 4, kMoreWords = 2 * kGroups * kMore / 4;  // of a lane
  static constexpr int kMoreAt = kWords * 128, kScalesAt = kMoreAt + kMoreWords * 128;
  static constexpr int kRecord = kScalesAt + 16 * scale_bytes(kScale);
  static constexpr int kColumns = kGroups * 32;

  uint32_t words[kWords];
  uint32_t more[kMoreWords == 0 ? 1 : kMoreWords];
  uint32_t scales[2][kScale == ScaleForm::half || kScale == ScaleForm::bytes ? 2 : 4];
  uint32_t wide[2];  // d (and dmin) of both rows

  template <bool kShared, class T>
  static __device__ __forceinline__ T read(const T* p) {
    if constexpr (kShared)
      return *p;
    else
      return load_once(p);
  }
  template <int kCount, bool kShared>
  static __device__ __forceinline__ void section(const uint8_t* p, uint32_t lane, uint32_t* out) {
    if constexpr (kCount % 4 == 0) {
#pragma unroll
      for (int i = 0; i < kCount / 4; ++i) {
        const uint4 v = read<kShared>(reinterpret_cast<const uint4*>(p) + i * 32 + lane);
        out[4 * i] = v.x, out[4 * i + 1] = v.y, out[4 * i + 2] = v.z, out[4 * i + 3] = v.w;
      }
    } else {
      static_assert(kCount == 2);
      const uint2 v = read<kShared>(reinterpret_cast<const uint2*>(p) + lane);
      out[0] = v.x, out[1] = v.y;
    }
  }

  template <bool kShared = false>
  __device__ __forceinline__ void load(const uint8_t* record, uint32_t lane) {
    section<kWords, kShared>(record, lane, words);
    if constexpr (kMoreWords > 0) section<kMoreWords, kShared>(record + kMoreAt, lane, more);
    const uint8_t* p = record + kScalesAt;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t row = lane / 4 + 8 * half;
      if constexpr (kScale == ScaleForm::half || kScale == ScaleForm::bytes) {
        const uint2 v = read<kShared>(reinterpret_cast<const uint2*>(p) + row);
        scales[half][0] = v.x, scales[half][1] = v.y;
      } else {
        const uint4 v = read<kShared>(reinterpret_cast<const uint4*>(p) + row);
        scales[half][0] = v.x, scales[half][1] = v.y, scales[half][2] = v.z, scales[half][3] = v.w;
      }
      if constexpr (kScale == ScaleForm::bytes || kScale == ScaleForm::bytes16) {
        const int at = 16 * (kScale == ScaleForm::bytes ? 8 : 16);
        wide[half] = *(reinterpret_cast<const uint16_t*>(p + at) + row);
      } else if constexpr (kScale == ScaleForm::bytes_min || kScale == ScaleForm::nibbles_min) {
        wide[half] = read<kShared>(reinterpret_cast<const uint32_t*>(p + 256) + row);
      }
    }
  }

  // Four codes by their nibbles' places in the lower half of a word.
  static __device__ __forceinline__ uint32_t look_up(uint32_t nibbles) {
    const uint32_t index = nibbles & 0x7777;
    const uint32_t low = __byte_perm(0xBFAD9881, 0xF6EADDCF, index);
    const uint32_t high = __byte_perm(0x26190D01, 0x71594535, index);
    return __byte_perm(low, high, (nibbles >> 1 & 0x4444) | 0x3210);
  }

  // A group's codes: A of mma_bytes.
  __device__ __forceinline__ void codes(int g, uint32_t (&a)[4]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if constexpr (kWide == 8) {
        a[half] = words[2 * (half * kGroups + g)];
        a[half + 2] = words[2 * (half * kGroups + g) + 1];
      } else if constexpr (kWide == 4) {
        const uint32_t word = words[half * kGroups + g];
        if constexpr (kTable) {
          a[half] = look_up(word);
          a[half + 2] = look_up(word >> 16);
        } else {
          a[half] = word & 0x0F0F0F0F;
          a[half + 2] = word >> 4 & 0x0F0F0F0F;
        }
      } else {
        static_assert(kWide == 2);
        const uint32_t word = words[half * (kGroups / 2) + g / 2] >> (g % 2 * 4);
        a[half] = word & 0x03030303;
        a[half + 2] = word >> 2 & 0x03030303;
      }
      if constexpr (kMore == 1) {
        const uint32_t word = more[half * (kGroups / 4) + g / 4];
        constexpr uint32_t kMask = 0x01010101u << kWide;
        const int at = g % 4 * 2;
        a[half] |= (at < kWide ? word << (kWide - at) : word >> (at - kWide)) & kMask;
        a[half + 2] |= (at + 1 < kWide ? word << (kWide - at - 1) : word >> (at + 1 - kWide)) & kMask;
      } else if constexpr (kMore == 2) {
        static_assert(kWide == 4);
        const uint32_t word = more[half * (kGroups / 2) + g / 2];
        a[half] |= (g % 2 == 0 ? word << 4 : word) & 0x30303030;
        a[half + 2] |= (g % 2 == 0 ? word << 2 : word >> 2) & 0x30303030;
      }
    }
  }

  // (scale, offset) of row + 8 · half in a group; sub: of its first or last 16 columns.
  template <int kGroupAt, int kSub>
  __device__ __forceinline__ float2 scale(int half) const {
    const auto f16 = [](uint32_t word, int upper) { return half_bits(upper ? word >> 16 : word & 0xFFFF); };
    if constexpr (kScale == ScaleForm::half || kScale == ScaleForm::half_min) {
      const float s = f16(scales[half][kGroupAt / 2], kGroupAt % 2);
      if constexpr (kOffset) return {s, f16(scales[half][2 + kGroupAt / 2], kGroupAt % 2)};
      return {s, 0};
    } else if constexpr (kScale == ScaleForm::bytes) {
      return {f16(wide[half], 0) * byte_of<kGroupAt % 4>(scales[half][kGroupAt / 4], 128), 0};
    } else if constexpr (kScale == ScaleForm::bytes16) {
      constexpr int kAt = 2 * kGroupAt + kSub;
      return {f16(wide[half], 0) * byte_of<kAt % 4>(scales[half][kAt / 4], 128), 0};
    } else if constexpr (kScale == ScaleForm::bytes_min) {
      constexpr int kAt = 2 * kGroupAt;
      const uint32_t word = scales[half][kAt / 4];
      return {f16(wide[half], 0) * byte_of<kAt % 4>(word), -f16(wide[half], 1) * byte_of<kAt % 4 + 1>(word)};
    } else {
      constexpr int kAt = 2 * kGroupAt + kSub;
      const uint32_t word = scales[half][kAt / 4];
      return {f16(wide[half], 0) * byte_of<kAt % 4>(word & 0x0F0F0F0F),
              -f16(wide[half], 1) * byte_of<kAt % 4>(word >> 4 & 0x0F0F0F0F)};
    }
  }
};

template <Encoding>
struct FormOf;  // of those that have one
#define CAIRN_FORM(encoding, ...)                         \
  template <>                                             \
  struct FormOf<Encoding::encoding> {                     \
    using Type = Packed<Encoding::encoding, __VA_ARGS__>; \
  };
CAIRN_FORM(q4_0, 4, 0, 8, false, ScaleForm::half)
CAIRN_FORM(q4_1, 4, 0, 0, false, ScaleForm::half_min)
CAIRN_FORM(q5_0, 4, 1, 16, false, ScaleForm::half)
CAIRN_FORM(q5_1, 4, 1, 0, false, ScaleForm::half_min)
CAIRN_FORM(q8_0, 8, 0, 0, false, ScaleForm::half)
CAIRN_FORM(q2_k, 2, 0, 0, false, ScaleForm::nibbles_min)
CAIRN_FORM(q3_k, 2, 1, 4, false, ScaleForm::bytes16)
CAIRN_FORM(q4_k, 4, 0, 0, false, ScaleForm::bytes_min)
CAIRN_FORM(q5_k, 4, 1, 0, false, ScaleForm::bytes_min)
CAIRN_FORM(q6_k, 4, 2, 32, false, ScaleForm::bytes16)
CAIRN_FORM(iq4_nl, 4, 0, 0, true, ScaleForm::half)
CAIRN_FORM(iq4_xs, 4, 0, 0, true, ScaleForm::bytes)
#undef CAIRN_FORM
#define CAIRN_FOR_EACH_FORM(X) \
  X(q4_0) X(q4_1) X(q5_0) X(q5_1) X(q8_0) X(q2_k) X(q3_k) X(q4_k) X(q5_k) X(q6_k) X(iq4_nl) X(iq4_xs)
// What has none and is kept as the file has it.
#define CAIRN_FOR_EACH_RAW(X) \
  X(iq2_xxs)                  \
  X(iq2_xs) X(iq3_xxs) X(iq1_s) X(iq3_s) X(iq2_s) X(iq1_m) X(tq1_0) X(tq2_0) X(mxfp4) X(nvfp4) X(q1_0)

}  // namespace cairn::cuda
