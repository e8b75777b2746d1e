#include "stack/tune.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <numeric>
#include <random>
#include <utility>

#include "base/error.hpp"
#include "base/half.hpp"
#include "stack/distillation.hpp"
#include "stack/plane_blocks.hpp"

namespace cairn::stack {
namespace {

// Neighbours in time are far apart in size, so that no level waits long for its turn. 6.25 bits and the whole
// take turns.
constexpr double kWhole = std::numeric_limits<double>::infinity();
constexpr std::array<double, 24> kBudgets = {2, 4, 1.6, 3, 5, 2.5, 3.5, 1.8, 6.25,   2.25, 4.5, 2.75,
                                             2, 4, 1.6, 3, 5, 2.5, 3.5, 1.8, kWhole, 2.25, 4.5, 2.75};
constexpr uint32_t kWarmUp = 10;
// From this level on a scale moves half as far with each further one: what a scale may be off is a share of
// the error of its level's values.
constexpr int kFullPace = 4;
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
                       const BlockSource& read, Windows windows, const TuneOptions& options, uint32_t threads)
    : layout_(layout), options_(options) {
  const uint64_t window_bytes = uint64_t{model.parameters.embedding} * windows.front().size() * sizeof(float);
  windows_ = windows.first(std::clamp<size_t>(options.teacher_bytes / window_bytes, 1, windows.size()));
  size_t parameters = 0;
  for (const Matrix& m : layout.matrices) {
    CodedMatrix coded{m.name,
                      m.rows,
                      m.columns,
                      m.rows_per_group,
                      m.rotated,
                      std::vector<uint8_t>(size_t{m.rows} * m.columns),
                      std::vector<uint32_t>(m.rows),
                      std::vector<float>(size_t{m.rows} * kPlanes),
                      parameters};
    for (uint32_t stored = 0; stored < m.rows; ++stored) coded.stored[m.permutation[stored]] = stored;
    parameters += coded.scales.size();
    matrices_.push_back(std::move(coded));
  }
  read_codes(read);
  for (const double bits : kBudgets) prefixes_.push_back(levels_at(bits));
  for (auto* values : {&changes_, &means_, &squares_, &gradients_}) values->assign(parameters, 0.0f);
  const Distillation distillation{source, model, layout, matrices_, windows_};
  if (options.on != TuneOn::cpu) distiller_ = make_torch_distiller(distillation, options.on, threads);
  if (distiller_ == nullptr) distiller_ = make_cpu_distiller(distillation, threads, options.batch);
}

void ScaleTuner::read_codes(const BlockSource& read) {
  std::vector<std::byte> bytes;
  std::vector<uint16_t> scales;
  for (size_t i = 0; i < layout_.blocks.size(); ++i) {
    const Block& block = layout_.blocks[i];
    const Matrix& m = layout_.matrices[block.matrix];
    if (block.level > m.planes) continue;
    const size_t begin = m.group_begin(block.group), rows = m.group_rows(block.group);
    bytes.resize(block.bytes);
    read(i, bytes);
    scales.resize(rows);
    CodedMatrix& coded = matrices_[block.matrix];
    unpack_planes(bytes, m.columns, block.level, scales,
                  std::span(coded.codes).subspan(begin * m.columns, rows * m.columns));
    std::transform(scales.begin(), scales.end(),
                   coded.scales.begin() + static_cast<ptrdiff_t>((block.level - 1) * size_t{m.rows} + begin),
                   from_half);
  }
}

Levels ScaleTuner::levels_at(double bits) const {
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

double ScaleTuner::advance(const Distiller::Tick& tick) {
  const std::vector<size_t> batch = draw(windows_.size(), options_.batch, step_);
  const double loss =
      distiller_->gradients({batch, prefixes_[step_ % prefixes_.size()], changes_}, gradients_, tick);
  const float progress = static_cast<float>(step_) / static_cast<float>(options_.steps);
  const float rate = options_.rate * std::min(1.0f, static_cast<float>(step_ + 1) / kWarmUp) * 0.5f *
                     (1 + std::cos(std::numbers::pi_v<float> * progress));
  ++step_;
  const float mean_bias = 1 - std::pow(kMeanDecay, static_cast<float>(step_));
  const float square_bias = 1 - std::pow(kSquareDecay, static_cast<float>(step_));
  for (const CodedMatrix& m : matrices_) {
    for (uint8_t level = 1; level <= kPlanes; ++level) {
      const float pace = rate * std::min(1.0f, std::ldexp(1.0f, kFullPace - level));
      for (size_t i = m.parameter(level, 0); i < m.parameter(level, m.rows); ++i) {
        const float g = gradients_[i];
        means_[i] += (1 - kMeanDecay) * (g - means_[i]);
        squares_[i] += (1 - kSquareDecay) * (g * g - squares_[i]);
        changes_[i] -= pace * means_[i] / mean_bias / (std::sqrt(squares_[i] / square_bias) + kEpsilon);
      }
    }
  }
  return loss;
}

double ScaleTuner::measure(double bits, size_t windows) {
  std::vector<size_t> first(std::min(windows, windows_.size()));
  std::iota(first.begin(), first.end(), size_t{0});
  return distiller_->gradients({first, levels_at(bits), changes_}, gradients_, {});
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
  const Matrix& m = layout_.matrices[block.matrix];
  if (block.level > m.planes) return;
  const CodedMatrix& coded = matrices_[block.matrix];
  std::vector<uint16_t> scales(m.group_rows(block.group));
  for (size_t i = 0; i < scales.size(); ++i) {
    const size_t stored = m.group_begin(block.group) + i;
    scales[i] = to_half(coded.scales[(block.level - 1) * size_t{m.rows} + stored] *
                        (1 + changes_[coded.parameter(block.level, stored)]));
  }
  std::memcpy(bytes.data(), scales.data(), scales.size() * sizeof(uint16_t));
}

}  // namespace cairn::stack
