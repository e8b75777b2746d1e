// Quantisers of the encodings whose codes are points of a grid, and of ternary ones, for the instruction set
// that this file is compiled for.
#include "kernels/quantize.hpp"
#include "kernels/quantizers/grid_formats.hpp"
#include "kernels/quantizers/ternary.hpp"

namespace cairn::kernels::CAIRN_TARGET {
namespace {

// One copy for each number of coordinates.
template <int D>
__attribute__((noinline)) void Fit(const GridSearch& grid, const GridFormat& format, const float* x,
                                   const float* importance, GridBlock& out) {
  FitGridBlock<D>(grid, format, x, importance, out);
}

template <class Format>
void QuantizeGrid(const float* x, const float* importance, size_t elements, void* blocks) {
  const GridSearch& grid = grid_search(Format::kEncoding);
  uint8_t* to = static_cast<uint8_t*>(blocks);
  for (size_t at = 0; at < elements; at += kSuper, to += Format::kBytes) {
    GridBlock block;
    Fit<Format::kCoordinates>(grid, Format::kFormat, x + at,
                              importance == nullptr ? nullptr : importance + at, block);
    Format::Pack(block, to);
  }
}

template <bool kEach>
void QuantizeIQ1(const float* x, const float* importance, size_t elements, void* blocks) {
  const GridSearch& grid = grid_search(Encoding::iq1_s);
  uint8_t* to = static_cast<uint8_t*>(blocks);
  for (size_t at = 0; at < elements; at += kSuper, to += kEach ? 56 : 50) {
    TernaryBlock block;
    FitTernaryBlock<kEach>(grid, x + at, importance == nullptr ? nullptr : importance + at, block);
    kEach ? PackIQ1_M(block, to) : PackIQ1_S(block, to);
  }
}

}  // namespace

Quantize find_grid_quantizer(Encoding encoding);
Quantize find_grid_quantizer(Encoding encoding) {
  switch (encoding) {
    case Encoding::iq1_s:
      return QuantizeIQ1<false>;
    case Encoding::iq1_m:
      return QuantizeIQ1<true>;
    case Encoding::iq2_xxs:
      return QuantizeGrid<WriteIQ2_XXS>;
    case Encoding::iq2_xs:
      return QuantizeGrid<WriteIQ2_XS>;
    case Encoding::iq2_s:
      return QuantizeGrid<WriteIQ2_S>;
    case Encoding::iq3_xxs:
      return QuantizeGrid<WriteIQ3_XXS>;
    case Encoding::iq3_s:
      return QuantizeGrid<WriteIQ3_S>;
    case Encoding::tq1_0:
      return QuantizeTQ1_0;
    case Encoding::tq2_0:
      return QuantizeTQ2_0;
    default:
      return nullptr;
  }
}

}  // namespace cairn::kernels::CAIRN_TARGET
