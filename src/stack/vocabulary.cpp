#include "stack/vocabulary.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "base/error.hpp"
#include "base/interruptible.hpp"

namespace cairn::stack {
namespace {

constexpr auto kInput = quantize::Input::qkv;  // the only one that these collectors have
constexpr double kCounted = 0.5;  // of a frequency, from the text; the rest from what the model predicts
constexpr double kEven = 0.05;    // and this much is spread over all rows

std::array<uint32_t, quantize::kInputs> only(uint32_t width) {
  std::array<uint32_t, quantize::kInputs> widths{};
  widths[static_cast<size_t>(kInput)] = width;
  return widths;
}

const graph::Op& output_of(const graph::Model& model) {
  return *std::find_if(model.head.begin(), model.head.end(),
                       [](const graph::Op& op) { return op.kind == graph::OpKind::linear; });
}

double trace(const std::vector<float>& moments, size_t width) {
  double sum = 0;
  for (size_t i = 0; i < width; ++i) sum += static_cast<double>(moments[i * width + i]);
  return sum;
}

}  // namespace

VocabularyCollector::VocabularyCollector(const graph::Model& model, ThreadPool& pool)
    : model_(model),
      pool_(pool),
      width_(static_cast<uint32_t>(model.width(graph::Slot::hidden))),
      features_(0, 1, only(width_), pool),
      gradients_(0, 1, only(width_), pool),
      mass_(output_of(model).rows) {}

void VocabularyCollector::add(MomentCollector& to, const float* columns, size_t tokens) {
  std::vector<float> rows(tokens * width_);
  run_interruptible(pool_, tokens, [&](size_t, size_t t) {
    for (size_t i = 0; i < width_; ++i) rows[t * width_ + i] = columns[i * tokens + t];
  });
  to.add(0, kInput, rows.data(), tokens);
}

Differentiator::Ends VocabularyCollector::ends() {
  return {[this](const float* x, size_t tokens) { add(features_, x, tokens); },
          [this](const graph::Op& op, const float* gradient, size_t tokens) {
            tokens_ += tokens;
            run_interruptible(pool_, op.rows, [&](size_t, size_t row) {
              double sum = 0;
              for (size_t t = 0; t < tokens; ++t) {
                const auto g = static_cast<double>(gradient[row * tokens + t]);
                const double p = g < 0 ? 1 + g : g;  // g = p, or p − 1 at the label
                sum += p * (1 - p);
              }
              mass_[row] += sum;
            });
          },
          [this](const float* g, size_t tokens) { add(gradients_, g, tokens); }};
}

std::vector<std::byte> VocabularyCollector::sums() const {
  std::vector<std::byte> bytes;
  const auto put = [&](const auto* values, size_t count) {
    const auto more = std::as_bytes(std::span(values, count));
    bytes.insert(bytes.end(), more.begin(), more.end());
  };
  put(&tokens_, 1);
  put(mass_.data(), mass_.size());
  for (const MomentCollector* moments : {&features_, &gradients_}) {
    const uint64_t tokens = moments->tokens(0, kInput);
    put(&tokens, 1);
    put(moments->sums(0, kInput).data(), moments->sums(0, kInput).size());
  }
  return bytes;
}

void VocabularyCollector::add_sums(std::span<const std::byte> sums) {
  const size_t moments = features_.sums(0, kInput).size();
  if (sums.size() != 3 * sizeof(uint64_t) + mass_.size() * sizeof(double) + 2 * moments * sizeof(float))
    fail(ErrorCode::format, "statistics of a vocabulary of another size");
  const auto take = [&](auto* values, size_t count) {
    std::memcpy(values, sums.data(), count * sizeof(*values));
    sums = sums.subspan(count * sizeof(*values));
  };
  uint64_t tokens = 0;
  take(&tokens, 1);
  tokens_ += tokens;
  std::vector<double> mass(mass_.size());
  take(mass.data(), mass.size());
  for (size_t v = 0; v < mass.size(); ++v) mass_[v] += mass[v];
  std::vector<float> upper(moments);
  for (MomentCollector* to : {&features_, &gradients_}) {
    take(&tokens, 1);
    take(upper.data(), upper.size());
    to->add_sums(0, kInput, upper, tokens);
  }
}

VocabularyCost VocabularyCollector::cost(const Source& source,
                                         std::span<const std::vector<text::Token>> windows) const {
  const size_t rows = source.tensor->rows();
  const bool head = output_of(model_).weight == source.tensor->name;
  const bool looked_up = model_.embed.front().weight == source.tensor->name;
  std::vector<double> frequency(rows), mass(rows);
  double counted = 0;
  for (const auto& window : windows) {
    for (const text::Token token : window) {
      if (static_cast<size_t>(token) < rows) frequency[static_cast<size_t>(token)] += 1;
      counted += 1;
    }
  }
  const double all = std::accumulate(mass_.begin(), mass_.end(), 0.0),
               even = kEven / static_cast<double>(rows);
  for (size_t v = 0; v < rows; ++v) {
    const double predicted = v < mass_.size() && all > 0 ? mass_[v] / all : 0;
    mass[v] = (1 - kEven) * predicted + even;
    frequency[v] = (1 - kEven) * (kCounted * frequency[v] / counted + (1 - kCounted) * predicted) + even;
  }
  VocabularyCost cost;
  cost.moments.assign(size_t{width_} * width_, 0.0f);
  double of_head = 0, of_rows = 0;
  if (head) {
    const double spread = tokens_ > 0 ? all / static_cast<double>(tokens_) : 0;  // E[Σ p(1 − p)]
    const std::vector<float> features = features_.get(0, kInput);
    of_head = spread * trace(features, width_);
    for (size_t i = 0; i < features.size(); ++i) cost.moments[i] += static_cast<float>(spread) * features[i];
  }
  if (looked_up) {
    const std::vector<float> gradients = gradients_.get(0, kInput);
    of_rows = trace(gradients, width_);
    for (size_t i = 0; i < gradients.size(); ++i) cost.moments[i] += gradients[i];
  }
  // Where nothing reaches the vocabulary (a model of zeros), its rows cost what they cost elsewhere: nothing.
  const double both = of_head + of_rows;
  for (size_t v = 0; v < rows; ++v) {
    const double worth = mass[v] * of_head + frequency[v] * of_rows;
    cost.importance.push_back(both > 0 ? static_cast<float>(worth / both) : 0);
  }
  return cost;
}

}  // namespace cairn::stack
