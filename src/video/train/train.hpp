#pragma once

#include <functional>
#include <string>

#include "base/thread_pool.hpp"
#include "video/network.hpp"
#include "video/train/training_set.hpp"

namespace cairn::video {

struct TrainProgress {
  uint32_t step = 0, steps = 0;
  double mse = 0;  // of the recent steps' crops, (samples / peak)²
  double seconds_left = 0;
};

struct TrainOptions {
  uint32_t weight_bits = 5;  // 4 … 8; 0: float weights and activations
  uint32_t steps = 3000;     // at most
  double minutes = 0;        // > 0: as many steps as fit, found from the first few
  // Of a training that a clock ends: the share of its time that has passed, which governs rate and rounding
  // in place of steps; 1 ends it. Empty: steps do.
  std::function<double()> passed;
  uint32_t batch = 8;            // crops a step
  double rate = 5e-3;            // Adam's, after 100 steps of warm-up; falls to 0 along a cosine
  double quantised_share = 0.3;  // of the steps, the last ones, with rounded weights and activations
  bool wide = true;              // Parameters' A·B
  uint64_t seed = 1;
  Sampling sampling;
  // A network of the same shape whose weights training starts from; null: random ones.
  const Network* start = nullptr;
  // ≥ 0: `start` is quantised at weight_bits and the result is to be coded as what differs from it
  // (Parameters::stay_near).
  float reluctance = -1;
  // A file that keeps the state as often as checkpoint_seconds says, so that a run that was stopped goes on
  // from there and ends with the same network. At the end it holds that, for a run that was stopped later:
  // who named it removes it. Empty: none. One of another network, set or options is an Error
  // invalid_argument, or is written over if `forgiving`.
  std::string checkpoint;
  bool forgiving = false;
  double checkpoint_seconds = 60;
  std::function<void(const TrainProgress&)> progress;  // now and then
};

struct Trained {
  Network network;
  uint32_t steps = 0;
  double seconds = 0;
};

// Overfits `shape` (a network of make_network; its weights don't matter) to the set: mean squared error,
// Adam. The result is the same for any number of threads, on processors of one instruction set. Errors:
// invalid_argument, unsupported (what it cannot train), cancelled (an interrupt; the checkpoint is written),
// numeric.
Trained train(const Network& shape, const TrainingSet& set, const TrainOptions& options, ThreadPool& pool);

}  // namespace cairn::video
