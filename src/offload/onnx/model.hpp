// An Int8Graph as an ONNX model, in the form that a provider computes as integers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "offload/accelerator.hpp"

namespace cairn::offload::onnx {

enum class Form : uint8_t {
  // u8 · u8 → i32 (MatMulInteger), both with zero point 128: exact on every CPU. Signed weights saturate at
  // 16
  // bits where there is no VNNI.
  integers,
  // For Hexagon: u8, converted to u16 on the device, times int8 with a scale a row, to u16. Without the
  // conversion the output has u8's 8 bits, or the graph is refused; 9·10⁻⁵ of the sums' rms.
  steps,
  // u8 and int8 dequantised, multiplied, float: the pattern that other providers look for.
  floats,
};

enum class WeightBits : uint8_t { eight = 8, four = 4 };

// How a linear's outputs come back: out[t][r] = factors[r] · (raw[t][r] − zero point).
struct OutputScale {
  std::vector<float> factors;  // [rows]
};

struct WrittenModel {
  std::string bytes;
  std::vector<OutputScale> outputs;  // by linear
};

// Input "x" u8 [tokens][k] (value + 128), outputs "y0", "y1", … [tokens][rows] as the form has them. Names of
// values inside begin with the graph's: several graphs may end up in one context. `four` (steps): weights are
// rounded again, to −7 … 7.
WrittenModel write_model(const Int8Graph& graph, Form form, WeightBits bits);

// The sums that a u16 of `steps` can hold, for a row of int8 values: 3 · 127 ‖values‖, or what they can reach
// by Cauchy and Schwarz, 127 √k ‖values‖, where that is less. Of SmolLM2's and Gemma's sums one in 10⁴ is
// beyond (bench_ranges); it ends as the largest step, is seen as that and is computed by the CPU.
float sum_range(const int8_t* values, uint32_t k);

}  // namespace cairn::offload::onnx
