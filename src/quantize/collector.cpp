#include "quantize/collector.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace cairn::quantize {
namespace {

constexpr size_t kBlock = 32;  // tokens that a thread takes at a time

std::vector<Rotation> rotations(const std::array<uint32_t, kInputs>& widths) {
  return {widths.begin(), widths.end()};
}

size_t most_scratch(const std::vector<Rotation>& rotations) {
  size_t most = 0;
  for (const Rotation& rotation : rotations) most = std::max(most, rotation.scratch_floats());
  return most;
}

}  // namespace

Input InputOrder::next(graph::Slot slot) {
  switch (slot) {
    case graph::Slot::normed:
      last_ = last_ == Input::attention_output ? Input::gate_up : Input::qkv;
      break;
    case graph::Slot::context:
    case graph::Slot::conv:  // of layers with a recurrent state
    case graph::Slot::delta:
      last_ = Input::attention_output;
      break;
    default:
      last_ = Input::down;
  }
  return last_;
}

struct RangeCollector::Scratch {
  std::array<MagnitudeHistogram, kBases> histograms;
  std::vector<float> maxima, row, mixing;
  float largest = 0;
  bool used = false;
};

RangeCollector::RangeCollector(size_t layers, const std::array<uint32_t, kInputs>& widths, ThreadPool& pool)
    : widths_(widths),
      pool_(pool),
      rotations_(rotations(widths)),
      states_(layers * kInputs),
      scratch_(pool.threads()) {
  for (Scratch& scratch : scratch_) scratch.mixing.resize(most_scratch(rotations_));
  for (size_t i = 0; i < states_.size(); ++i) {
    for (auto& maxima : states_[i].maxima) maxima.resize(widths_[i % kInputs]);
    states_[i].largest.resize(kParts);
  }
}

RangeCollector::~RangeCollector() = default;

void RangeCollector::look(Input input, const float* rows, size_t tokens, Scratch& into) const {
  const Rotation& rotation = rotations_[static_cast<size_t>(input)];
  const size_t width = rotation.width();
  if (!into.used) into.maxima.assign(width, 0);
  into.used = true;
  for (size_t token = 0; token < tokens; ++token) {
    const float* row = rows + token * width;
    for (size_t i = 0; i < width; ++i) into.maxima[i] = std::max(into.maxima[i], std::abs(row[i]));
    for (size_t i = 0; i < width; ++i) into.histograms[static_cast<size_t>(Basis::plain)].add(row[i]);
  }
  for (size_t token = 0; token < tokens; ++token) {
    into.row.assign(rows + token * width, rows + (token + 1) * width);
    rotation.apply(into.row.data(), into.mixing.data());
    for (const float x : into.row) into.largest = std::max(into.largest, std::abs(x));
    for (const float x : into.row) into.histograms[static_cast<size_t>(Basis::rotated)].add(x);
  }
}

void RangeCollector::merge(State& state, size_t part, Scratch& from) const {
  if (!from.used) return;
  for (size_t basis = 0; basis < kBases; ++basis) {
    state.histograms[basis][part].merge(from.histograms[basis]);
    from.histograms[basis].clear();
  }
  for (size_t i = 0; i < from.maxima.size(); ++i) {
    state.maxima[part][i] = std::max(state.maxima[part][i], from.maxima[i]);
  }
  state.largest[part] = std::max(state.largest[part], from.largest);
  from.largest = 0;
  from.used = false;
}

void RangeCollector::add(size_t layer, Input input, const float* rows, size_t tokens) {
  const size_t width = widths_[static_cast<size_t>(input)];
  for (size_t i = 0; i < tokens * width; ++i) {
    if (!std::isfinite(rows[i])) {
      fail(ErrorCode::numeric, "layer {}, {}: the activations of token {} hold NaN or infinity", layer,
           name(input), i / width);
    }
  }
  State& state = states_[layer * kInputs + static_cast<size_t>(input)];
  for (size_t part = 0; part < kParts; ++part) {
    const size_t begin = std::min<size_t>(kSkips[part], tokens);
    const size_t end = part + 1 < kParts ? std::min<size_t>(kSkips[part + 1], tokens) : tokens;
    if (begin == end) continue;
    pool_.run((end - begin + kBlock - 1) / kBlock, [&](size_t thread, size_t block) {
      const size_t from = begin + block * kBlock;
      look(input, rows + from * width, std::min(kBlock, end - from), scratch_[thread]);
    });
    for (Scratch& scratch : scratch_) merge(state, part, scratch);
  }
}

void RangeCollector::add(RangeCollector& other) {
  std::vector<std::vector<uint64_t>*> counts;
  std::vector<std::vector<float>*> maxima;
  struct Gather {
    std::vector<std::vector<uint64_t>*>& counts;
    std::vector<std::vector<float>*>& maxima;
    void operator()(std::vector<uint64_t>& v) const { counts.push_back(&v); }
    void operator()(std::vector<float>& v) const { maxima.push_back(&v); }
  };
  for_each_state(Gather{counts, maxima});
  std::vector<std::vector<uint64_t>*> more_counts;
  std::vector<std::vector<float>*> more_maxima;
  other.for_each_state(Gather{more_counts, more_maxima});
  for (size_t i = 0; i < counts.size(); ++i) {
    for (size_t k = 0; k < counts[i]->size(); ++k) (*counts[i])[k] += (*more_counts[i])[k];
  }
  for (size_t i = 0; i < maxima.size(); ++i) {
    for (size_t k = 0; k < maxima[i]->size(); ++k)
      (*maxima[i])[k] = std::max((*maxima[i])[k], (*more_maxima[i])[k]);
  }
}

