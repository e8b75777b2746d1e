#include "stack/costs.hpp"

#include <algorithm>

#include "stack/importance.hpp"
#include "stack/vocabulary.hpp"

namespace cairn::stack {

std::vector<float> measure_costs(const gguf::File& file, const graph::Model& model,
                                 std::span<const Source> sources,
                                 std::span<const std::vector<text::Token>> windows, size_t count,
                                 ThreadPool& pool,
                                 const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const bool any = !sources.empty() && sources.back().layer == model.layers.size();
  VocabularyCollector vocabulary(model, pool);
  const Differentiator::Ends ends = vocabulary.ends();
  const RowImportance found =
      measure_importance(file, model, windows.first(count), pool, progress, any ? &ends : nullptr);
  std::vector<float> costs, moments;
  for (const Source& source : sources) {
    if (source.layer == model.layers.size()) {
      const VocabularyCost cost = vocabulary.cost(source, windows);
      costs.insert(costs.end(), cost.importance.begin(), cost.importance.end());
      moments.insert(moments.end(), cost.moments.begin(), cost.moments.end());
      continue;
    }
    const auto at = std::find_if(found.begin(), found.end(),
                                 [&](const auto& tensor) { return tensor.first == source.tensor->name; });
    costs.insert(costs.end(), at->second.begin(), at->second.end());
  }
  costs.insert(costs.end(), moments.begin(), moments.end());
  return costs;
}

}  // namespace cairn::stack
