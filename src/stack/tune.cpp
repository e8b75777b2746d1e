#include "stack/tune.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "stack/plane_blocks.hpp"

namespace cairn::stack {
namespace {

// Neighbours in time are far apart in size, so that no level waits long for its turn.
constexpr std::array<double, 12> kBudgets = {2, 4, 1.6, 3, 5, 2.5, 3.5, 1.8, 6.5, 2.25, 4.5, 2.75};
constexpr uint32_t kWarmUp = 10;
constexpr float kMeanDecay = 0.9f, kSquareDecay = 0.95f, kEpsilon = 1e-10f;

// `count` different windows of `total`, the same for the same step.
std::vector<size_t> draw(size_t total, size_t count, uint32_t step) {
  std::mt19937_64 random(step + 1);
  std::vector<size_t> chosen;
  while (chosen.size() < std::min(count, total)) {
    const size_t window = random() % total;
    if (std::find(chosen.begin(), chosen.end(), window) == chosen.end()) chosen.push_back(window);
  }
  return chosen;
}

}  // namespace

ScaleTuner::ScaleTuner(const gguf::File& source, const graph::Model& model, const Layout& layout,
                       const BlockSource& read, Differentiator::Windows windows, const TuneOptions& options,
                       ThreadPool& pool)
    : layout_(layout),
      windows_(windows),
      options_(options),
      pool_(pool),
      teacher_(source, model, static_cast<uint32_t>(windows.front().size()), pool),
      student_(source, model, static_cast<uint32_t>(windows.front().size()), pool,
               [this](const std::string& tensor, uint64_t row, float* out) {
                 return read_row(tensor, row, out);
               }) {
  const uint64_t window_bytes = uint64_t{model.parameters.embedding} * windows.front().size() * sizeof(float);
  windows_ = windows.first(std::clamp<size_t>(options.teacher_bytes / window_bytes, 1, windows.size()));
  teachers_.resize(windows_.size());
  size_t parameters = 0;
  for (uint32_t i = 0; i < layout.matrices.size(); ++i) {
    const Matrix& m = layout.matrices[i];
    matrices_[m.name] = i;
    Codes codes{std::vector<uint8_t>(size_t{m.rows} * m.columns), std::vector<uint32_t>(m.rows),
                std::vector<float>(size_t{m.rows} * kPlanes), parameters, quantize::Rotation(m.columns)};
    for (uint32_t stored = 0; stored < m.rows; ++stored) codes.stored[m.permutation[stored]] = stored;
    parameters += codes.scales.size();
    codes_.push_back(std::move(codes));
  }
  std::vector<std::byte> bytes;
  std::vector<uint16_t> scales;
  for (size_t i = 0; i < layout.blocks.size(); ++i) {
    const Block& block = layout.blocks[i];
    if (block.level > kPlanes) continue;
    const Matrix& m = layout.matrices[block.matrix];
    const size_t begin = m.group_begin(block.group), rows = m.group_rows(block.group);
    bytes.resize(block.bytes);
    read(i, bytes);
    scales.resize(rows);
    Codes& codes = codes_[block.matrix];
    unpack_planes(bytes, m.columns, block.level, scales,
                  std::span(codes.codes).subspan(begin * m.columns, rows * m.columns));
    std::transform(scales.begin(), scales.end(),
                   codes.scales.begin() + static_cast<ptrdiff_t>((block.level - 1) * size_t{m.rows} + begin),
                   from_half);
  }
  for (const double bits : kBudgets) prefixes_.push_back(levels_at(bits));
  for (auto* values : {&changes_, &means_, &squares_, &gradients_}) values->assign(parameters, 0.0f);
}

ScaleTuner::Levels ScaleTuner::levels_at(double bits) const {
  Levels levels;
  for (const Matrix& m : layout_.matrices) levels.emplace_back(m.groups(), uint8_t{1});
  const double most = bits / 8 * static_cast<double>(layout_.parameters());
  double bytes = 0;
  for (const Block& block : layout_.blocks) {
    bytes += static_cast<double>(padded(block.bytes));
    if (bytes > most && block.level > 1) break;
    levels[block.matrix][block.group] = block.level;
  }
  return levels;
}

bool ScaleTuner::read_row(const std::string& tensor, uint64_t row, float* out) const {
  const auto found = matrices_.find(tensor);
  if (found == matrices_.end()) return false;
  const Matrix& m = layout_.matrices[found->second];
  const Codes& codes = codes_[found->second];
  const size_t stored = codes.stored[row];
  const uint8_t level = (*levels_)[found->second][stored / m.rows_per_group];
  if (level > kPlanes) return false;
  const int8_t* const table = layout_.tables.data() + table_offset(level);
  const float scale =
      codes.scales[(level - 1) * size_t{m.rows} + stored] * (1 + changes_[parameter(codes, level, stored)]);
  const uint8_t* const from = codes.codes.data() + stored * m.columns;
  for (size_t c = 0; c < m.columns; ++c)
    out[c] = scale * static_cast<float>(table[from[c] >> (kPlanes - level)]);
  if (m.rotated) codes.rotation.apply_inverse(out);
  return true;
}

const Differentiator::Buffer& ScaleTuner::teacher(size_t window, const std::function<void()>& tick) {
  if (teachers_[window].empty()) teachers_[window] = teacher_.features(windows_.subspan(window, 1), tick);
  return teachers_[window];
}

double ScaleTuner::gradients(std::span<const size_t> batch, const Levels& levels,
                             const std::function<void()>& tick) {
  const size_t window = windows_.front().size(), tokens = batch.size() * window;
  std::vector<std::vector<text::Token>> texts;
  Differentiator::Buffer wanted;
  for (size_t i = 0; i < batch.size(); ++i) {
    const Differentiator::Buffer& features = teacher(batch[i], tick);
    wanted.resize(features.size() / window * tokens);
    for (size_t row = 0; row < features.size() / window; ++row) {
      std::copy_n(features.begin() + static_cast<ptrdiff_t>(row * window), window,
                  wanted.begin() + static_cast<ptrdiff_t>(row * tokens + i * window));
    }
    texts.push_back(windows_[batch[i]]);
  }
  std::fill(gradients_.begin(), gradients_.end(), 0.0f);
  levels_ = &levels;
  // y = s (1 + change) z, so that dL/dchange = Σ dL/dy · y / (1 + change).
  const auto visit = [&](uint32_t, const graph::Op& op, const float* gradient, const float* output, size_t) {
    const auto found = matrices_.find(op.weight);
    if (found == matrices_.end()) return;
    const Matrix& m = layout_.matrices[found->second];
    const Codes& codes = codes_[found->second];
    pool_.run(op.rows, [&](size_t, size_t row) {
      const size_t stored = codes.stored[op.row_begin + row];
      const uint8_t level = levels[found->second][stored / m.rows_per_group];
      if (level > kPlanes) return;
      float sum = 0;
      for (size_t t = 0; t < tokens; ++t) sum += gradient[row * tokens + t] * output[row * tokens + t];
      const size_t at = parameter(codes, level, stored);
      gradients_[at] += sum / (1 + changes_[at]);
    });
  };
  return student_.distil(texts, wanted, visit, tick);
}

double ScaleTuner::advance(const std::function<void()>& tick) {
  const double loss =
      gradients(draw(windows_.size(), options_.batch, step_), prefixes_[step_ % prefixes_.size()], tick);
  const float progress = static_cast<float>(step_) / static_cast<float>(options_.steps);
  const float rate = options_.rate * std::min(1.0f, static_cast<float>(step_ + 1) / kWarmUp) * 0.5f *
                     (1 + std::cos(std::numbers::pi_v<float> * progress));
  ++step_;
  const float mean_bias = 1 - std::pow(kMeanDecay, static_cast<float>(step_));
  const float square_bias = 1 - std::pow(kSquareDecay, static_cast<float>(step_));
  for (size_t i = 0; i < changes_.size(); ++i) {
    const float g = gradients_[i];
    means_[i] += (1 - kMeanDecay) * (g - means_[i]);
    squares_[i] += (1 - kSquareDecay) * (g * g - squares_[i]);
    changes_[i] -= rate * means_[i] / mean_bias / (std::sqrt(squares_[i] / square_bias) + kEpsilon);
  }
  return loss;
}

double ScaleTuner::measure(double bits, size_t windows) {
  double sum = 0;
  const Levels levels = levels_at(bits);
  windows = std::min(windows, windows_.size());
  for (size_t i = 0; i < windows; ++i) sum += gradients(std::array{i}, levels, {});
  return sum / static_cast<double>(windows);
}

std::vector<std::byte> ScaleTuner::state() const {
  std::vector<std::byte> bytes(sizeof(step_) + 3 * changes_.size() * sizeof(float));
  std::memcpy(bytes.data(), &step_, sizeof(step_));
  std::byte* to = bytes.data() + sizeof(step_);
  for (const auto* values : {&changes_, &means_, &squares_}) {
    std::memcpy(to, values->data(), values->size() * sizeof(float));
    to += values->size() * sizeof(float);
  }
  return bytes;
}

void ScaleTuner::restore(std::span<const std::byte> state) {
  std::memcpy(&step_, state.data(), sizeof(step_));
  const std::byte* from = state.data() + sizeof(step_);
  for (auto* values : {&changes_, &means_, &squares_}) {
    std::memcpy(values->data(), from, values->size() * sizeof(float));
    from += values->size() * sizeof(float);
  }
}

void ScaleTuner::apply(const Block& block, std::span<std::byte> bytes) const {
  if (block.level > kPlanes) return;
  const Matrix& m = layout_.matrices[block.matrix];
  const Codes& codes = codes_[block.matrix];
  std::vector<uint16_t> scales(m.group_rows(block.group));
  for (size_t i = 0; i < scales.size(); ++i) {
    const size_t stored = m.group_begin(block.group) + i;
    scales[i] = to_half(codes.scales[(block.level - 1) * size_t{m.rows} + stored] *
                        (1 + changes_[parameter(codes, block.level, stored)]));
  }
  std::memcpy(bytes.data(), scales.data(), scales.size() * sizeof(uint16_t));
}

}  // namespace cairn::stack
