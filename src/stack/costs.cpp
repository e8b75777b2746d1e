#include "stack/costs.hpp"

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "stack/importance.hpp"

namespace cairn::stack {

CostSums::CostSums(const gguf::File& file, const graph::Model& model, std::span<const Source> sources,
                   ThreadPool& pool)
    : file_(file),
      model_(model),
      sources_(sources),
      pool_(pool),
      vocabulary_too_(!sources.empty() && sources.back().layer == model.layers.size()),
      vocabulary_(model, pool) {
  size_t rows = 0;
  for (const Source& source : sources) rows += source.layer < model.layers.size() ? source.tensor->rows() : 0;
  rows_.resize(rows);
}

void CostSums::measure(std::span<const std::vector<text::Token>> windows, size_t first, size_t end,
                       size_t total, const std::function<void(uint64_t done, uint64_t total)>& progress) {
  if (first == end) return;
  const Differentiator::Ends ends = vocabulary_.ends();
  const RowImportance found = measure_importance(file_, model_, windows.subspan(first, end - first), pool_,
                                                 progress, vocabulary_too_ ? &ends : nullptr, first, total);
  auto row = rows_.begin();
  for (const Source& source : sources_) {
    if (source.layer == model_.layers.size()) continue;
    const auto at = std::find_if(found.begin(), found.end(),
                                 [&](const auto& tensor) { return tensor.first == source.tensor->name; });
    for (const float cost : at->second) *row++ += cost;
  }
}

std::vector<std::byte> CostSums::sums() const {
  const auto rows = std::as_bytes(std::span(rows_));
  std::vector<std::byte> bytes(rows.begin(), rows.end());
  if (vocabulary_too_) {
    const std::vector<std::byte> more = vocabulary_.sums();
    bytes.insert(bytes.end(), more.begin(), more.end());
  }
  return bytes;
}

void CostSums::add_sums(std::span<const std::byte> sums) {
  const size_t bytes = rows_.size() * sizeof(float);
  if (sums.size() < bytes || (!vocabulary_too_ && sums.size() != bytes))
    fail(ErrorCode::format, "statistics of a model of another size");
  std::vector<float> rows(rows_.size());
  if (bytes > 0) std::memcpy(rows.data(), sums.data(), bytes);
  for (size_t r = 0; r < rows.size(); ++r) rows_[r] += rows[r];
  if (vocabulary_too_) vocabulary_.add_sums(sums.subspan(bytes));
}

std::vector<float> CostSums::costs(std::span<const std::vector<text::Token>> windows) const {
  std::vector<float> costs = rows_, moments;
  for (const Source& source : sources_) {
    if (source.layer < model_.layers.size()) continue;
    const VocabularyCost cost = vocabulary_.cost(source, windows);
    costs.insert(costs.end(), cost.importance.begin(), cost.importance.end());
    moments.insert(moments.end(), cost.moments.begin(), cost.moments.end());
  }
  costs.insert(costs.end(), moments.begin(), moments.end());
  return costs;
}

}  // namespace cairn::stack
