#include "stack/table_samples.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "kernels/encode.hpp"
#include "stack/moments.hpp"

namespace cairn::stack {
namespace {

constexpr uint64_t kBytes = uint64_t{640} << 20;  // of moments: their factors are then four times as large

}  // namespace

std::vector<TableSample> table_samples(std::span<const Source> sources,
                                       std::span<const std::vector<float>> importance, size_t layers,
                                       const std::function<void(const ObserveInputs&)>& observe,
                                       ThreadPool& pool,
                                       const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const auto widths = input_widths(sources);
  const uint64_t fit = kBytes / std::max<uint64_t>(MomentCollector::bytes(widths), 1);
  const size_t count = std::clamp<uint64_t>(fit, 1, std::min(kSampledLayers, layers));
  std::map<uint32_t, MomentCollector> collectors;
  for (size_t i = 0; i < count; ++i) {
    const auto layer = static_cast<uint32_t>((2 * i + 1) * layers / (2 * count));
    collectors.try_emplace(layer, layer, 1, widths, pool);
  }
  observe([&](uint32_t layer, quantize::Input input, const float* rows, size_t tokens) {
    const auto at = collectors.find(layer);
    if (at != collectors.end()) at->second.add(layer, input, rows, tokens);
  });
  std::set<std::pair<uint32_t, quantize::Input>> inputs;
  for (const Source& source : sources) {
    if (collectors.contains(source.layer)) inputs.emplace(source.layer, source.input);
  }
  std::vector<TableSample> samples;
  std::map<std::pair<uint32_t, quantize::Input>, std::shared_ptr<const Factors>> factors;
  for (size_t s = 0; s < sources.size(); ++s) {
    const Source& source = sources[s];
    const auto at = collectors.find(source.layer);
    if (at == collectors.end()) continue;
    const size_t rows = source.tensor->rows(), width = source.tensor->row_elements();
    auto& those = factors[{source.layer, source.input}];
    if (!those) {
      progress(factors.size() - 1, inputs.size());
      those = std::make_shared<Factors>(factorize(at->second.take(source.layer, source.input), width, pool));
    }
    const std::vector<float> weights = read_matrix(*source.tensor, true, pool);
    for (const size_t begin : {size_t{0}, rows / 2}) {
      const size_t taken = std::min(rows - begin, kernels::kStripRows);
      const auto of = std::span(weights).subspan(begin * width, taken * width);
      const auto worth = std::span(importance[s]).subspan(begin, taken);
      samples.push_back({{of.begin(), of.end()}, {worth.begin(), worth.end()}, those});
    }
  }
  progress(inputs.size(), inputs.size());
  return samples;
}

}  // namespace cairn::stack
