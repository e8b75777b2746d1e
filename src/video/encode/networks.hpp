#pragma once

#include <functional>

#include "video/encode/encode.hpp"
#include "video/encode/patches.hpp"
#include "video/train/train.hpp"

namespace cairn::video {

struct Overfitted {
  Restoration restoration;
  AttachmentSizes sizes;
  std::vector<std::byte> attachment;
  double psnr = 0;
  double train_seconds = 0;
  PatchScores scores;  // where chunks or JSTDO asked for them
};

constexpr uint64_t kTrainingMemory = 640u << 20;  // of a training set

// One training of an encoding.
struct TrainJob {
  std::string what;     // for the progress
  uint32_t number = 0;  // among the trainings for one small video: names the checkpoint
  Sampling sampling;
  const Network* start = nullptr;  // TrainOptions::start, ::reluctance
  float reluctance = -1;
  double share = 1;  // of the steps, or of the minutes, that the options give
};
Trained train_job(const Network& shape, const TrainingSet& set, const SmallVideo& small, const TrainJob& job,
                  const EncodeOptions& options, const EncodeProgress& progress, ThreadPool& pool);

// Trains what the options ask for (one network, K chunks, JSTDO, chroma) for a small video and measures it.
Overfitted overfit(Clip& clip, const SmallVideo& small, const EncodeOptions& options,
                   const EncodeProgress& progress, ThreadPool& pool);

}  // namespace cairn::video
