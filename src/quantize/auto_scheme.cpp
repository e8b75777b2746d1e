// --quantize auto: the forms that are cheapest for a matrix engine within an accuracy budget.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "quantize/scheme_parts.hpp"

namespace cairn::quantize {
namespace {

// KL divergence is what text of the model's own making would lose (nats a token); real text loses about as
// much. It was measured on a few windows, so forms are made cheaper only within a part of the budget.
constexpr double kMargin = 0.5;
constexpr double kMostShadow = 0.15;  // of the inputs

// Float work for one element beside the int8 product, in passes over the data.
double work(Form form) {
  switch (form) {
    case Form::token:
      return 2;  // the maximum first
    case Form::rotated_fixed:
      return 10;
    case Form::rotated_token:
      return 11;
    default:
      return 1;
  }
}

// A step from rotation with a scale a token to another form.
struct Step {
  size_t layer, input;
  Form form;
  double kl;      // added, nats a token
  double saving;  // work saved
};

class Plan {
 public:
  Plan(const Calibration& calibration, double kl)
      : calibration_(calibration), kl_(kl), forms_(calibration.layers.size()) {
    for (auto& layer : forms_) layer.fill(Form::rotated_token);
  }
  double kl() const { return kl_; }
  Form form(size_t layer, size_t input) const { return forms_[layer][input]; }

  // A cost that was not measured is no option.
  double extra(size_t layer, size_t input, Form form) const {
    const auto& costs = calibration_.layers[layer][input].costs;
    const double difference = static_cast<double>(costs[static_cast<size_t>(form)]) -
                              static_cast<double>(costs[static_cast<size_t>(Form::rotated_token)]);
    return std::isnan(difference) ? HUGE_VAL : difference;
  }

  void make_cheaper(double limit) {
    std::vector<Step> steps;
    for (size_t layer = 0; layer < forms_.size(); ++layer) {
      for (size_t input = 0; input < kInputs; ++input) {
        for (const Form form : {Form::fixed, Form::fixed_clip, Form::token, Form::rotated_fixed}) {
          const double saving = (work(Form::rotated_token) - work(form)) * calibration_.widths[input];
          // A gain is not believed: within the error of measurement it is none.
          steps.push_back({layer, input, form, std::max(extra(layer, input, form), 0.0), saving});
        }
      }
    }
    std::stable_sort(steps.begin(), steps.end(),
                     [](const Step& a, const Step& b) { return a.kl * b.saving < b.kl * a.saving; });
    for (const Step& step : steps) {
      Form& now = forms_[step.layer][step.input];
      if (work(step.form) >= work(now)) continue;
      const double spent = now == Form::rotated_token ? 0 : std::max(extra(step.layer, step.input, now), 0.0);
      if (kl_ + step.kl - spent > limit) continue;
      kl_ += step.kl - spent;
      now = step.form;
    }
  }

  void add_shadow(double limit) {
    std::vector<Step> steps;
    for (size_t layer = 0; layer < forms_.size(); ++layer) {
      for (size_t input = 0; input < kInputs; ++input) {
        const double kl = extra(layer, input, Form::shadow);
        if (kl < 0) steps.push_back({layer, input, Form::shadow, kl, 0});
      }
    }
    std::stable_sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.kl < b.kl; });
    const auto most = static_cast<size_t>(kMostShadow * static_cast<double>(forms_.size() * kInputs));
    steps.resize(std::min(steps.size(), most));
    for (const Step& step : steps) {
      if (kl_ <= limit) break;
      forms_[step.layer][step.input] = step.form;
      kl_ += step.kl;
    }
  }

 private:
  const Calibration& calibration_;
  double kl_;
  std::vector<std::array<Form, kInputs>> forms_;
};

}  // namespace

Scheme make_auto_scheme(const Calibration& calibration, const SchemeOptions& options) {
  const uint32_t float_tokens = options.float_tokens.value_or(calibration.cost_skip);
  const WholeCost* whole = calibration.find_whole(Form::rotated_token, float_tokens);
  if (calibration.cost_tokens == 0 || whole == nullptr) {
    fail(ErrorCode::invalid_argument,
         "auto needs costs with the first {} tokens in float, and the calibration has none: calibrate with "
         "--float-tokens {}",
         float_tokens, float_tokens);
  }
  const double limit = std::log1p(options.budget / 100);
  Plan plan(calibration, static_cast<double>(whole->kl));
  plan.add_shadow(limit);
  if (plan.kl() > limit) {
    fail(ErrorCode::invalid_argument,
         "no mix of forms keeps a budget of {:.3g} % of perplexity: the best is expected to lose {:.2f} %",
         options.budget, 100 * std::expm1(plan.kl()));
  }
  // Costs of single inputs hold for the tokens in float that they were measured with.
  if (float_tokens == calibration.cost_skip) plan.make_cheaper(kMargin * limit);

  Scheme scheme;
  scheme.weight_scale = options.weights.value_or(WeightScale::row);
  scheme.float_tokens = float_tokens;
  scheme.layers.resize(calibration.layers.size());
  std::array<size_t, kForms> counts{};
  for (size_t layer = 0; layer < scheme.layers.size(); ++layer) {
    for (size_t input = 0; input < kInputs; ++input) {
      const Form form = plan.form(layer, input);
      scheme.layers[layer][input] = treatment_of(form, calibration.layers[layer][input], float_tokens);
      ++counts[static_cast<size_t>(form)];
    }
  }
  choose_hot_channels(scheme, calibration, kPercentiles[0], options.hot);
  scheme.name = "auto:";
  for (size_t form = 0; form < kForms; ++form) {
    if (counts[form] > 0) scheme.name += fmt::format(" {} {}", counts[form], name(static_cast<Form>(form)));
  }
  if (float_tokens > 0) scheme.name += fmt::format(", first {} in float", float_tokens);
  return scheme;
}

}  // namespace cairn::quantize
