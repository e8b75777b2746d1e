// The numbers of the reference interpreter: weights as doubles, activations by their definitions.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "formats/gguf.hpp"
#include "graph/graph.hpp"

namespace cairn::graph::reference {

inline double from_half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}

// Blocks of 32: a byte that is the exponent, then codes, those of the first half in the low bits. OCP
// Microscaling Formats 1.0, table 1 and section 5.3.3.
inline double from_mxfp4(const std::byte* data, size_t element) {
  static constexpr double kValues[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
  const auto* block = reinterpret_cast<const uint8_t*>(data) + element / 32 * 17;
  const size_t at = element % 32;
  const unsigned code = at < 16 ? block[1 + at] & 15U : block[1 + at - 16] >> 4U;
  const double magnitude = std::ldexp(kValues[code & 7U], block[0] - 127);
  return code >= 8 ? -magnitude : magnitude;
}

inline std::vector<double> values(const gguf::Tensor& tensor) {
  std::vector<double> values(tensor.elements());
  for (size_t i = 0; i < values.size(); ++i) {
    if (tensor.encoding == Encoding::f32) {
      float value;
      std::memcpy(&value, tensor.data.data() + i * sizeof value, sizeof value);
      values[i] = value;
    } else if (tensor.encoding == Encoding::f16) {
      uint16_t value;
      std::memcpy(&value, tensor.data.data() + i * sizeof value, sizeof value);
      values[i] = from_half(value);
    } else if (tensor.encoding == Encoding::mxfp4) {
      values[i] = from_mxfp4(tensor.data.data(), i);
    } else {
      throw std::invalid_argument("the reference reads f32, f16 and mxfp4 only");
    }
  }
  return values;
}

inline double activation(Activation kind, double x) {
  switch (kind) {
    case Activation::none:
      return x;
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::gelu_tanh:
      return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::gelu_erf:
      return x / 2 * (1 + std::erf(x / std::sqrt(2)));
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::relu_squared:
      return x > 0 ? x * x : 0;
    case Activation::silu_clamped:
      break;
  }
  return 0;
}

inline double gated(Activation kind, double x, double y) {
  if (kind == Activation::none) return x * y;
  if (kind != Activation::silu_clamped) return activation(kind, x) * y;
  x = std::min(x, 7.0);
  return x / (1 + std::exp(-1.702 * x)) * (std::clamp(y, -7.0, 7.0) + 1);
}

}  // namespace cairn::graph::reference
