#pragma once

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "base/temporary_folder.hpp"
#include "formats/gguf.hpp"
#include "graph/graph.hpp"
#include "llm/tiny_model.hpp"
#include "quantize/calibration.hpp"
#include "quantize/fingerprint.hpp"

namespace cairn::quantize {

// Numbers like activations: most near 0, a few far out.
inline std::vector<float> heavy_tailed(size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    const double u = random.uniform(), sign = random.uniform() < 0.5 ? -1 : 1;
    value = static_cast<float>(sign * 0.3 * (std::pow(1 - u, -0.45) - 1));
  }
  return values;
}

// The tiny model of tests/llm in a folder of its own.
struct TinyFile {
  testing::TemporaryFolder folder;
  std::string path = folder / "tiny.gguf";
  gguf::File file;
  explicit TinyFile(const llm::TinyModel& tiny = {}) : file((llm::write_tiny_model(path, tiny), path)) {}
};

// A calibration of the model with made-up numbers, different in every field.
inline Calibration made_up(const gguf::File& model, uint64_t seed = 1) {
  Random random(seed);
  const auto number = [&] { return static_cast<float>(0.1 + random.uniform()); };
  const graph::Model graph = graph::load(model);
  const InputShape shape = input_shape(graph);
  Calibration c;
  c.fingerprint = model_fingerprint(model);
  c.model = "tiny";
  c.tokens = 1024;
  c.window = 256;
  c.weight_bytes = 1 << 20;
  c.widths = shape.widths;
  c.outputs = shape.outputs;
  c.cost_skip = 1;
  c.cost_tokens = 128;
  c.layers.resize(graph.layers.size());
  for (auto& layer : c.layers) {
    for (size_t input = 0; input < kInputs; ++input) {
      InputRecord& r = layer[input];
      for (auto& basis : r.ranges) {
        for (Range& range : basis) {
          for (size_t p = 0; p < kPercentiles.size(); ++p)
            range.percentiles[p] = number() + static_cast<float>(p);
          range.maximum = 10 * number() + 10;
          range.clip = number() + 3;
        }
      }
      for (auto& basis : r.outliers) {
        for (OutlierStatistics& o : basis) {
          o.channels_per_token = number();
          o.touched = number() / 2;
          o.importance = 1000 * number();
          for (uint32_t i = 0; i < c.widths[input]; ++i) o.counts.push_back(std::floor(9 * number()));
        }
      }
      for (auto& maxima : r.channel_maxima) {
        for (uint32_t i = 0; i < c.widths[input]; ++i) maxima.push_back(number());
      }
      for (uint32_t i = 0; i < c.widths[input]; ++i) r.weight_maxima.push_back(number());
      // Static forms cost most; rotation with a scale a token costs 1e-4.
      r.costs = {0.1f * number(), 0.05f, 0.01f * number(), 0.002f * number(), 1e-4f, 5e-5f};
    }
  }
  for (size_t form = 0; form < kForms; ++form) {
    for (const uint32_t tokens : {0u, 1u}) {
      const float kl = static_cast<Form>(form) == Form::rotated_token ? 0.001f : 0.5f;
      c.whole.push_back({static_cast<Form>(form), tokens, kl * (tokens == 0 ? 2.0f : 1.0f), 1 + kl});
    }
  }
  c.times.push_back({"cpu", 256, 2, 4, {"qkv", "ffn"}, {1e-3f, 2e-3f, 3e-3f, 4e-3f}});
  return c;
}

}  // namespace cairn::quantize
