// What the makers of schemes share.
#pragma once

#include "quantize/make_scheme.hpp"

namespace cairn::quantize {

// One input in one form (shadow: at the 99.0th percentile), ranges without the first `float_tokens` tokens.
Treatment treatment_of(Form form, const InputRecord& record, uint32_t float_tokens);
// A fixed scale that takes `most` to 127; 1 where an input is always 0.
float fixed_scale(float most);
// Gives the shadow inputs of a scheme their hot channels: of all of them the most frequent, until their
// weights fill hot per cent of the model's bytes.
void choose_hot_channels(Scheme& scheme, const Calibration& calibration, double threshold, double hot);
Scheme make_auto_scheme(const Calibration& calibration, const SchemeOptions& options);

}  // namespace cairn::quantize
