#include "video/encode/networks.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "video/encode/general_network.hpp"

namespace cairn::video {
namespace {

// Coding errors alone are close to noise: what they teach comes through in small steps.
constexpr double kSameSizeRate = 2e-3;
constexpr double kNearRate = 0.4;  // of Adam's, for a network that shall stay near its start
constexpr uint32_t kShort = 1000;  // steps: trainings as long end as well from random weights, in fewer bytes

class Overfit {
 public:
  Overfit(Clip& clip, const SmallVideo& small, const EncodeOptions& options, const EncodeProgress& progress,
          ThreadPool& pool)
      : clip_(clip), small_(small), options_(options), progress_(progress), pool_(pool) {}

  Overfitted run() {
    result_.restoration = bicubic_restoration(clip_.info().format, small_.format, small_.scale);
    result_.restoration.networks.clear();
    result_.restoration.architectures.clear();
    TrainingSet set = clip_.training_set(small_, options_.network.frames, kTrainingMemory);
    const uint32_t chunks = options_.chunks;
    if (chunks > 1 || options_.jstdo) result_.scores = score_patches(clip_, small_);
    if (chunks > 1) {
      result_.restoration.labels = label_chunks(result_.scores, small_, chunks);
      label_set(set, *result_.restoration.labels);
      for (uint32_t c = 0; c < chunks; ++c) {
        Sampling sampling{std::vector<float>(chunks, 0.0f), true};
        sampling.shares[c] = 1;
        add(set, sampling, fmt::format("network {} of {}", c + 1, chunks));
      }
    } else {
      Sampling sampling;
      if (options_.jstdo) sampling = harder_patches(set, result_.scores, small_, {0, clip_.frames()});
      add(set, sampling, "network");
    }
    result_.psnr = clip_.psnr(small_, result_.restoration);
    if (options_.chroma && clip_.info().format.planes() == 3) add_chroma();
    result_.attachment = write_attachment(result_.restoration, &result_.sizes);
    return std::move(result_);
  }

 private:
  Trained train_one(const Network& shape, const TrainingSet& set, const Sampling& sampling,
                    const std::string& what, const Network* start = nullptr) {
    TrainJob job;
    job.start = start;
    job.what = what;
    job.number = trained_++;
    job.sampling = sampling;
    const Trained trained = train_job(shape, set, small_, job, options_, progress_, pool_);
    result_.train_seconds += trained.seconds;
    return trained;
  }

  void add(const TrainingSet& set, const Sampling& sampling, const std::string& what) {
    const Network shape = make_network(options_.network, small_.scale);
    const bool brief = options_.train_minutes == 0 && options_.train_steps < kShort;
    const bool general = options_.start == Start::general || (options_.start == Start::automatic && brief);
    const Network* start = general ? general_network(options_.network, small_.scale) : nullptr;
    result_.restoration.networks.push_back(train_one(shape, set, sampling, what, start).network);
    result_.restoration.architectures.push_back(options_.network);
  }

  void add_chroma() {
    const Architecture architecture{Architecture::Kind::chain, 4, 2, 1};
    const TrainingSet set = clip_.training_set(small_, 1, kTrainingMemory, 1);
    Network shape = make_network(architecture, small_.scale);
    shape.plane = Network::Plane::chroma;
    result_.restoration.chroma = train_one(shape, set, {}, "chroma").network;
    result_.restoration.architectures.push_back(architecture);
  }

  Clip& clip_;
  const SmallVideo& small_;
  const EncodeOptions& options_;
  const EncodeProgress& progress_;
  ThreadPool& pool_;
  Overfitted result_;
  uint32_t trained_ = 0;
};

}  // namespace

Trained train_job(const Network& shape, const TrainingSet& set, const SmallVideo& small, const TrainJob& job,
                  const EncodeOptions& options, const EncodeProgress& progress, ThreadPool& pool) {
  TrainOptions train_options;
  train_options.weight_bits = options.weight_bits;
  train_options.steps = std::max(1u, static_cast<uint32_t>(options.train_steps * job.share));
  train_options.minutes = options.train_minutes * job.share;
  if (options.train_minutes > 0) train_options.steps = 1u << 20;
  train_options.seed = options.seed + job.number;
  train_options.sampling = job.sampling;
  train_options.start = job.start;
  train_options.reluctance = job.reluctance;
  if (small.scale == 1) train_options.rate = kSameSizeRate;
  if (job.reluctance >= 0) train_options.rate *= kNearRate;
  if (!options.checkpoint.empty()) {
    train_options.checkpoint = fmt::format("{}.x{}-{:g}-{}.{}", options.checkpoint, small.scale, small.crf,
                                           name(small.filter), job.number);
    train_options.forgiving = options.forgiving;
  }
  const uint32_t peak = set.peak;
  train_options.progress = [&](const TrainProgress& p) {
    if (!progress.share) return;
    progress.share(fmt::format("x{} {}: step {} of {}, {:.2f} dB", small.scale, job.what, p.step, p.steps,
                               to_psnr(p.mse * peak * peak, peak)),
                   static_cast<double>(p.step) / p.steps, p.seconds_left);
  };
  return train(shape, set, train_options, pool);
}

Overfitted overfit(Clip& clip, const SmallVideo& small, const EncodeOptions& options,
                   const EncodeProgress& progress, ThreadPool& pool) {
  return Overfit(clip, small, options, progress, pool).run();
}

}  // namespace cairn::video
