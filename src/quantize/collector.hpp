#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "quantize/calibration.hpp"
#include "quantize/histogram.hpp"

namespace cairn::quantize {

// Which linear input an observed slot is: the slots alone do not tell (phi2's feed-forward part reads the
// same `normed` as its attention), their order in a pass does.
class InputOrder {
 public:
  // Slots as offload::InputObserver hands them out.
  Input next(graph::Slot slot);

 private:
  Input last_ = Input::count;
};

// First pass: magnitudes of all inputs, in both bases, in bounded memory.
class RangeCollector {
 public:
  RangeCollector(size_t layers, const std::array<uint32_t, kInputs>& widths, ThreadPool& pool);
  ~RangeCollector();
  RangeCollector(RangeCollector&&) = delete;

  // rows: [tokens][width], a window from its first token on. Error numeric: NaN or infinity, with layer,
  // input and token.
  void add(size_t layer, Input input, const float* rows, size_t tokens);
  // What another collector of the same inputs saw.
  void add(RangeCollector& other);
  // Fills ranges and channel_maxima of every record.
  void finish(Calibration& calibration) const;

  // For checkpoints: calls visit on each piece of state, in the same order every time; visit takes
  // std::vector<uint64_t>& and std::vector<float>&.
  template <class Visit>
  void for_each_state(Visit visit) {
    for (State& s : states_) {
      for (auto& basis : s.histograms)
        for (MagnitudeHistogram& histogram : basis) visit(histogram.counts());
      for (auto& maxima : s.maxima) visit(maxima);
      visit(s.largest);
    }
  }

 private:
  // Tokens before kSkips[1], from there to kSkips[2], and from there on are kept apart.
  static constexpr size_t kParts = kSkips.size();
  struct State {
    std::array<std::array<MagnitudeHistogram, kParts>, kBases> histograms;
    std::array<std::vector<float>, kParts> maxima;  // plain, of each channel
    std::vector<float> largest;                     // rotated, [kParts]
  };
  struct Scratch;
  void look(Input input, const float* rows, size_t tokens, Scratch& into) const;
  void merge(State& state, size_t part, Scratch& from) const;

  std::array<uint32_t, kInputs> widths_;
  ThreadPool& pool_;
  std::vector<Rotation> rotations_;  // [kInputs]
  std::vector<State> states_;        // [layer][input]
  std::vector<Scratch> scratch_;     // a thread's
};

// Second pass: which channels exceed the percentiles that the first found.
class OutlierCollector {
 public:
  OutlierCollector(const Calibration& calibration, ThreadPool& pool);

  // As RangeCollector::add; one call is one window.
  void add(size_t layer, Input input, const float* rows, size_t tokens);
  // Fills outliers of every record.
  void finish(Calibration& calibration) const;

  template <class Visit>
  void for_each_state(Visit visit) {
    for (State& s : states_) {
      visit(s.counts);
      visit(s.touched);
      visit(s.seen);
    }
  }

 private:
  static constexpr size_t kThresholds = kPercentiles.size();
  struct State {
    std::vector<uint64_t> counts;   // [basis][threshold][width]
    std::vector<uint64_t> touched;  // [basis][threshold] channels, summed over windows
    std::vector<uint64_t> seen;     // tokens, windows
    std::array<std::array<float, kThresholds>, kBases> thresholds;
  };

  std::array<uint32_t, kInputs> widths_;
  ThreadPool& pool_;
  std::vector<Rotation> rotations_;
  std::vector<State> states_;
};

}  // namespace cairn::quantize
