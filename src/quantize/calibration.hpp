#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "quantize/scheme.hpp"

namespace cairn::quantize {

// Magnitudes are looked at as they are and after Rotation.
enum class Basis : uint8_t { plain, rotated, count };
constexpr size_t kBases = static_cast<size_t>(Basis::count);
// Over all tokens of a window, and without its first (attention sinks, which may be had in float).
constexpr std::array<uint32_t, 3> kSkips = {0, 1, 4};
constexpr std::array<double, 4> kPercentiles = {99.0, 99.7, 99.9, 99.99};

// What one input can be turned into, the cheapest for a matrix engine first; each with int8 weights scaled by
// row.
enum class Form : uint8_t {
  fixed,          // one scale: the maximum
  fixed_clip,     // one scale: least squared error
  token,          // a scale a token
  rotated_fixed,  // Rotation, then as fixed
  rotated_token,  // Rotation, then as token
  shadow,         // one scale: the 99.0th percentile; the rest beside the device
  count,
};
constexpr size_t kForms = static_cast<size_t>(Form::count);
const char* name(Basis basis);
const char* name(Form form);  // "static", "static-clip", "token", "rotation-static", "rotation", "shadow"

// |x'| of one input, in its own units.
struct Range {
  float maximum = 0;
  std::array<float, kPercentiles.size()> percentiles{};
  float clip = 0;  // the threshold with the least squared error
};

// What exceeds one percentile (of all tokens).
struct OutlierStatistics {
  float channels_per_token = 0;  // mean number of outlier channels
  float touched = 0;             // mean share of the channels that a window touches
  float importance = 0;          // largest outlier / scale, scale = percentile / 127
  std::vector<float> counts;     // outliers of each channel, [width]

  // Share of all outliers that the `channels` most frequent channels hold (1 where there is none).
  double mass(size_t channels) const;
};

struct InputRecord {
  std::array<std::array<Range, kSkips.size()>, kBases> ranges{};
  std::array<std::array<OutlierStatistics, kPercentiles.size()>, kBases> outliers{};
  std::array<std::vector<float>, kSkips.size()> channel_maxima;  // plain, [width]
  std::vector<float> weight_maxima;  // largest |w| of each column over the matrices that read it, [width]
  // KL divergence (nats a token) from float where this input alone is treated, the first `cost_skip` tokens
  // in float; NaN: not measured.
  std::array<float, kForms> costs{};
};

// A whole model in one form.
struct WholeCost {
  Form form;
  uint32_t float_tokens;
  float kl;          // mean KL divergence from float, nats a token
  float perplexity;  // divided by float's
};

// Median seconds of each subgraph, by its chunk's position in the prompt.
struct DeviceTimes {
  std::string device;  // as --prefill takes it
  uint32_t chunk = 0, chunks = 0, threads = 0;
  std::vector<std::string> kinds;  // offload::name(TaskKind)
  std::vector<float> seconds;      // [kinds][chunks]; 0: such a subgraph did not run
};

// What one model's linear inputs look like on some text, and what each treatment of them costs: the sidecar
// that `cairn calibrate` writes. A GGUF file; docs/quantize.md lists its keys and tensors.
struct Calibration {
  static constexpr uint32_t kVersion = 1;

  std::string fingerprint;                  // model_fingerprint
  std::string model;                        // its general.name, for people
  uint64_t tokens = 0;                      // looked at
  uint32_t window = 0;                      // tokens that saw each other
  uint64_t weight_bytes = 0;                // of the model file's tensors
  std::array<uint32_t, kInputs> widths{};   // channels of each input
  std::array<uint32_t, kInputs> outputs{};  // rows of the matrices that read it, together
  uint32_t cost_skip = 0;                   // first tokens in float where InputRecord::costs were measured
  uint32_t cost_tokens = 0;                 // tokens that each was measured on; 0: none was
  std::vector<std::array<InputRecord, kInputs>> layers;
  std::vector<WholeCost> whole;
  std::vector<DeviceTimes> times;

  const InputRecord& at(size_t layer, Input input) const { return layers[layer][static_cast<size_t>(input)]; }
  const WholeCost* find_whole(Form form, uint32_t float_tokens) const;  // null: not measured

  // Checked throughout: versions, sizes that agree with each other and with `model`, finite numbers.
  // Errors: not_found, io; format (no calibration, truncated, corrupt, another version; says what);
  // invalid_argument (made for another model than this).
  static Calibration read(const std::string& path, const gguf::File& model);
  void write(const std::string& path) const;  // Errors: io
};

// Channels of each linear input, and rows of all matrices together that read it.
struct InputShape {
  std::array<uint32_t, kInputs> widths{}, outputs{};
};
// The linears of each input of one layer, in the order in which they run; the same in every layer.
std::array<std::vector<const graph::Op*>, kInputs> input_linears(const graph::Layer& layer);
InputShape input_shape(const graph::Model& model);

// Index into kPercentiles. Error invalid_argument lists what was calibrated.
size_t percentile_index(double percent);
// Index into kSkips of the largest that is at most `float_tokens`.
size_t skip_index(uint32_t float_tokens);

// A self-contained page that draws what Figures 10 to 12 of llm.npu (ASPLOS '25) draw: outlier channels by
// layer, what hot channels hold, and importance; with a table of costs.
std::string calibration_html(const Calibration& calibration);

}  // namespace cairn::quantize
