#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/error.hpp"
#include "video/encode/checks.hpp"
#include "video/encode/plan.hpp"
#include "video/farm/job_list.hpp"

namespace cairn::video {
namespace {

constexpr uint64_t kPieces = 4;      // of the sample
constexpr int kSampleThreads = 4;    // of its encoder: a number, so that its bytes are the same everywhere
constexpr uint64_t kLeastPart = 12;  // frames

// Evenly spread over the clip; none: all of it.
std::vector<TimedRange> sample(const std::vector<int64_t>& stamps, uint64_t wanted) {
  const uint64_t frames = stamps.size(), each = std::max<uint64_t>(wanted / kPieces, 1);
  if (frames <= kPieces * each) return {{0, frames, stamps.front()}};
  std::vector<TimedRange> ranges;
  for (uint64_t p = 0; p < kPieces; ++p) {
    const uint64_t first = frames * (2 * p + 1) / (2 * kPieces) - each / 2;
    ranges.push_back({first, first + each, stamps[first]});
  }
  return ranges;
}

}  // namespace

JobList make_job_list(const std::string& input, const std::string& output, const EncodeOptions& options,
                      const PartOptions& parts, const EncodeProgress& progress, ThreadPool& pool) {
  JobList list;
  list.asked = asked_of(input, options, parts);
  list.input = std::filesystem::absolute(input).lexically_normal().string();
  list.output = std::filesystem::absolute(output).lexically_normal().string();
  list.input_check = file_check(input, list.input_bytes);
  const ReaderOptions reader{.keep_going = options.keep_going, .grey_as_420 = grey_as_420(options)};
  Clip clip(input, pool, reader);
  check_coder(clip.info(), options);
  clip.survey();
  const double rate = clip.info().mean_rate.value();
  const auto most =
      static_cast<uint64_t>(std::max<double>(kLeastPart, std::round(parts.part_seconds * rate)));
  for (const FrameRange& part : cut_parts(clip.scenes(), clip.frames(), most))
    list.parts.push_back({part.first, part.end, clip.stamps()[part.first]});

  EncodeOptions sampled = options;
  sampled.coder_threads = kSampleThreads;
  sampled.checkpoint.clear();
  const std::vector<TimedRange> ranges = sample(clip.stamps(), parts.sample_frames);
  if (progress.line) {
    progress.line(fmt::format("{} frames in {} parts; a sample of {} frames first", clip.frames(),
                              list.parts.size(), ranges.size() * (ranges[0].end - ranges[0].first)));
  }
  EncodingPlan plan = plan_encoding(Clip(input, pool, reader, ranges), sampled, progress, pool);
  list.options = options;
  list.options.mode = plan.choice.mode;
  list.options.crf = plan.choice.crf;
  list.options.target_psnr.reset();
  list.options.downscale = plan.choice.downscale;
  list.slope = plan.slope;
  list.attachment = std::move(plan.networks.attachment);
  return list;
}

}  // namespace cairn::video
