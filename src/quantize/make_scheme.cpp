#include "quantize/make_scheme.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.hpp"
#include "quantize/scheme_parts.hpp"

namespace cairn::quantize {
namespace {

constexpr std::array kMethods = {Method::naive,    Method::smoothquant, Method::mixed,    Method::token,
                                 Method::rotation, Method::shadow,      Method::automatic};
constexpr float kMixedThreshold = 6;  // LLM.int8()'s, found for models of up to 13 billion parameters

void check(const SchemeOptions& options) {
  const auto share = [](const char* flag, double value, double most) {
    if (!(value >= 0 && value <= most)) {
      fail(ErrorCode::invalid_argument, "{} {} is not in 0 to {}", flag, value, most);
    }
  };
  share("prune", options.prune, 1);
  share("hot", options.hot, 100);
  if (!(options.budget > 0)) fail(ErrorCode::invalid_argument, "budget {} is not above 0", options.budget);
}

// SmoothQuant, Eq. 4, alpha 0.5. Channels that were never seen keep their size.
Treatment smooth(const InputRecord& record, size_t skip) {
  Treatment t{.scale_kind = ScaleKind::fixed};
  const std::vector<float>& maxima = record.channel_maxima[skip];
  t.divisors.resize(maxima.size());
  float most = 0;
  for (size_t c = 0; c < maxima.size(); ++c) {
    const float ratio = record.weight_maxima[c] > 0 ? maxima[c] / record.weight_maxima[c] : 0;
    t.divisors[c] = ratio > 0 && std::isfinite(ratio) ? std::max(std::sqrt(ratio), 1e-5f) : 1;
    most = std::max(most, maxima[c] / t.divisors[c]);
  }
  t.scale = fixed_scale(most);
  return t;
}

// The least important share of the inputs, as [layer][input] flags.
std::vector<bool> pruned_inputs(const Calibration& calibration, const SchemeOptions& options) {
  const size_t basis = options.rotate ? 1 : 0, threshold = percentile_index(options.threshold);
  const size_t all = calibration.layers.size() * kInputs;
  std::vector<size_t> order(all);
  std::iota(order.begin(), order.end(), size_t{0});
  const auto importance = [&](size_t i) {
    return calibration.layers[i / kInputs][i % kInputs].outliers[basis][threshold].importance;
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return importance(a) < importance(b); });
  std::vector<bool> pruned(all);
  const auto count = static_cast<size_t>(std::llround(options.prune * static_cast<double>(all)));
  for (size_t i = 0; i < count; ++i) pruned[order[i]] = true;
  return pruned;
}

Treatment shadow(const InputRecord& record, const SchemeOptions& options, bool pruned, size_t skip) {
  if (pruned && options.pruned == Pruned::float_product) return {.float_product = true};
  if (pruned && options.pruned == Pruned::rotation) return {.rotate = true};
  const Range& range = record.ranges[options.rotate ? 1 : 0][skip];
  const bool full = pruned && options.pruned == Pruned::range;
  return {.scale_kind = ScaleKind::fixed,
          .scale = fixed_scale(full ? range.maximum : range.percentiles[percentile_index(options.threshold)]),
          .outliers = pruned ? Outliers::clamp : Outliers::shadow,
          .rotate = options.rotate};
}

std::string describe(const SchemeOptions& options, uint32_t float_tokens, WeightScale weights) {
  std::string text = name(options.method);
  if (options.method == Method::shadow) {
    text += fmt::format(" {} %", options.threshold);
    if (options.rotate) text += ", rotated";
    if (options.prune > 0)
      text += fmt::format(", prune {:.4g} % ({})", 100 * options.prune, name(options.pruned));
  }
  if (options.fixed) text += ", static";
  if (float_tokens > 0) {
    text += fmt::format(", first {} in float",
                        float_tokens == 1 ? "token" : fmt::format("{} tokens", float_tokens));
  }
  return text + (weights == WeightScale::tensor ? ", weights by tensor" : "");
}

Scheme frame(size_t layers, const SchemeOptions& options) {
  Scheme scheme;
  scheme.weight_scale =
      options.weights.value_or(options.method == Method::naive ? WeightScale::tensor : WeightScale::row);
  scheme.float_tokens = options.float_tokens.value_or(0);
  scheme.name = describe(options, scheme.float_tokens, scheme.weight_scale);
  scheme.layers.resize(layers);
  return scheme;
}

}  // namespace

const char* name(Method method) {
  switch (method) {
    case Method::naive:
      return "naive";
    case Method::smoothquant:
      return "smoothquant";
    case Method::mixed:
      return "mixed";
    case Method::token:
      return "token";
    case Method::rotation:
      return "rotation";
    case Method::shadow:
      return "shadow";
    case Method::automatic:
      return "auto";
  }
  return "";
}

Method parse_method(std::string_view text) {
  std::string names;
  for (const Method method : kMethods) {
    if (text == name(method)) return method;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name(method));
  }
  fail(ErrorCode::invalid_argument, "no quantisation '{}'; there are {}", text, names);
}

const char* name(Pruned pruned) {
  switch (pruned) {
    case Pruned::clamp:
      return "clamp";
    case Pruned::range:
      return "range";
    case Pruned::rotation:
      return "rotation";
    case Pruned::float_product:
      return "float";
  }
  return "";
}

