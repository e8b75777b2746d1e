// Matrices from the file's form into that of the kernels (forms.cuh), on the GPU.
#include "cuda/launch.hpp"
#include "cuda/value.cuh"

namespace cairn::cuda {
namespace {

struct PackArguments {
  const uint8_t* from;  // rows from `first` on
  uint8_t* to;          // of the whole matrix
  uint64_t first, count;
  uint32_t k, records, row_bytes;
};

// What nibbles or bytes a code is kept as.
template <class F>
__device__ uint32_t kept_code(const uint8_t* block, int i) {
  using R = Raw<F::kEncoding>;
  if constexpr (F::kEncoding == Encoding::iq4_nl) {
    return static_cast<uint32_t>(nibble(block + 2, i));
  } else if constexpr (F::kEncoding == Encoding::iq4_xs) {
    return static_cast<uint32_t>(nibble(block + 8 + i / 32 * 16, i % 32));
  } else {
    return static_cast<uint32_t>(R::code(block, i, nullptr) + F::kZero) & 255;
  }
}

template <class F>
__device__ void pack_scales(const uint8_t* row, uint32_t first_column, uint32_t k, uint32_t r, uint8_t* to) {
  using R = Raw<F::kEncoding>;
  uint16_t* halves = reinterpret_cast<uint16_t*>(to);
  if constexpr (F::kScales == ScaleForm::half || F::kScales == ScaleForm::half_min) {
    constexpr uint32_t kEach = F::kScales == ScaleForm::half ? 4 : 8;
    for (uint32_t g = 0; g < 4; ++g) {
      const uint32_t column = first_column + g * kGroup;
      const uint8_t* block = column < k && row != nullptr ? row + column / 32 * R::kBytes : nullptr;
      halves[r * kEach + g] = static_cast<uint16_t>(block == nullptr ? 0 : u16_at(block));
      if constexpr (kEach == 8)
        halves[r * 8 + 4 + g] = static_cast<uint16_t>(block == nullptr ? 0 : u16_at(block + 2));
    }
  } else {
    const uint8_t* p = row == nullptr ? nullptr : row + size_t{first_column / 256} * R::kBytes;
    for (int j = 0; j < 16; ++j) {
      int byte = 0;
      if (F::kScales == ScaleForm::bytes && j >= 8) break;
      if (p != nullptr) {
        if constexpr (F::kEncoding == Encoding::q6_k) byte = static_cast<int8_t>(p[192 + j]) + 128;
        if constexpr (F::kEncoding == Encoding::q3_k) byte = q3_scale(p, j) + 128;
        if constexpr (F::kEncoding == Encoding::iq4_xs) byte = iq4_xs_scale(p, j) + 128;
        if constexpr (F::kEncoding == Encoding::q2_k) byte = p[j];
        if constexpr (F::kScales == ScaleForm::bytes_min)
          byte = j % 2 ? k_min(p + 4, j / 2) : k_scale(p + 4, j / 2);
      }
      to[r * (F::kScales == ScaleForm::bytes ? 8 : 16) + static_cast<uint32_t>(j)] =
          static_cast<uint8_t>(byte);
    }
    constexpr int kWideAt = F::kEncoding == Encoding::q6_k   ? 208
                            : F::kEncoding == Encoding::q3_k ? 108
                            : F::kEncoding == Encoding::q2_k ? 80
                                                             : 0;
    if constexpr (F::kOffset) {
      for (uint32_t i = 0; i < 2; ++i) {
        halves[128 + r * 2 + i] = static_cast<uint16_t>(p == nullptr ? 0 : u16_at(p + kWideAt + 2 * i));
      }
    } else {
      halves[(F::kScales == ScaleForm::bytes ? 64 : 128) + r] =
          static_cast<uint16_t>(p == nullptr ? 0 : u16_at(p + kWideAt));
    }
  }
}

// A thread is a lane of a record.
template <class F>
__global__ void pack_kernel(const __grid_constant__ PackArguments a) {
  using R = Raw<F::kEncoding>;
  const uint32_t lane = threadIdx.x, record = blockIdx.x;
  const uint64_t tile = blockIdx.y;
  uint8_t* to = a.to + ((a.first / kTileRows + tile) * a.records + record) * F::kRecord;
  uint32_t words[F::kWords] = {}, more[F::kMoreWords == 0 ? 1 : F::kMoreWords] = {};
  for (int half = 0; half < 2; ++half) {
    const uint64_t r = tile * kTileRows + lane / 4 + 8u * half;
    if (r >= a.count) continue;
    const uint8_t* row = a.from + r * a.row_bytes;
#pragma unroll
    for (int g = 0; g < F::kGroups; ++g) {
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const uint32_t column = record * F::kColumns + g * 32 + i / 4 * 16 + lane % 4 * 4 + i % 4;
        if (column >= a.k) continue;
        const uint8_t* block = row + size_t{column / R::kElements} * R::kBytes;
        const uint32_t code = kept_code<F>(block, static_cast<int>(column % R::kElements));
        const uint32_t low = code & ((1u << F::kBits) - 1);
        const int byte = i % 4 * 8, upper = i / 4;
        if constexpr (F::kBits == 8) words[2 * (half * F::kGroups + g) + upper] |= low << byte;
        if constexpr (F::kBits == 4) {
          words[half * F::kGroups + g] |= low << (F::kTable ? i * 4 : byte + upper * 4);
        }
        if constexpr (F::kBits == 2) {
          words[half * (F::kGroups / 2) + g / 2] |= low << (byte + g % 2 * 4 + upper * 2);
        }
        if constexpr (F::kMoreBits == 1) {
          more[half * (F::kGroups / 4) + g / 4] |= (code >> F::kBits) << (byte + g % 4 * 2 + upper);
        }
        if constexpr (F::kMoreBits == 2) {
          more[half * (F::kGroups / 2) + g / 2] |= (code >> F::kBits) << (byte + g % 2 * 4 + upper * 2);
        }
      }
    }
  }
  uint32_t* out = reinterpret_cast<uint32_t*>(to);
#pragma unroll
  for (int i = 0; i < F::kWords; ++i) out[(i / 4 * 32 + lane) * 4 + i % 4] = words[i];
  constexpr uint32_t kEach = F::kMoreWords % 4 == 0 ? 4 : 2;
#pragma unroll
  for (int i = 0; i < F::kMoreWords; ++i)
    out[F::kMoreAt / 4 + (i / kEach * 32 + lane) * kEach + i % kEach] = more[i];
  if (lane < kTileRows) {
    const uint64_t r = tile * kTileRows + lane;
    pack_scales<F>(r < a.count ? a.from + r * a.row_bytes : nullptr, record * F::kColumns, a.k, lane,
                   to + F::kScalesAt);
  }
}

// f16 and bf16: of each 16 columns lane 4 · r + t has four words: columns 2t, + 1 of rows r and r + 8, then
// those 8 further.
__global__ void pack_halves_kernel(const __grid_constant__ PackArguments a) {
  const uint32_t lane = threadIdx.x % 32, step = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  const uint64_t tile = blockIdx.y;
  if (step >= a.records) return;
  uint32_t words[4];
#pragma unroll
  for (uint32_t i = 0; i < 4; ++i) {
    const uint64_t r = tile * kTileRows + lane / 4 + i % 2 * 8;
    const uint32_t column = step * 16 + i / 2 * 8 + lane % 4 * 2;
    const uint8_t* p = a.from + r * a.row_bytes + 2 * column;
    words[i] = r >= a.count || column >= a.k ? 0 : u16_at(p) | (column + 1 < a.k ? u16_at(p + 2) << 16 : 0);
  }
  reinterpret_cast<uint4*>(a.to)[((a.first / kTileRows + tile) * a.records + step) * 32 + lane] = {
      words[0], words[1], words[2], words[3]};
}

template <class F>
uint64_t packed_bytes(uint64_t rows, uint64_t k) {
  return (rows + 15) / 16 * ((k + F::kColumns - 1) / F::kColumns) * F::kRecord;
}

}  // namespace

