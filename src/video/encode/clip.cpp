#include "video/encode/clip.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/encode/scenes.hpp"
#include "video/memory_file.hpp"
#include "video/resample.hpp"
#include "video/restore.hpp"

namespace cairn::video {
namespace {

// The sum of squared differences of two rows.
uint64_t row_error(const uint16_t* a, const uint16_t* b, uint32_t width) {
  uint64_t sum = 0;
  for (uint32_t x = 0; x < width; ++x) {
    const int32_t d = static_cast<int32_t>(a[x]) - b[x];
    sum += static_cast<uint32_t>(d * d);
  }
  return sum;
}

}  // namespace

uint64_t plane_error(const Plane& a, const Plane& b) {
  uint64_t sum = 0;
  for (uint32_t y = 0; y < a.height; ++y) sum += row_error(a.row(y), b.row(y), a.width);
  return sum;
}

std::vector<uint16_t> extended(const Plane& plane, uint32_t width, uint32_t height) {
  std::vector<uint16_t> out(static_cast<size_t>(width) * height);
  for (uint32_t y = 0; y < height; ++y) {
    const uint16_t* from = plane.row(std::min(y, plane.height - 1));
    uint16_t* to = out.data() + static_cast<size_t>(y) * width;
    const uint32_t inside = std::min(width, plane.width);
    std::copy_n(from, inside, to);
    std::fill(to + inside, to + width, from[plane.width - 1]);
  }
  return out;
}

double to_psnr(double mse, uint32_t peak) {
  return mse <= 0 ? 99.0 : std::min(99.0, 10 * std::log10(static_cast<double>(peak) * peak / mse));
}

Restoration bicubic_restoration(const Format& original, const Format& small, uint32_t scale) {
  Restoration restoration;
  restoration.width = original.width;
  restoration.height = original.height;
  restoration.small_width = small.width;
  restoration.small_height = small.height;
  restoration.scale = scale;
  const Architecture linear{Architecture::Kind::linear, 0, 0, 1};
  Network network = make_network(linear, scale);
  network.weight_bits = 5;
  network.skip_codes.assign(network.skip.size(), 0);
  network.skip_scales.assign(static_cast<size_t>(scale) * scale, 0.0f);
  restoration.networks.push_back(std::move(network));
  restoration.architectures.push_back(linear);
  return restoration;
}

Clip::Clip(const std::string& path, ThreadPool& pool, const ReaderOptions& options,
           std::vector<TimedRange> ranges)
    : path_(path), pool_(pool), options_(options), ranges_(std::move(ranges)) {
  const RestoredReader reader = open();
  info_ = reader.info();
  restored_ = reader.file().restoration.has_value();
  for (const TimedRange& range : ranges_) frames_ += range.end - range.first;
  if (!ranges_.empty()) scenes_ = {0};
}

RestoredReader Clip::open() const {
  ReaderOptions options = options_;
  options.threads = static_cast<int>(pool_.threads());
  RestoredReader reader(path_, {.threads = pool_.threads()}, options);
  reader.only(ranges_);
  return reader;
}

void Clip::survey(const std::function<void(uint64_t)>& progress) {
  RestoredReader reader = open();
  Frame frame;
  SceneFinder finder;
  frames_ = 0;
  stamps_.clear();
  while (reader.read(frame)) {
    ++frames_;
    stamps_.push_back(frame.pts);
    finder.add(frame);
    if (progress) progress(frames_);
    throw_if_interrupted();
  }
  scenes_ = finder.scenes();
  notes_ = reader.notes();
}

SmallVideo Clip::encode(uint32_t scale, const CoderOptions& options, Filter filter) {
  SmallVideo small;
  small.scale = scale;
  small.crf = options.crf;
  small.filter = filter;
  small.format = small_format(info_.format, scale);
  VideoInfo info = info_;
  if (scale > 1) info.fields = Fields::progressive;  // the filter mixes them
  Coder coder(small.format, info, options);
  RestoredReader reader = open();
  Frame frame, reduced;
  while (reader.read(frame)) {
    downscale(frame, scale, filter, reduced, &pool_);
    reduced.pts = frame.pts;
    reduced.duration = frame.duration;
    coder.write(reduced);
  }
  small.coded = coder.finish();
  measure(small);
  return small;
}

void Clip::measure(SmallVideo& small) {
  const MemoryFile file;  // as Matroska has it: its form of the codec's header is longer than the encoder's
  write_matroska(file.path(), small.coded, {}, true);
  small.bytes = count_bytes(file.path()).video;
  small.psnr = psnr(small, bicubic_restoration(info_.format, small.format, small.scale));
}

void Clip::side_by_side(const SmallVideo& small, const Body& body, std::optional<uint64_t> end) {
  const MemoryFile file;
  write_matroska(file.path(), small.coded, {}, true);
  RestoredReader originals = open();
  Reader decoded(file.path(), {.threads = static_cast<int>(pool_.threads()),
                               .keep_going = true,
                               .grey_as_420 = options_.grey_as_420,
                               .called = path_});
  Frame original;
  std::array<Frame, 3> ring;
  uint64_t number = 0;
  bool more = decoded.read(ring[0]);
  if (!more) fail(ErrorCode::io, "{}: its small video decodes to nothing", path_);
  for (; more && number < end.value_or(frames_ + 1); ++number) {
    more = decoded.read(ring[(number + 1) % 3]);
    if (!originals.read(original)) break;
    const Frame& current = ring[number % 3];
    body(number, original,
         {number == 0 ? &current : &ring[(number + 2) % 3], &current,
          more ? &ring[(number + 1) % 3] : &current});
    throw_if_interrupted();
  }
  if (number != end.value_or(frames_)) fail(ErrorCode::io, "{}: {} frames became {}", path_, frames_, number);
}

std::vector<double> Clip::errors(const SmallVideo& small, const Restoration& restoration) {
  Restorer restorer(restoration, small.format, path_, {.threads = pool_.threads()});
  Frame restored;
  const double samples = static_cast<double>(info_.format.width) * info_.format.height;
  std::vector<double> errors;
  side_by_side(small, [&](uint64_t number, const Frame& original, const Triple& frames) {
    restorer.restore(number, frames.previous, *frames.current, frames.next, restored);
    errors.push_back(static_cast<double>(plane_error(restored.planes[0], original.planes[0])) / samples);
  });
  return errors;
}

double Clip::psnr_of(const std::vector<double>& errors) const {
  double sum = 0;
  for (const double error : errors) sum += error;
  return to_psnr(sum / static_cast<double>(errors.size()), info_.format.peak());
}

double Clip::psnr(const SmallVideo& small, const Restoration& restoration) {
  return psnr_of(errors(small, restoration));
}

TrainingSet Clip::training_set(const SmallVideo& small, uint32_t inputs, uint64_t bytes, size_t plane,
                               std::optional<FrameRange> range) {
  const FrameRange used = range.value_or(FrameRange{0, frames_});
  TrainingSet set;
  set.scale = small.scale;
  set.peak = info_.format.peak();
  set.width = small.format.plane_width(plane);
  set.height = small.format.plane_height(plane);
  const uint64_t pixels = static_cast<uint64_t>(set.width) * set.height, count = used.end - used.first,
                 each = 2 * pixels * (inputs + small.scale * small.scale) * (plane == 0 ? 1 : 2);
  const uint64_t wanted = std::clamp<uint64_t>(bytes / each, 1, count);
  side_by_side(
      small,
      [&](uint64_t number, const Frame& original, const Triple& frames) {
        if (number < used.first) return;
        const uint64_t n = number - used.first;
        if (n * wanted / count == (n + 1) * wanted / count) return;
        for (size_t p = plane; p <= (plane == 0 ? 0 : 2u); ++p) {
          TrainingFrame frame;
          frame.small.push_back(frames.current->planes[p].samples);
          if (inputs > 1) frame.small.push_back(frames.previous->planes[p].samples);
          if (inputs > 2) frame.small.push_back(frames.next->planes[p].samples);
          frame.original = extended(original.planes[p], set.width * small.scale, set.height * small.scale);
          set.frames.push_back(std::move(frame));
        }
      },
      used.end);
  return set;
}

std::vector<std::vector<float>> Clip::score_patches(const SmallVideo& small, const Restoration& by,
                                                    uint32_t patch_width, uint32_t patch_height) {
  const uint32_t width = info_.format.width, height = info_.format.height, peak = info_.format.peak();
  const uint32_t columns = (small.format.width + patch_width - 1) / patch_width,
                 rows = (small.format.height + patch_height - 1) / patch_height;
  std::vector<std::vector<float>> scores;
  Restorer restorer(by, small.format, path_, {.threads = pool_.threads()});
  Frame restored;
  side_by_side(small, [&](uint64_t number, const Frame& original, const Triple& frames) {
    restorer.restore(number, frames.previous, *frames.current, frames.next, restored);
    const Plane &got = restored.planes[0], &wanted = original.planes[0];
    std::vector<float>& scored = scores.emplace_back();
    for (uint32_t p = 0; p < rows * columns; ++p) {
      const uint32_t x = std::min(p % columns * patch_width * small.scale, width),
                     y = std::min(p / columns * patch_height * small.scale, height);
      const uint32_t w = std::min(patch_width * small.scale, width - x),
                     h = std::min(patch_height * small.scale, height - y);
      uint64_t sum = 0;
      for (uint32_t line = y; line < y + h; ++line)
        sum += row_error(got.row(line) + x, wanted.row(line) + x, w);
      scored.push_back(
          static_cast<float>(to_psnr(static_cast<double>(sum) / std::max(1.0, double{1} * w * h), peak)));
    }
  });
  return scores;
}

}  // namespace cairn::video
