// The machine's limits, measured: the instruction sequences of the matrix products with registers only, and
// reading memory. Figures elsewhere are given as fractions of these.
#include "kernels/dot.hpp"
#include "kernels/gemm.hpp"
#include "kernels/targets/unroll.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

const DF32 df;
const DI32 di;
const DU8 du8;
const DI8 di8;
constexpr size_t kChains =
    12;  // independent accumulators: enough to hide latency, few enough for 16 registers

double run_int8(size_t iterations) {
  VU8 u = hn::Set(du8, 3);
  VI8 s = hn::Set(di8, 5);
  VI32 acc[kChains];
  CAIRN_UNROLL(kChains, i, acc[i] = hn::Zero(di));
  for (size_t n = 0; n < iterations; ++n) {
    pin(s);
    CAIRN_UNROLL(kChains, i, pin(u); acc[i] = Dot4(acc[i], u, s));
  }
  CAIRN_UNROLL(kChains, i, pin(acc[i]));
  return static_cast<double>(iterations) * kChains * kVectorBytes * 2;
}

double run_codes4(size_t iterations) {
#if CAIRN_HAS_MADDUBS && !CAIRN_HAS_VNNI
  VU8 u = hn::Set(du8, 3);
  VI8 s = hn::Set(di8, 5);
  VI16 acc[kChains];
  CAIRN_UNROLL(kChains, i, acc[i] = hn::Zero(DI16()));
  for (size_t n = 0; n < iterations; ++n) {
    pin(s);
    CAIRN_UNROLL(kChains, i, pin(u); acc[i] = hn::Add(acc[i], Dot2(u, s)));
  }
  CAIRN_UNROLL(kChains, i, pin(acc[i]));
  return static_cast<double>(iterations) * kChains * kVectorBytes * 2;
#else
  return run_int8(iterations);
#endif
}

double run_fp32(size_t iterations) {
  VF32 a = hn::Set(df, 1.0f), b = hn::Set(df, 0.5f);
  VF32 acc[kChains];
  CAIRN_UNROLL(kChains, i, acc[i] = hn::Zero(df));
  for (size_t n = 0; n < iterations; ++n) {
    pin(a), pin(b);
    CAIRN_UNROLL(kChains, i, acc[i] = hn::MulAdd(a, b, acc[i]));
  }
  CAIRN_UNROLL(kChains, i, pin(acc[i]));
  return static_cast<double>(iterations) * kChains * HWY_LANES(float) * 2;
}

#if HWY_TARGET == HWY_AVX3
#define CAIRN_HAS_BF16 1
// Its own instruction set: the caller has asked cpuid.
__attribute__((target("avx512bf16"))) double run_bf16(size_t iterations) {
  __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f803f80), b = a;
  __m512 acc[kChains];
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) acc[i] = _mm512_setzero_ps();
  for (size_t n = 0; n < iterations; ++n) {
    __asm__ volatile("" : "+v"(a), "+v"(b));
#pragma GCC unroll 16
    for (size_t i = 0; i < kChains; ++i) acc[i] = _mm512_dpbf16_ps(acc[i], a, b);
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < kChains; ++i) __asm__ volatile("" : "+v"(acc[i]));
  return static_cast<double>(iterations) * kChains * 32 * 2;
}
#else
#define CAIRN_HAS_BF16 0
#endif

double run(Peak peak, size_t iterations) {
  switch (peak) {
    case Peak::int8:
      return run_int8(iterations);
    case Peak::int8_codes4:
      return run_codes4(iterations);
    case Peak::fp32:
      return run_fp32(iterations);
    case Peak::bf16:
#if CAIRN_HAS_BF16
      if (__builtin_cpu_supports("avx512bf16")) return run_bf16(iterations);
#endif
      return 0;
  }
  return 0;
}

uint64_t read(const void* data, size_t bytes) {
  const auto* p = static_cast<const uint8_t*>(data);
  VU8 a = hn::Zero(du8), b = a, c = a, d = a;
  size_t i = 0;
  for (; i + 4 * kVectorBytes <= bytes; i += 4 * kVectorBytes) {
    for (size_t line = 0; line < 4 * kVectorBytes; line += 64) __builtin_prefetch(p + i + 4096 + line);
    a = hn::Or(a, hn::LoadU(du8, p + i));
    b = hn::Or(b, hn::LoadU(du8, p + i + kVectorBytes));
    c = hn::Or(c, hn::LoadU(du8, p + i + 2 * kVectorBytes));
    d = hn::Or(d, hn::LoadU(du8, p + i + 3 * kVectorBytes));
  }
  uint64_t sum = 0;
  for (; i < bytes; ++i) sum += p[i];
  return sum + hn::GetLane(hn::Or(hn::Or(a, b), hn::Or(c, d)));
}

}  // namespace

const PeakKernels& peak_table() {
#if CAIRN_HAS_VNNI
  static constexpr const char* int8 = "vpdpbusd";
  static constexpr const char* codes4 = int8;
#elif CAIRN_HAS_MADDUBS
  static constexpr const char* int8 = "vpmaddubsw + vpmaddwd + vpaddd";
  static constexpr const char* codes4 = "vpmaddubsw + vpaddw";
#else
  static constexpr const char* int8 = "widening multiplies";
  static constexpr const char* codes4 = int8;
#endif
  static constexpr PeakKernels table{
      {int8, codes4, "multiply-add", CAIRN_HAS_BF16 ? "vdpbf16ps" : nullptr}, &run, &read};
  return table;
}

}  // namespace cairn::kernels::CAIRN_TARGET
