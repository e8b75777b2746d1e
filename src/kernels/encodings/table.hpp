// An encoding's kernels for the instruction set that a file is compiled for.
#pragma once

#include "kernels/encodings/fill_panel.hpp"
#if CAIRN_ISA_X86
#include "kernels/encodings/gemv_x86.hpp"
#elif CAIRN_ISA_NEON
#include "kernels/encodings/gemv_neon.hpp"
#else
#include "kernels/encodings/gemv_portable.hpp"
#endif

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

template <class E>
constexpr auto Fill() {
  if constexpr (E::kIsFloat) {
    return &FillRounded<E>;
  } else if constexpr (TakesCodes<E>()) {
    return &FillCodes<E>;
  } else if constexpr (E::kSubscales == 1) {
    return &FillValues8<E>;
  } else {
    return &FillRounded<E>;
  }
}

#if CAIRN_ISA_X86
template <class E>
constexpr EncodingKernels kFloats = {DequantizeFloats<E>, PreparedFloatBytes, PrepareFloats,
                                     GemvFloats<E>,       PanelForm::values8, Fill<E>()};
template <class E>
constexpr EncodingKernels kBlocks = {Dequantize<E>, PreparedBytes<E>, Prepare<E>,
                                     Gemv<E>,       FormOf<E>(),      Fill<E>()};
#else
template <class E>
constexpr EncodingKernels kFloats = {DequantizeFloats<E>, PreparedBytes,      Prepare,
                                     GemvFloats<E>,       PanelForm::values8, Fill<E>()};
#if CAIRN_ISA_NEON
template <class E>
constexpr EncodingKernels kBlocks = {Dequantize<E>, PreparedNeonBytes<E>, PrepareNeon<E>,
                                     GemvNeon<E>,   FormOf<E>(),          Fill<E>()};
#else
template <class E>
constexpr EncodingKernels kBlocks = {Dequantize<E>, PreparedBytes, Prepare, Gemv<E>, FormOf<E>(), Fill<E>()};
#endif
#endif

// The part of encoding_kernels that targets/encodings_iq.cpp has: nullptr for all others.
const EncodingKernels* iq_encoding_kernels(Encoding encoding);

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
