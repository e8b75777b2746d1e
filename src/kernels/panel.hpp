#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::kernels {

// How prefill's product reads a panel of weight rows. Every form's integer product is exact.
enum class PanelForm : uint8_t {
  // w = scale · value, any 8-bit value, a scale for each 32.
  values8,
  // codes4 has codes up to 31 where sums have 32 bits; what follows it is for x86 without VNNI, whose sums
  // have 16.
  codes4,         // w = scale · code + offset, code in [0, 15], for each 32
  codes5,         // w = scale · (code − 16), code in [0, 31], for each 32
  codes5_offset,  // the same plus an offset
  codes6,         // w = scale · (code − 32), code in [0, 63], for each 16
  codes6_offset,  // the same plus an offset
};

// Plain memory owned by the caller.
struct WeightPanel {
  int8_t* values;        // [rows][k · GemmKernels::value_bytes of the form]; values8: see targets/panel.hpp
  int32_t* corrections;  // [rows][k / 32], form values8: what its sums start with
  float* scales;         // [rows][k / 32], k / 16 for codes6…; GemmKernels::scale_place
  float* offsets;        // as many, where the form has them, a row after the other
};

}  // namespace cairn::kernels
