// What the instruction set has that a file of targets/ is compiled for: code asks for these, not for its
// name.
#pragma once

#include <hwy/highway.h>

// CAIRN_ISA_X86: AVX2 or AVX-512, with kernels of intrinsics. CAIRN_ISA_NEON: the same for ARM64 (its CMake
// target defines CAIRN_NEON; portable is NEON there too, by what Highway and the compiler make of plain
// loops). With neither, encodings are plain loops.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
#define CAIRN_ISA_X86 1
#else
#define CAIRN_ISA_X86 0
#endif
#if HWY_TARGET == HWY_NEON && defined(__aarch64__) && defined(CAIRN_NEON)
#define CAIRN_ISA_NEON 1
#else
#define CAIRN_ISA_NEON 0
#endif

#if CAIRN_ISA_X86
#include <immintrin.h>
#endif
#if CAIRN_ISA_NEON
#include <arm_neon.h>
#endif

// Products of bytes: 1 where the instruction is there, else 0.
//   CAIRN_HAS_MADDUBS   u8 · s8, neighbours summed in 16 bits with saturation
//   CAIRN_HAS_VNNI      u8 · s8, four neighbours summed in 32 bits
//   CAIRN_HAS_SDOT      s8 · s8, four neighbours summed in 32 bits (FEAT_DotProd)
//   CAIRN_HAS_SMMLA     s8 · s8, 2 × 8 by 8 × 2 summed in 32 bits, and u8 · s8 as VNNI (FEAT_I8MM)
#define CAIRN_HAS_MADDUBS CAIRN_ISA_X86
#if (HWY_TARGET == HWY_AVX3 && defined(__AVX512VNNI__)) || (HWY_TARGET == HWY_AVX2 && defined(__AVXVNNI__))
#define CAIRN_HAS_VNNI 1
#else
#define CAIRN_HAS_VNNI 0
#endif
#if CAIRN_ISA_NEON && defined(__ARM_FEATURE_DOTPROD)
#define CAIRN_HAS_SDOT 1
#else
#define CAIRN_HAS_SDOT 0
#endif
#if CAIRN_ISA_NEON && defined(__ARM_FEATURE_MATMUL_INT8)
#define CAIRN_HAS_SMMLA 1
#else
#define CAIRN_HAS_SMMLA 0
#endif

namespace cairn::kernels::CAIRN_TARGET {

// 32 vector registers instead of 16.
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3 || CAIRN_ISA_NEON;
// Whether products take signed bytes on both sides; else one side's are raised by 128.
constexpr bool kSignedProducts = CAIRN_ISA_NEON;

}  // namespace cairn::kernels::CAIRN_TARGET
