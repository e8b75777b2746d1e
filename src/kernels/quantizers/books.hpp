// The values that codes stand for, before any scale.
#pragma once

#include "kernels/quantizers/lanes.hpp"

namespace cairn::kernels::CAIRN_TARGET {

// Whole numbers from kLow to kHigh; code 0 is kLow.
template <int kLow, int kHigh>
struct Uniform {
  static constexpr float kLeast = kLow, kMost = kHigh;
  static HWY_INLINE F8 Value(F8 v) { return Nearest(Clamp(v, kLeast, kMost)); }
  static HWY_INLINE I8 Code(F8 v) { return ToIntegers(Value(v)) - kLow; }
};

// Ascending values; code i is the i-th.
template <class Table>
struct Listed {
  static constexpr int kCount = sizeof(Table::kValues) / sizeof(Table::kValues[0]);
  static constexpr float kLeast = Table::kValues[0], kMost = Table::kValues[kCount - 1];
  static constexpr float Middle(int i) { return (Table::kValues[i] + Table::kValues[i + 1]) * 0.5f; }
  static HWY_INLINE F8 Value(F8 v) {
    F8 value = All(kLeast);
    for (int i = 0; i + 1 < kCount; ++i) {
      const float step = Table::kValues[i + 1] - Table::kValues[i];
      value += (F8)((v > Middle(i)) & (I8)All(step));
    }
    return value;
  }
  static HWY_INLINE I8 Code(F8 v) {
    I8 code{};
    for (int i = 0; i + 1 < kCount; ++i) code -= v > Middle(i);
    return code;
  }
};

// The table of IQ4_NL and IQ4_XS (ggml's kvalues_iq4nl).
struct NonLinearValues {
  static constexpr float kValues[] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
};
using NonLinear = Listed<NonLinearValues>;

// Magnitudes of E2M1, doubled; the sign is apart. A tie goes to the smaller one, as in the gguf package.
struct E2M1Values {
  static constexpr float kValues[] = {0, 1, 2, 3, 4, 6, 8, 12};
};
using E2M1 = Listed<E2M1Values>;

}  // namespace cairn::kernels::CAIRN_TARGET
