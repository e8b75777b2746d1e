#include "video/train/train.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/train/adam.hpp"
#include "video/train/checkpoint.hpp"
#include "video/train/pass.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kWarmUp = 100;
constexpr double kWarmUpByTime = 20;
constexpr int kScouts = 64;      // crops that tell how much there is to learn
constexpr uint32_t kTimed = 12;  // steps that tell how long the others will take

// A crop's side such that the head's output is a whole number of the kernels' column groups.
uint32_t crop_side(const Network& network) {
  uint32_t shrink = 0;
  for (size_t i = 1; i < network.layers.size(); ++i) shrink += network.layers[i].kernel - 1;
  uint32_t side = 3 * kernels::kTrainColumns;
  while (side < shrink + 48) side += kernels::kTrainColumns;
  return side - shrink;
}

// The root mean square of what the bicubic lacks, samples / peak, over a few crops.
double residual(const Network& shape, const TrainingSet& set, const TrainOptions& options) {
  const Network linear = make_network({Architecture::Kind::linear, 0, 0, 1}, shape.scale);
  CropSampler sampler(set, options.sampling, crop_side(shape), options.seed + 2);
  CropPass pass(linear, sampler.crop_width(), sampler.crop_height(), kernels::default_target());
  const WeightLayout layout = weight_layout(linear, false);
  const std::vector<float> zeros(layout.effective, 0.0f);
  double sum = 0;
  for (int i = 0; i < kScouts; ++i) {
    pass.load(set, sampler, sampler.draw());
    sum += pass.forward({layout.parts, zeros, 0, {}});
  }
  return std::sqrt(sum / kScouts);
}

class Trainer {
 public:
  Trainer(const Network& shape, const TrainingSet& set, const TrainOptions& options, ThreadPool& pool)
      : options_(options),
        set_(set),
        pool_(pool),
        parameters_(shape, options.wide, residual(shape, set, options), options.seed),
        adam_(parameters_.values().size()),
        sampler_(set, options.sampling, crop_side(shape), options.seed + 1),
        weights_(parameters_.effective_size()),
        sum_(parameters_.effective_size()),
        gradient_(parameters_.values().size()),
        layers_(shape.layers.size()) {
    if (options.start != nullptr) parameters_.start_from(*options.start);
    if (options.reluctance >= 0) parameters_.stay_near(*options.start, options.reluctance);
    for (uint32_t i = 0; i < options.batch; ++i) {
      passes_.push_back(std::make_unique<CropPass>(shape, sampler_.crop_width(), sampler_.crop_height(),
                                                   kernels::default_target()));
      gradients_.emplace_back(parameters_.effective_size());
    }
  }

  Trained run() {
    const Stopwatch watch;
    Stopwatch since_saved;
    uint32_t steps = options_.steps, first = 0;
    double mean = 0;
    if (!options_.checkpoint.empty()) {
      if (const auto saved = read()) {
        first = saved->step;
        steps = saved->steps;
        mean = saved->mean;
        resume(*saved);
      }
    }
    for (uint32_t step = first; step < steps; ++step) {
      if (!options_.checkpoint.empty() &&
          (interrupted() || since_saved.seconds() >= options_.checkpoint_seconds)) {
        write_checkpoint(options_.checkpoint, fingerprint(), state(step, steps, mean));
        since_saved.restart();
      }
      throw_if_interrupted();
      if (step == kTimed && first == 0 && options_.minutes > 0) {
        const double fit = options_.minutes * 60 / (watch.seconds() / kTimed);
        steps = static_cast<uint32_t>(std::clamp(fit, 200.0, static_cast<double>(options_.steps)));
      }
      const double passed = options_.passed ? options_.passed() : 0;
      if (passed >= 1) {
        steps = step;
        break;
      }
      const bool rounded =
          options_.passed ? passed >= 1 - options_.quantised_share : step >= first_quantised(steps);
      if (options_.weight_bits != 0 && parameters_.bits() == 0 && rounded) quantise();
      const double mse = descend(options_.passed ? rate_by_time(step, passed) : rate(step, steps));
      if (!std::isfinite(mse)) fail(ErrorCode::numeric, "training left the numbers at step {}", step);
      mean = step == 0 ? mse : mean + 0.02 * (mse - mean);
      if (options_.progress && (step % 20 == 19 || step + 1 == steps)) {
        options_.progress({step + 1, steps, mean, watch.seconds() / (step + 1 - first) * (steps - step - 1)});
      }
    }
    if (options_.weight_bits != 0 && parameters_.bits() == 0) quantise();
    if (!options_.checkpoint.empty())
      write_checkpoint(options_.checkpoint, fingerprint(), state(steps, steps, mean));
    return {parameters_.network(), steps, watch.seconds()};
  }