float fixed_scale(float most) {
  return most > 0 ? most / 127 : 1;
}

Treatment treatment_of(Form form, const InputRecord& record, uint32_t float_tokens) {
  const size_t skip = skip_index(float_tokens);
  const Range &plain = record.ranges[0][skip], &rotated = record.ranges[1][skip];
  switch (form) {
    case Form::fixed:
      return {.scale_kind = ScaleKind::fixed, .scale = fixed_scale(plain.maximum)};
    case Form::fixed_clip:
      return {.scale_kind = ScaleKind::fixed, .scale = fixed_scale(plain.clip)};
    case Form::token:
      return {};
    case Form::rotated_fixed:
      return {.scale_kind = ScaleKind::fixed, .scale = fixed_scale(rotated.maximum), .rotate = true};
    case Form::rotated_token:
      return {.rotate = true};
    case Form::shadow:
    case Form::count:
      break;
  }
  return {.scale_kind = ScaleKind::fixed,
          .scale = fixed_scale(plain.percentiles[0]),
          .outliers = Outliers::shadow};
}

void choose_hot_channels(Scheme& scheme, const Calibration& calibration, double threshold, double hot) {
  struct Channel {
    float count;
    uint32_t layer, input, channel;
  };
  std::vector<Channel> channels;
  const size_t t = percentile_index(threshold);
  for (uint32_t layer = 0; layer < scheme.layers.size(); ++layer) {
    for (uint32_t input = 0; input < kInputs; ++input) {
      const Treatment& treatment = scheme.layers[layer][input];
      if (treatment.float_product || treatment.outliers != Outliers::shadow) continue;
      const auto& counts = calibration.layers[layer][input].outliers[treatment.rotate ? 1 : 0][t].counts;
      for (uint32_t c = 0; c < counts.size(); ++c) {
        if (counts[c] > 0) channels.push_back({counts[c], layer, input, c});
      }
    }
  }
  std::stable_sort(channels.begin(), channels.end(),
                   [](const Channel& a, const Channel& b) { return a.count > b.count; });
  double left = static_cast<double>(calibration.weight_bytes) * hot / 100;
  for (const Channel& c : channels) {
    left -= 2.0 * calibration.outputs[c.input];
    if (left < 0) break;
    scheme.layers[c.layer][c.input].hot.push_back(c.channel);
  }
  for (auto& layer : scheme.layers) {
    for (Treatment& treatment : layer) std::sort(treatment.hot.begin(), treatment.hot.end());
  }
}

bool needs_calibration(const SchemeOptions& options) {
  const bool any_scale = options.method == Method::token || options.method == Method::rotation;
  return options.method != Method::mixed && (!any_scale || options.fixed);
}

Scheme make_scheme(size_t layers, const SchemeOptions& options) {
  check(options);
  if (needs_calibration(options)) {
    fail(ErrorCode::invalid_argument, "'{}' needs a calibration (cairn calibrate)", name(options.method));
  }
  Scheme scheme = frame(layers, options);
  const Treatment treatment = options.method == Method::mixed
                                  ? Treatment{.outliers = Outliers::mixed, .threshold = kMixedThreshold}
                                  : Treatment{.rotate = options.method == Method::rotation};
  for (auto& layer : scheme.layers) layer.fill(treatment);
  return scheme;
}

Scheme make_scheme(const Calibration& calibration, const SchemeOptions& options) {
  if (!needs_calibration(options)) return make_scheme(calibration.layers.size(), options);
  check(options);
  if (options.method == Method::automatic) return make_auto_scheme(calibration, options);
  Scheme scheme = frame(calibration.layers.size(), options);
  const size_t skip = skip_index(scheme.float_tokens);
  std::vector<bool> pruned;
  if (options.method == Method::shadow) pruned = pruned_inputs(calibration, options);
  for (size_t layer = 0; layer < scheme.layers.size(); ++layer) {
    for (size_t input = 0; input < kInputs; ++input) {
      const InputRecord& record = calibration.layers[layer][input];
      Treatment& treatment = scheme.layers[layer][input];
      switch (options.method) {
        case Method::smoothquant:
          treatment = smooth(record, skip);
          break;
        case Method::shadow:
          treatment = shadow(record, options, pruned[layer * kInputs + input], skip);
          break;
        case Method::rotation:
          treatment = treatment_of(Form::rotated_fixed, record, scheme.float_tokens);
          break;
        default:  // naive, and token with a fixed scale
          treatment = treatment_of(Form::fixed, record, scheme.float_tokens);
      }
    }
  }
  if (options.method == Method::shadow)
    choose_hot_channels(scheme, calibration, options.threshold, options.hot);
  return scheme;
}

double shadow_share(const Scheme& scheme) {
  size_t count = 0;
  for (const auto& layer : scheme.layers) {
    for (const Treatment& t : layer) count += !t.float_product && t.outliers != Outliers::clamp ? 1 : 0;
  }
  return scheme.layers.empty()
             ? 0
             : static_cast<double>(count) / static_cast<double>(scheme.layers.size() * kInputs);
}

}  // namespace cairn::quantize
