#include "video/encode/patches.hpp"

#include <algorithm>
#include <numeric>

#include "video/encode/general_network.hpp"

namespace cairn::video {
namespace {

// The paper's: 20 × 10 patches of a small 960×540 frame.
constexpr uint32_t kPatchWidth = 48, kPatchHeight = 54;
constexpr uint32_t kJointChunks = 4;
constexpr float kMiddleShare = 0.5f;

}  // namespace

PatchScores score_patches(Clip& clip, const SmallVideo& small) {
  Restoration scorer = bicubic_restoration(clip.info().format, small.format, small.scale);
  scorer.networks[0] = scoring_network(small.scale);
  return clip.score_patches(small, scorer, kPatchWidth, kPatchHeight);
}

Labels label_chunks(const PatchScores& scores, const SmallVideo& small, uint32_t chunks) {
  Labels labels;
  labels.patch_width = kPatchWidth;
  labels.patch_height = kPatchHeight;
  labels.columns = (small.format.width + kPatchWidth - 1) / kPatchWidth;
  labels.rows = (small.format.height + kPatchHeight - 1) / kPatchHeight;
  std::vector<float> all;
  for (const auto& frame : scores) all.insert(all.end(), frame.begin(), frame.end());
  std::vector<size_t> order(all.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // By rank, not by borders between scores: where all patches are alike, as in black frames, borders leave
  // chunks empty.
  std::ranges::stable_sort(order, {}, [&](size_t i) { return all[i]; });
  std::vector<uint8_t> chunk(all.size());
  for (size_t rank = 0; rank < order.size(); ++rank)
    chunk[order[rank]] = static_cast<uint8_t>(rank * chunks / order.size());
  auto next = chunk.begin();
  for (const auto& frame : scores) {
    labels.frames.emplace_back(next, next + static_cast<ptrdiff_t>(frame.size()));
    next += static_cast<ptrdiff_t>(frame.size());
  }
  return labels;
}

void label_set(TrainingSet& set, const Labels& labels) {
  set.patch_width = labels.patch_width;
  set.patch_height = labels.patch_height;
  set.labels.clear();
  // The set may hold fewer frames than were labelled, evenly spread.
  const uint64_t frames = labels.frames.size(), kept = set.frames.size();
  for (uint64_t n = 0; n < frames; ++n) {
    if (n * kept / frames != (n + 1) * kept / frames) set.labels.push_back(labels.frames[n]);
  }
}

Sampling harder_patches(TrainingSet& set, const PatchScores& scores, const SmallVideo& small,
                        const FrameRange& range) {
  const auto first = scores.begin() + static_cast<ptrdiff_t>(range.first);
  label_set(set, label_chunks({first, first + static_cast<ptrdiff_t>(range.end - range.first)}, small,
                              kJointChunks));
  Sampling sampling;
  sampling.shares.assign(kJointChunks, kMiddleShare);
  sampling.shares.front() = 1;
  sampling.shares.back() = 0;
  sampling.only_these = false;  // the network serves all
  // A set of few frames of a long clip may hold none of the hardest.
  if (std::ranges::all_of(set.labels, [](const auto& frame) {
        return std::ranges::all_of(frame, [](uint8_t label) { return label != 0; });
      }))
    sampling.shares.assign(kJointChunks, 1);
  return sampling;
}

}  // namespace cairn::video