 private:
  std::optional<TrainState> read() const {
    try {
      return read_checkpoint(options_.checkpoint, fingerprint(), parameters_.values().size());
    } catch (const Error&) {
      if (!options_.forgiving) throw;
      return std::nullopt;
    }
  }
  // Of all that decides what the steps do. Minutes decide only how many there are, which the state holds.
  uint64_t fingerprint() const {
    std::string text = fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {}", options_.weight_bits,
                                   options_.minutes > 0 ? 0 : options_.steps, options_.batch, options_.rate,
                                   options_.quantised_share, options_.wide, options_.seed, set_.width,
                                   set_.height, set_.scale, set_.peak, set_.frames.size(), layers_);
    for (const float share : options_.sampling.shares) text += fmt::format(" {}", share);
    if (options_.start != nullptr) {
      text += fmt::format(" from {}", options_.reluctance);
      for (const float weight : NetworkWeights(*options_.start).effective) text += fmt::format(" {}", weight);
    }
    for (const WeightPart& part : parameters_.layout().parts)
      text += fmt::format(" {}x{} {}", part.rows, part.out, part.gain);
    return hash_training(text, set_);
  }
  TrainState state(uint32_t step, uint32_t steps, double mean) const {
    return {step,
            steps,
            draws_,
            mean,
            {parameters_.values().begin(), parameters_.values().end()},
            adam_.mean(),
            adam_.square(),
            parameters_.rounding()};
  }
  void resume(const TrainState& saved) {
    std::copy(saved.values.begin(), saved.values.end(), parameters_.values().begin());
    adam_.resume(saved.step, saved.adam_mean, saved.adam_square);
    parameters_.resume(saved.rounding);
    for (; draws_ < saved.draws; ++draws_) sampler_.draw();
  }
  CropPlace draw() {
    ++draws_;
    return sampler_.draw();
  }

  uint32_t first_quantised(uint32_t steps) const {
    return static_cast<uint32_t>(steps * (1 - options_.quantised_share));
  }

  double rate(uint32_t step, uint32_t steps) const {
    const uint32_t warm = std::min(kWarmUp, steps / 5);
    if (step < warm) return options_.rate * (step + 1) / warm;
    return options_.rate * 0.5 * (1 + std::cos(M_PI * (step - warm) / (steps - warm)));
  }

  double rate_by_time(uint32_t step, double passed) const {
    return options_.rate * std::min(1.0, (step + 1.0) / kWarmUpByTime) * 0.5 * (1 + std::cos(M_PI * passed));
  }

  // The activations' ranges are those of a few fresh crops, a little clipped by chance alone.
  void quantise() {
    parameters_.effective(weights_);
    std::vector<float> limits(layers_, 0.0f);
    for (const auto& pass : passes_) {
      pass->load(set_, sampler_, draw());
      pass->forward(parameters_.pass_weights(weights_));
      for (size_t i = 0; i < layers_; ++i) limits[i] = std::max(limits[i], pass->largest(i));
    }
    for (float& limit : limits) limit = std::max(limit, 1e-3f);
    parameters_.quantise(options_.weight_bits, limits, adam_.square());
  }

  double descend(double rate) {
    parameters_.effective(weights_);
    std::vector<CropPlace> places;
    for (size_t i = 0; i < passes_.size(); ++i) places.push_back(draw());
    std::vector<double> errors(passes_.size());
    const PassWeights weights = parameters_.pass_weights(weights_);
    pool_.run(passes_.size(), [&](size_t, size_t i) {
      std::fill(gradients_[i].begin(), gradients_[i].end(), 0.0f);
      passes_[i]->load(set_, sampler_, places[i]);
      errors[i] = passes_[i]->forward(weights);
      passes_[i]->backward(weights, gradients_[i]);
    });
    std::fill(sum_.begin(), sum_.end(), 0.0f);
    const float share = 1.0f / static_cast<float>(passes_.size());
    for (const std::vector<float>& gradient : gradients_) {
      for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += share * gradient[i];
    }
    parameters_.gradient(sum_, gradient_);
    adam_.step(parameters_.values(), gradient_, rate);
    double mse = 0;
    for (const double error : errors) mse += error / static_cast<double>(errors.size());
    return mse;
  }

  const TrainOptions& options_;
  const TrainingSet& set_;
  ThreadPool& pool_;
  Parameters parameters_;
  Adam adam_;
  CropSampler sampler_;
  std::vector<std::unique_ptr<CropPass>> passes_;
  std::vector<std::vector<float>> gradients_;  // of each crop, by the effective weights
  std::vector<float> weights_, sum_, gradient_;
  size_t layers_;
  uint64_t draws_ = 0;
};

}  // namespace

Trained train(const Network& shape, const TrainingSet& set, const TrainOptions& options, ThreadPool& pool) {
  if (options.weight_bits != 0 && (options.weight_bits < 4 || options.weight_bits > 8))
    fail(ErrorCode::invalid_argument, "{} bits a weight (4 … 8)", options.weight_bits);
  if (options.reluctance >= 0 &&
      (options.start == nullptr || options.start->weight_bits != options.weight_bits))
    fail(ErrorCode::invalid_argument, "a network is kept near one of as many bits a weight");
  if (options.start != nullptr &&
      weight_layout(*options.start, false).effective != weight_layout(shape, false).effective)
    fail(ErrorCode::invalid_argument, "training starts from a network of another shape");
  return Trainer(shape, set, options, pool).run();
}

}  // namespace cairn::video
