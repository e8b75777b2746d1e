#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "video/train/parameters.hpp"
#include "video/train/training_set.hpp"

namespace cairn::video {

// All that the rest of a training depends on.
struct TrainState {
  uint32_t step = 0, steps = 0;
  uint64_t draws = 0;  // of the sampler
  double mean = 0;     // of recent errors
  std::vector<float> values, adam_mean, adam_square;
  Parameters::Rounding rounding;
};

// Of the description of a training and a part of its samples.
uint64_t hash_training(const std::string& description, const TrainingSet& set);

// Appears whole or not at all. Error io.
void write_checkpoint(const std::string& path, uint64_t fingerprint, const TrainState& state);
// None where there is no such file. Errors: format (damaged), invalid_argument (of another training).
std::optional<TrainState> read_checkpoint(const std::string& path, uint64_t fingerprint, size_t values);

}  // namespace cairn::video
