// The table of encodings' quantisers for the instruction set that this file is compiled for.
#include "kernels/quantize.hpp"
#include "kernels/quantizers/k_quants.hpp"

namespace cairn::kernels::CAIRN_TARGET {

Quantize find_quantizer(Encoding encoding);
Quantize find_quantizer(Encoding encoding) {
  switch (encoding) {
    case Encoding::f32:
      return PlainF32;
    case Encoding::f16:
      return PlainF16;
    case Encoding::bf16:
      return PlainBf16;
    case Encoding::q4_0:
      return QuantizeSigned<WriteQ4_0>;
    case Encoding::q4_1:
      return QuantizeOffset<WriteQ4_1>;
    case Encoding::q5_0:
      return QuantizeSigned<WriteQ5_0>;
    case Encoding::q5_1:
      return QuantizeOffset<WriteQ5_1>;
    case Encoding::q8_0:
      return PlainQ8_0;
    case Encoding::q2_k:
      return QuantizeSuper<WriteQ2_K>;
    case Encoding::q3_k:
      return QuantizeSuper<WriteQ3_K>;
    case Encoding::q4_k:
      return QuantizeSuper<WriteQ4_K>;
    case Encoding::q5_k:
      return QuantizeSuper<WriteQ5_K>;
    case Encoding::q6_k:
      return QuantizeSuper<WriteQ6_K>;
    case Encoding::iq4_nl:
      return QuantizeSigned<WriteIQ4_NL>;
    case Encoding::iq4_xs:
      return QuantizeSuper<WriteIQ4_XS>;
    case Encoding::mxfp4:
      return QuantizeMxfp4;
    default:  // read, and not written
      return nullptr;
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