bool has_form(uint32_t encoding) {
  switch (static_cast<Encoding>(encoding)) {
#define CAIRN_CASE(name) case Encoding::name:
    CAIRN_FOR_EACH_FORM(CAIRN_CASE)
#undef CAIRN_CASE
    return true;
    default:
      return false;
  }
}

bool is_float(uint32_t encoding) {
  return encoding == static_cast<uint32_t>(Encoding::f16) ||
         encoding == static_cast<uint32_t>(Encoding::bf16);
}

uint64_t file_row_bytes(uint32_t encoding, uint64_t k) {
  switch (static_cast<Encoding>(encoding)) {
    case Encoding::f32:
      return 4 * k;
    case Encoding::f16:
    case Encoding::bf16:
      return 2 * k;
#define CAIRN_CASE(name)                           \
  case Encoding::name:                             \
    return k % Raw<Encoding::name>::kElements != 0 \
               ? 0                                 \
               : k / Raw<Encoding::name>::kElements * Raw<Encoding::name>::kBytes;
      CAIRN_FOR_EACH_BLOCKS(CAIRN_CASE)
#undef CAIRN_CASE
  }
  return 0;
}

uint64_t matrix_bytes(uint32_t encoding, uint64_t rows, uint64_t k) {
  const uint64_t row = file_row_bytes(encoding, k);
  if (row == 0 || rows == 0) return 0;
  if (is_float(encoding)) return (rows + 15) / 16 * ((k + 15) / 16) * 512;
  switch (static_cast<Encoding>(encoding)) {
#define CAIRN_CASE(name) \
  case Encoding::name:   \
    return packed_bytes<FormOf<Encoding::name>::Type>(rows, k);
    CAIRN_FOR_EACH_FORM(CAIRN_CASE)
#undef CAIRN_CASE
    default:
      return rows * row;
  }
}

void launch_pack(Stream& stream, uint32_t encoding, uint64_t first, uint64_t count, uint64_t k,
                 const uint8_t* from, uint8_t* to) {
  PackArguments a{from,
                  to,
                  first,
                  count,
                  static_cast<uint32_t>(k),
                  0,
                  static_cast<uint32_t>(file_row_bytes(encoding, k))};
  const auto tiles = static_cast<uint32_t>((count + 15) / 16);
  if (is_float(encoding)) {
    a.records = static_cast<uint32_t>((k + 15) / 16);
    stream.launch(pack_halves_kernel, dim3((a.records + 3) / 4, tiles), 128, 0, a);
    return;
  }
  switch (static_cast<Encoding>(encoding)) {
#define CAIRN_CASE(name)                                                    \
  case Encoding::name: {                                                    \
    using F = FormOf<Encoding::name>::Type;                                 \
    a.records = static_cast<uint32_t>((k + F::kColumns - 1) / F::kColumns); \
    stream.launch(pack_kernel<F>, dim3(a.records, tiles), 32, 0, a);        \
    return;                                                                 \
  }
    CAIRN_FOR_EACH_FORM(CAIRN_CASE)
#undef CAIRN_CASE
    default:
      return;
  }
}

}  // namespace cairn::cuda
