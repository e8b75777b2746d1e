#include "video/live/segment.hpp"

#include <algorithm>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/encode/patches.hpp"
#include "video/memory_file.hpp"
#include "video/restore.hpp"
#include "video/train/train.hpp"

namespace cairn::video {
namespace {

constexpr size_t kLooked = 5;        // frames on which networks are compared
constexpr double kLeastShare = 0.6;  // of the time: later no training begins
constexpr double kTooLate = 1.15;    // later networks are not compared either
constexpr double kFreshRate = 5e-3, kSameSizeRate = 2e-3, kOnwards = 0.5;
constexpr uint32_t kPatchWidth = 48, kPatchHeight = 54;

// The kept frames as they are decoded.
std::vector<Frame> decoded(const LiveSegment& segment, const LiveShape& shape, size_t threads) {
  const MemoryFile file;
  write_matroska(file.path(), segment.rates[shape.rate].video, {}, true);
  Reader reader(file.path(),
                {.threads = static_cast<int>(threads), .keep_going = true, .called = "a live segment"});
  std::vector<Frame> frames;
  Frame frame;
  for (uint64_t number = 0; frames.size() < segment.kept.size() && reader.read(frame); ++number) {
    if (number == segment.kept[frames.size()]) frames.push_back(frame);
  }
  return frames;
}

class Judge {
 public:
  Judge(const LiveSegment& segment, const LiveShape& shape, const std::vector<Frame>& frames,
        ThreadPool& pool)
      : segment_(segment), shape_(shape), frames_(frames), pool_(pool) {}

  // Mean squared error; null: no network.
  double error(const Network* network) const {
    Restoration r = bicubic_restoration(shape_.original, shape_.small, shape_.scale);
    if (network != nullptr) {
      r.networks[0] = *network;
      r.architectures[0] = shape_.network;
    }
    Restorer restorer(r, shape_.small, "a live segment", {.threads = pool_.threads()});
    Frame restored;
    double sum = 0, samples = 0;
    for (size_t i = 0; i < frames_.size(); i += std::max<size_t>(1, frames_.size() / kLooked)) {
      restorer.restore(segment_.kept[i], nullptr, frames_[i], nullptr, restored);
      sum += static_cast<double>(plane_error(restored.planes[0], segment_.originals[i]));
      samples += static_cast<double>(segment_.originals[i].samples.size());
    }
    return sum / samples;
  }

 private:
  const LiveSegment& segment_;
  const LiveShape& shape_;
  const std::vector<Frame>& frames_;
  ThreadPool& pool_;
};

// How well the small video alone serves each patch of the kept frames: those that it serves worst are trained
// on.
PatchScores scores(const LiveSegment& segment, const LiveShape& shape, const std::vector<Frame>& frames) {
  PatchScores all;
  const uint32_t width = shape.small.width, height = shape.small.height;
  for (size_t i = 0; i < frames.size(); ++i) {
    std::vector<float>& of = all.emplace_back();
    for (uint32_t top = 0; top < height; top += kPatchHeight) {
      for (uint32_t left = 0; left < width; left += kPatchWidth) {
        uint64_t sum = 0, count = 0;
        const uint32_t s = shape.scale;
        for (uint32_t y = top * s; y < std::min((top + kPatchHeight) * s, shape.original.height); ++y) {
          const uint16_t *a = segment.originals[i].row(y), *b = frames[i].planes[0].row(y / s);
          for (uint32_t x = left * s; x < std::min((left + kPatchWidth) * s, shape.original.width);
               ++x, ++count) {
            const int32_t d = static_cast<int32_t>(a[x]) - b[x / s];
            sum += static_cast<uint32_t>(d * d);
          }
        }
        of.push_back(static_cast<float>(
            to_psnr(static_cast<double>(sum) / std::max<double>(1, static_cast<double>(count)),
                    shape.original.peak())));
      }
    }
  }
  return all;
}

TrainingSet training_set(const LiveSegment& segment, const LiveShape& shape,
                         const std::vector<Frame>& frames) {
  TrainingSet set;
  set.scale = shape.scale;
  set.peak = shape.original.peak();
  set.width = shape.small.width;
  set.height = shape.small.height;
  for (size_t i = 0; i < frames.size(); ++i) {
    TrainingFrame frame;
    frame.small.push_back(frames[i].planes[0].samples);
    frame.original = extended(segment.originals[i], set.width * shape.scale, set.height * shape.scale);
    set.frames.push_back(std::move(frame));
  }
  return set;
}

SegmentNetwork overfit(const LiveSegment& segment, const LiveShape& shape, const Network* last,
                       const std::function<double()>& passed, ThreadPool& pool) {
  const Stopwatch watch;
  SegmentNetwork result;
  const auto leave_last = [&] {
    if (last == nullptr) return;
    result.from = SegmentNetwork::From::last;
    result.network = *last;
  };
  if (interrupted() || passed() > kLeastShare) {
    leave_last();
    return result;
  }
  const std::vector<Frame> frames = decoded(segment, shape, pool.threads());
  if (frames.size() != segment.kept.size() || frames.empty())
    fail(ErrorCode::format, "segment {}: {} of its {} kept frames were decoded", segment.number,
         frames.size(), segment.kept.size());
  std::optional<Trained> trained;
  if (passed() < kLeastShare) {
    TrainingSet set = training_set(segment, shape, frames);
    SmallVideo small;
    small.format = shape.small;
    TrainOptions options;
    options.weight_bits = shape.weight_bits;
    options.steps = 1u << 20;
    options.passed = [&] { return interrupted() ? 1.0 : passed(); };
    options.rate = (shape.scale == 1 ? kSameSizeRate : kFreshRate) * (last != nullptr ? kOnwards : 1);
    options.seed = segment.number;
    options.start = last;
    options.sampling = harder_patches(set, scores(segment, shape, frames), small, {0, frames.size()});
    try {
      trained = train(make_network(shape.network, shape.scale), set, options, pool);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::cancelled && error.code() != ErrorCode::numeric) throw;
    }
  }
  if (interrupted() || passed() > kTooLate) {
    leave_last();
    return result;
  }
  const Judge judge(segment, shape, frames, pool);
  result.plain = result.restored = judge.error(nullptr);
  const auto try_it = [&](const Network& network, SegmentNetwork::From from) {
    const double error = judge.error(&network);
    if (error >= result.restored) return;
    result.restored = error;
    result.from = from;
    result.network = network;
  };
  if (last != nullptr) try_it(*last, SegmentNetwork::From::last);
  if (trained) {
    result.steps = trained->steps;
    try_it(trained->network, SegmentNetwork::From::fresh);
  }
  result.seconds = watch.seconds();
  return result;
}

}  // namespace

SegmentNetwork overfit_segment(const LiveSegment& segment, const LiveShape& shape, const Network* last,
                               const std::function<double()>& passed, ThreadPool& pool) {
  try {
    return overfit(segment, shape, last, passed, pool);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::cancelled) throw;
  }
  SegmentNetwork result;
  if (last != nullptr) {
    result.from = SegmentNetwork::From::last;
    result.network = *last;
  }
  return result;
}

}  // namespace cairn::video
