#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "quantize/calibration.hpp"
#include "quantize/scheme.hpp"

namespace cairn::quantize {

enum class Method : uint8_t {
  naive,        // one fixed scale a tensor, the maximum, weights too: what an NPU does by itself
  smoothquant,  // arXiv 2211.10438, alpha 0.5, one fixed scale
  mixed,        // LLM.int8(), arXiv 2208.07339: columns with values of 6 or more in float
  token,        // one scale a token
  rotation,     // Rotation, then one scale a token
  shadow,       // one fixed scale at a percentile, what exceeds it in float beside the device
  automatic,    // per input, within an accuracy budget
};
const char* name(Method method);             // "naive", …, "auto"
Method parse_method(std::string_view name);  // Error invalid_argument lists the names

// What becomes of the inputs whose shadow work is pruned.
enum class Pruned : uint8_t {
  clamp,     // what exceeds the percentile is lost (llm.npu's way)
  range,     // a fixed scale that holds their maximum
  rotation,  // rotated, one scale a token
  float_product,
};
const char* name(Pruned pruned);  // "clamp", "range", "rotation", "float"

struct SchemeOptions {
  Method method = Method::rotation;
  std::optional<WeightScale> weights{};  // absent: tensor for naive, row for the others
  bool fixed = false;       // token, rotation: one fixed scale (the maximum) in place of one a token
  bool rotate = false;      // shadow: of rotated inputs
  double threshold = 99.0;  // shadow: the percentile, one of kPercentiles
  double prune = 0;         // shadow: share of the inputs, least important first, without it
  Pruned pruned = Pruned::clamp;
  std::optional<uint32_t> float_tokens{};  // first tokens in float; absent: 0, for auto what was calibrated
  double budget = 0.6;                     // auto: per cent of perplexity
  double hot = 0.5;  // shadow: memory of hot weights (2 bytes each), per cent of the model's
};

// Whether the method's scheme follows from the model alone.
bool needs_calibration(const SchemeOptions& options);

// Errors: invalid_argument (a threshold that was not calibrated, shares out of range, a method that needs a
// calibration without one, auto without measured costs or with a budget that no mix of forms can keep).
Scheme make_scheme(const Calibration& calibration, const SchemeOptions& options);
// For methods that need none, for a model of so many layers.
Scheme make_scheme(size_t layers, const SchemeOptions& options);

// Share of the linear inputs with shadow work (or LLM.int8()'s float columns).
double shadow_share(const Scheme& scheme);

}  // namespace cairn::quantize
