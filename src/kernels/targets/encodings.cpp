// The table of encodings' kernels for the instruction set that this file is compiled for; encodings_iq.cpp
// has the rest of it, so that two processors share the work of compiling it.
#include "kernels/encodings/bf16.hpp"
#include "kernels/encodings/f16.hpp"
#include "kernels/encodings/f32.hpp"
#include "kernels/encodings/iq4_nl.hpp"
#include "kernels/encodings/iq4_xs.hpp"
#include "kernels/encodings/mxfp4.hpp"
#include "kernels/encodings/q2_k.hpp"
#include "kernels/encodings/q3_k.hpp"
#include "kernels/encodings/q4_0.hpp"
#include "kernels/encodings/q4_1.hpp"
#include "kernels/encodings/q4_k.hpp"
#include "kernels/encodings/q5_0.hpp"
#include "kernels/encodings/q5_1.hpp"
#include "kernels/encodings/q5_k.hpp"
#include "kernels/encodings/q6_k.hpp"
#include "kernels/encodings/q8_0.hpp"
#include "kernels/encodings/table.hpp"
#include "kernels/target_list.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {
const EncodingKernels* encoding_kernels(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32:
      return &kFloats<F32>;
    case Encoding::f16:
      return &kFloats<F16>;
    case Encoding::bf16:
      return &kFloats<BF16>;
    case Encoding::q4_0:
      return &kBlocks<Q4_0>;
    case Encoding::q4_1:
      return &kBlocks<Q4_1>;
    case Encoding::q5_0:
      return &kBlocks<Q5_0>;
    case Encoding::q5_1:
      return &kBlocks<Q5_1>;
    case Encoding::q8_0:
      return &kBlocks<Q8_0>;
    case Encoding::q2_k:
      return &kBlocks<Q2_K>;
    case Encoding::q3_k:
      return &kBlocks<Q3_K>;
    case Encoding::q4_k:
      return &kBlocks<Q4_K>;
    case Encoding::q5_k:
      return &kBlocks<Q5_K>;
    case Encoding::q6_k:
      return &kBlocks<Q6_K>;
    case Encoding::iq4_nl:
      return &kBlocks<IQ4_NL>;
    case Encoding::iq4_xs:
      return &kBlocks<IQ4_XS>;
    case Encoding::mxfp4:
      return &kBlocks<MXFP4>;
    default:
      return iq_encoding_kernels(encoding);
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
