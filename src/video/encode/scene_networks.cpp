#include "video/encode/scene_networks.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kMostFailures = 2;

class SceneNetworks {
 public:
  SceneNetworks(Clip& clip, const SmallVideo& small, const EncodeOptions& options,
                const EncodeProgress& progress, ThreadPool& pool)
      : clip_(clip), small_(small), options_(options), progress_(progress), pool_(pool) {
    const std::vector<uint64_t>& first = clip.scenes();
    for (size_t s = 0; s < first.size(); ++s)
      scenes_.push_back({first[s], s + 1 < first.size() ? first[s + 1] : clip.frames()});
  }

  void run(Overfitted& best, const ScenePrice& price) {
    if (scenes_.size() < 2 || best.restoration.networks.size() != 1) return;
    errors_.push_back(clip_.errors(small_, best.restoration));
    std::vector<size_t> serving(scenes_.size(), 0);
    std::vector<size_t> order(scenes_.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, std::greater{}, [&](size_t s) { return error_of(0, s); });
    uint32_t failures = 0, number = 0;
    for (const size_t scene : order) {
      if (best.restoration.networks.size() > options_.scenes || failures == kMostFailures) break;
      const Overfitted tried = with_another(best, scene, serving[scene], ++number);
      const double before = static_cast<double>(small_.bytes + best.attachment.size()),
                   after = static_cast<double>(small_.bytes + tried.attachment.size());
      const double gain = tried.psnr - best.psnr - price.slope * std::log(after / before);
      const bool kept =
          gain > 0 && (!price.budget || small_.bytes + tried.attachment.size() <= *price.budget);
      if (progress_.line) {
        progress_.line(fmt::format("scene at frame {}: {:+.3f} dB for {} bytes, {}", scenes_[scene].first,
                                   tried.psnr - best.psnr, after - before, kept ? "kept" : "not kept"));
      }
      if (kept) {
        best = tried;
        serving = serving_best();
      } else {
        errors_.pop_back();
        best.train_seconds = tried.train_seconds;
        ++failures;
      }
    }
  }

 private:
  double error_of(size_t network, size_t scene) const {
    const std::vector<double>& errors = errors_[network];
    return std::accumulate(errors.begin() + static_cast<ptrdiff_t>(scenes_[scene].first),
                           errors.begin() + static_cast<ptrdiff_t>(scenes_[scene].end), 0.0);
  }

  std::vector<size_t> serving_best() const {
    std::vector<size_t> serving(scenes_.size(), 0);
    for (size_t s = 0; s < scenes_.size(); ++s) {
      for (size_t n = 1; n < errors_.size(); ++n) {
        if (error_of(n, s) < error_of(serving[s], s)) serving[s] = n;
      }
    }
    return serving;
  }

  // All so far and one trained on `scene`; leaves its errors in errors_.
  Overfitted with_another(const Overfitted& so_far, size_t scene, size_t from, uint32_t number) {
    Overfitted result = so_far;
    Restoration& r = result.restoration;
    const Network start = r.networks[from];
    TrainingSet set = clip_.training_set(small_, options_.network.frames, kTrainingMemory, 0, scenes_[scene]);
    TrainJob job;
    job.what = fmt::format("scene at frame {}", scenes_[scene].first);
    job.number = number;
    job.share = kSceneShare;
    job.start = &start;
    if (!result.scores.empty()) job.sampling = harder_patches(set, result.scores, small_, scenes_[scene]);
    if (start.weight_bits != 0) job.reluctance = kSceneReluctance;
    const Trained trained = train_job(start, set, small_, job, options_, progress_, pool_);
    result.train_seconds += trained.seconds;

    Restoration alone = r;
    alone.networks.assign(1, trained.network);
    alone.segments.clear();
    errors_.push_back(clip_.errors(small_, alone));

    r.bases.resize(r.networks.size(), -1);
    r.bases.push_back(can_differ(start, trained.network) ? static_cast<int32_t>(from) : -1);
    r.architectures.insert(r.architectures.begin() + static_cast<ptrdiff_t>(r.networks.size()),
                           r.architectures.front());
    r.networks.push_back(trained.network);
    r.segments.clear();
    std::vector<double> errors;
    const std::vector<size_t> serving = serving_best();
    for (size_t s = 0; s < scenes_.size(); ++s) {
      if (s == 0 || serving[s] != serving[s - 1])
        r.segments.push_back({scenes_[s].first, static_cast<uint32_t>(serving[s])});
      const std::vector<double>& of = errors_[serving[s]];
      errors.insert(errors.end(), of.begin() + static_cast<ptrdiff_t>(scenes_[s].first),
                    of.begin() + static_cast<ptrdiff_t>(scenes_[s].end));
    }
    result.psnr = clip_.psnr_of(errors);
    result.attachment = write_attachment(r, &result.sizes);
    return result;
  }

  Clip& clip_;
  const SmallVideo& small_;
  const EncodeOptions& options_;
  const EncodeProgress& progress_;
  ThreadPool& pool_;
  std::vector<FrameRange> scenes_;
  std::vector<std::vector<double>> errors_;  // [network][frame], each network run on the whole clip
};

}  // namespace

void add_scene_networks(Clip& clip, const SmallVideo& small, Overfitted& networks, const ScenePrice& price,
                        const EncodeOptions& options, const EncodeProgress& progress, ThreadPool& pool) {
  SceneNetworks(clip, small, options, progress, pool).run(networks, price);
}

}  // namespace cairn::video
