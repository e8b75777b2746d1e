// The kernels of the IQ encodings, the ternary ones, NVFP4 and Q1_0: the rest of encodings.cpp's table.
#include "kernels/encodings/iq1_m.hpp"
#include "kernels/encodings/iq1_s.hpp"
#include "kernels/encodings/iq2_s.hpp"
#include "kernels/encodings/iq2_xs.hpp"
#include "kernels/encodings/iq2_xxs.hpp"
#include "kernels/encodings/iq3_s.hpp"
#include "kernels/encodings/iq3_xxs.hpp"
#include "kernels/encodings/nvfp4.hpp"
#include "kernels/encodings/q1_0.hpp"
#include "kernels/encodings/table.hpp"
#include "kernels/encodings/tq1_0.hpp"
#include "kernels/encodings/tq2_0.hpp"

HWY_BEFORE_NAMESPACE();
namespace cairn::kernels::CAIRN_TARGET {

const EncodingKernels* iq_encoding_kernels(Encoding encoding) {
  switch (encoding) {
    case Encoding::iq2_xxs:
      return &kBlocks<IQ2_XXS>;
    case Encoding::iq2_xs:
      return &kBlocks<IQ2_XS>;
    case Encoding::iq2_s:
      return &kBlocks<IQ2_S>;
    case Encoding::iq3_xxs:
      return &kBlocks<IQ3_XXS>;
    case Encoding::iq3_s:
      return &kBlocks<IQ3_S>;
    case Encoding::iq1_s:
      return &kBlocks<IQ1_S>;
    case Encoding::iq1_m:
      return &kBlocks<IQ1_M>;
    case Encoding::tq1_0:
      return &kBlocks<TQ1_0>;
    case Encoding::tq2_0:
      return &kBlocks<TQ2_0>;
    case Encoding::nvfp4:
      return &kBlocks<NVFP4>;
    case Encoding::q1_0:
      return &kBlocks<Q1_0>;
    default:
      return nullptr;
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
HWY_AFTER_NAMESPACE();