void RangeCollector::finish(Calibration& calibration) const {
  for (size_t i = 0; i < states_.size(); ++i) {
    const State& state = states_[i];
    InputRecord& record = calibration.layers[i / kInputs][i % kInputs];
    for (size_t skip = 0; skip < kSkips.size(); ++skip) {
      std::vector<float>& maxima = record.channel_maxima[skip];
      maxima.assign(widths_[i % kInputs], 0);
      float rotated = 0;
      for (size_t part = skip; part < kParts; ++part) {
        for (size_t c = 0; c < maxima.size(); ++c) maxima[c] = std::max(maxima[c], state.maxima[part][c]);
        rotated = std::max(rotated, state.largest[part]);
      }
      for (size_t basis = 0; basis < kBases; ++basis) {
        MagnitudeHistogram all;
        for (size_t part = skip; part < kParts; ++part) all.merge(state.histograms[basis][part]);
        Range& range = record.ranges[basis][skip];
        range.maximum = static_cast<Basis>(basis) == Basis::rotated
                            ? rotated
                            : *std::max_element(maxima.begin(), maxima.end());
        for (size_t p = 0; p < kPercentiles.size(); ++p) {
          range.percentiles[p] = std::min(range.maximum, all.percentile(kPercentiles[p]));
        }
        range.clip = all.least_error_clip(range.maximum);
      }
    }
  }
}

OutlierCollector::OutlierCollector(const Calibration& calibration, ThreadPool& pool)
    : widths_(calibration.widths),
      pool_(pool),
      rotations_(rotations(calibration.widths)),
      states_(calibration.layers.size() * kInputs) {
  for (size_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    state.counts.resize(kBases * kThresholds * widths_[i % kInputs]);
    state.touched.resize(kBases * kThresholds);
    state.seen.resize(2);
    for (size_t basis = 0; basis < kBases; ++basis) {
      state.thresholds[basis] = calibration.layers[i / kInputs][i % kInputs].ranges[basis][0].percentiles;
    }
  }
}

void OutlierCollector::add(size_t layer, Input input, const float* rows, size_t tokens) {
  const size_t width = widths_[static_cast<size_t>(input)];
  const Rotation& rotation = rotations_[static_cast<size_t>(input)];
  State& state = states_[layer * kInputs + static_cast<size_t>(input)];
  std::vector<std::atomic<uint32_t>> found(kBases * kThresholds * width);
  std::vector<std::vector<float>> rotated(pool_.threads(),
                                          std::vector<float>(width + rotation.scratch_floats()));
  const auto count = [&](size_t basis, size_t channel, float x) {
    const std::array<float, kThresholds>& thresholds = state.thresholds[basis];
    const float magnitude = std::abs(x);
    if (magnitude <= thresholds[0]) return;
    for (size_t t = 0; t < kThresholds && magnitude > thresholds[t]; ++t) {
      found[(basis * kThresholds + t) * width + channel].fetch_add(1, std::memory_order_relaxed);
    }
  };
  pool_.run((tokens + kBlock - 1) / kBlock, [&](size_t thread, size_t block) {
    float* row = rotated[thread].data();
    for (size_t token = block * kBlock; token < std::min(tokens, (block + 1) * kBlock); ++token) {
      std::copy_n(rows + token * width, width, row);
      for (size_t c = 0; c < width; ++c) count(0, c, row[c]);
      rotation.apply(row, row + width);
      for (size_t c = 0; c < width; ++c) count(1, c, row[c]);
    }
  });
  for (size_t i = 0; i < found.size(); ++i) {
    const uint32_t n = found[i].load(std::memory_order_relaxed);
    state.counts[i] += n;
    state.touched[i / width] += n > 0 ? 1 : 0;
  }
  state.seen[0] += tokens;
  ++state.seen[1];
}

void OutlierCollector::finish(Calibration& calibration) const {
  for (size_t i = 0; i < states_.size(); ++i) {
    const State& state = states_[i];
    const size_t width = widths_[i % kInputs];
    InputRecord& record = calibration.layers[i / kInputs][i % kInputs];
    for (size_t basis = 0; basis < kBases; ++basis) {
      for (size_t t = 0; t < kThresholds; ++t) {
        OutlierStatistics& out = record.outliers[basis][t];
        const auto begin = state.counts.begin() + static_cast<ptrdiff_t>((basis * kThresholds + t) * width);
        out.counts.assign(begin, begin + static_cast<ptrdiff_t>(width));
        double all = 0;
        for (const float n : out.counts) all += static_cast<double>(n);
        out.channels_per_token = static_cast<float>(all / static_cast<double>(state.seen[0]));
        out.touched = static_cast<float>(static_cast<double>(state.touched[basis * kThresholds + t]) /
                                         static_cast<double>(state.seen[1] * width));
        const Range& range = record.ranges[basis][0];
        out.importance = range.percentiles[t] > 0 ? range.maximum / (range.percentiles[t] / 127) : 0;
      }
    }
  }
}

}  // namespace cairn::quantize
