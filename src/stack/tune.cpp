#include "stack/tune.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <future>
#include <numbers>
#include <numeric>
#include <random>
#include <utility>

#include "base/error.hpp"
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

ScaleTuner::Worker::Worker(size_t threads, const gguf::File& source, const graph::Model& model,
                           uint32_t window, Differentiator::ReadRow read_row)
    : pool(threads, ThreadPool::Idle::sleep),
      teacher(source, model, window, pool),
      student(source, model, window, pool, std::move(read_row)) {}

ScaleTuner::ScaleTuner(const gguf::File& source, const graph::Model& model, const Layout& layout,
                       const BlockSource& read, Differentiator::Windows windows, const TuneOptions& options,
                       uint32_t threads)
    : layout_(layout), windows_(windows), options_(options) {
  const auto length = static_cast<uint32_t>(windows.front().size());
  const uint32_t workers = std::min(threads, options.batch);
  for (uint32_t i = 0; i < workers; ++i) {
    workers_.push_back(std::make_unique<Worker>(
        threads / workers, source, model, length,
        [this](const std::string& tensor, uint64_t row, float* out) { return read_row(tensor, row, out); }));
  }
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
  for (auto* values : {&changes_, &means_, &squares_}) values->assign(parameters, 0.0f);
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

double ScaleTuner::window_gradients(Worker& worker, size_t window, std::vector<float>& gradients,
                                    const Tick& tick) {
  const Differentiator::Windows text = windows_.subspan(window, 1);
  if (teachers_[window].empty()) teachers_[window] = worker.teacher.features(text, tick);
  gradients.assign(changes_.size(), 0.0f);
  // y = s (1 + change) z, so that dL/dchange = Σ dL/dy · y / (1 + change).
  const auto visit = [&](uint32_t, const graph::Op& op, const float* gradient, const float* output,
                         size_t tokens) {
    const auto found = matrices_.find(op.weight);
    if (found == matrices_.end()) return;
    const Matrix& m = layout_.matrices[found->second];
    const Codes& codes = codes_[found->second];
    worker.pool.run(op.rows, [&](size_t, size_t row) {
      const size_t stored = codes.stored[op.row_begin + row];
      const uint8_t level = (*levels_)[found->second][stored / m.rows_per_group];
      if (level > kPlanes) return;
      float sum = 0;
      for (size_t t = row * tokens; t < (row + 1) * tokens; ++t) sum += gradient[t] * output[t];
      const size_t at = parameter(codes, level, stored);
      gradients[at] += sum / (1 + changes_[at]);
    });
  };
  return worker.student.distil(text, teachers_[window], visit, tick);
}

// The mean over the batch, summed in its order: the result is the same with any number of threads.
double ScaleTuner::gradients(std::span<const size_t> batch, const Levels& levels, const Tick& tick) {
  levels_ = &levels;
  parts_.resize(std::max(parts_.size(), batch.size()));
  std::vector<double> losses(batch.size());
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  const auto work = [&](Worker& worker, const Tick& own_tick) {
    for (size_t i; (i = next++) < batch.size();)
      losses[i] = window_gradients(worker, batch[i], parts_[i], own_tick);
  };
  std::vector<std::future<void>> others;
  for (size_t i = 1; i < workers_.size(); ++i) {
    others.push_back(std::async(std::launch::async, [&, i] {
      work(*workers_[i], [&] {
        if (stop) fail(ErrorCode::cancelled, "tuning was interrupted");
      });
    }));
  }
  try {
    work(*workers_.front(), tick);
  } catch (...) {
    stop = true;
    for (const std::future<void>& other : others) other.wait();
    throw;
  }
  for (std::future<void>& other : others) other.get();
  const auto share = 1 / static_cast<float>(batch.size());
  gradients_.assign(changes_.size(), 0.0f);
  for (size_t i = 0; i < batch.size(); ++i) {
    for (size_t p = 0; p < gradients_.size(); ++p) gradients_[p] += share * parts_[i][p];
  }
  return std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(batch.size());
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
  std::vector<size_t> first(std::min(windows, windows_.size()));
  std::iota(first.begin(), first.end(), size_t{0});
  return gradients(first, levels_at(bits), {});
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
