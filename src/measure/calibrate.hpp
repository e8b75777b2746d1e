// Runs a model over text and measures what quantising its linear inputs costs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "llm/model.hpp"
#include "quantize/calibration.hpp"

namespace cairn::measure {

struct CalibrateOptions {
  uint32_t threads = 0;         // 0: usable_processors()
  uint32_t windows = 96;        // most windows of text for the statistics
  uint32_t window = 256;        // tokens
  uint32_t float_tokens = 1;    // first tokens in float while single inputs are measured
  uint32_t cost_windows = 2;    // of kCostWindow tokens, for the cost of each input in each form; 0: none
  uint32_t whole_windows = 16;  // of `window` tokens, for the cost of whole models in each form
  std::vector<std::string> devices = {"cpu"};  // whose subgraphs are timed; empty: none
  uint32_t chunk = 256, chunks = 4;            // of the timed prompts
  double checkpoint_seconds = 20;
  // The magnitudes, the longest pass over the text, by so many shares of its windows, each kept beside `path`
  // (see gather_share()); they are counts and maxima, so that the result is the same. 1: in one go.
  uint32_t shares = 1;
  std::string shares_beside;
  std::function<void(double)> overall{};  // before each step: how much of everything is done, 0 to 1
};

// Fewer windows of text than this describe nothing.
constexpr uint32_t kLeastWindows = 4;
constexpr uint32_t kCostWindow = 128;

// Called between passes; what it throws (Error cancelled) ends the work, which can be resumed.
using CalibrateProgress = std::function<void(std::string_view stage, uint64_t done, uint64_t total)>;

// checkpoint: a file that keeps what was done when the work ends early, and from which the same call goes on
// to the same result (times apart, which are measured anew); removed at the end; empty: none. One of other
// text, options or model is not used.
// Errors: invalid_argument (text too short, both numbers told; options beyond the model's context), numeric
// (activations that are no numbers), not_found (a device that is not there), io.
quantize::Calibration calibrate(const llm::Model& model, std::string_view text,
                                const CalibrateOptions& options, const std::string& checkpoint = {},
                                const CalibrateProgress& progress = {});

// Makes one share of the magnitudes that calibrate() with the same options finds beside
// options.shares_beside. Returns its file. Errors: calibrate()'s; invalid_argument: no such share.
std::string gather_share(const llm::Model& model, std::string_view text, const CalibrateOptions& options,
                         uint32_t share, const CalibrateProgress& progress = {});

}  // namespace cairn::measure
