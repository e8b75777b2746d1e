#include "stack/costs.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

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
      tokens_(model.layers.size()),
      vocabulary_(model, pool) {
  size_t rows = 0;
  for (const Source& source : sources) rows += source.layer < model.layers.size() ? source.tensor->rows() : 0;
  rows_.resize(rows);
}

void CostSums::measure(std::span<const std::vector<text::Token>> windows, size_t first, size_t end,
                       size_t total, const std::function<void(uint64_t done, uint64_t total)>& progress) {
  if (first == end) return;
  const Differentiator::Ends ends = vocabulary_.ends();
  const Importance found = measure_importance(file_, model_, windows.subspan(first, end - first), pool_,
                                              progress, vocabulary_too_ ? &ends : nullptr, first, total);
  const auto in = [](const NumbersOfTensors& all, std::string_view name) -> const std::vector<float>& {
    return std::find_if(all.begin(), all.end(), [&](const auto& tensor) { return tensor.first == name; })
        ->second;
  };
  token_costs_.assign(model_.layers.size() * quantize::kInputs, {});
  weighed_.assign(token_costs_.size(), 0);
  auto row = rows_.begin();
  for (const Source& source : sources_) {
    if (source.layer == model_.layers.size()) continue;
    for (const float cost : in(found.rows, source.tensor->name)) *row++ += cost;
    const std::vector<float>& tokens = in(found.tokens, source.tensor->name);
    std::vector<float>& sums =
        token_costs_[source.layer * quantize::kInputs + static_cast<size_t>(source.input)];
    sums.resize(tokens.size());
    for (size_t t = 0; t < tokens.size(); ++t) sums[t] += tokens[t];
  }
}

void CostSums::weigh(uint32_t layer, quantize::Input input, const float* rows, size_t tokens) {
  const size_t index = layer * quantize::kInputs + static_cast<size_t>(input);
  const std::vector<float>& costs = token_costs_[index];
  if (costs.empty()) return;
  const size_t width = input_widths(sources_)[static_cast<size_t>(input)];
  for (const double square : row_squares(rows, tokens, width))
    tokens_.add(layer, input, square, static_cast<double>(costs[weighed_[index]++]));
}

std::vector<std::byte> CostSums::sums() const {
  const auto rows = std::as_bytes(std::span(rows_));
  const auto tokens = std::as_bytes(tokens_.sums());
  std::vector<std::byte> bytes(rows.begin(), rows.end());
  bytes.insert(bytes.end(), tokens.begin(), tokens.end());
  if (vocabulary_too_) {
    const std::vector<std::byte> more = vocabulary_.sums();
    bytes.insert(bytes.end(), more.begin(), more.end());
  }
  return bytes;
}

void CostSums::add_sums(std::span<const std::byte> sums) {
  const size_t of_rows = rows_.size() * sizeof(float), bytes = of_rows + tokens_.sums().size_bytes();
  if (sums.size() < bytes || (!vocabulary_too_ && sums.size() != bytes))
    fail(ErrorCode::format, "statistics of a model of another size");
  std::vector<float> rows(rows_.size());
  std::vector<double> tokens(tokens_.sums().size());
  if (of_rows > 0) std::memcpy(rows.data(), sums.data(), of_rows);
  if (bytes > of_rows) std::memcpy(tokens.data(), sums.data() + of_rows, bytes - of_rows);
  for (size_t r = 0; r < rows.size(); ++r) rows_[r] += rows[r];
  for (size_t i = 0; i < tokens.size(); ++i) tokens_.sums()[i] += tokens[i];
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
