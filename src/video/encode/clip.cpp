#include "video/encode/clip.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/encode/memory_file.hpp"
#include "video/float_run.hpp"
#include "video/resample.hpp"

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

uint64_t plane_error(const Plane& a, const Plane& b) {
  uint64_t sum = 0;
  for (uint32_t y = 0; y < a.height; ++y) sum += row_error(a.row(y), b.row(y), a.width);
  return sum;
}

// Planes of the original at `scale` times the small size, its edges going on by repetition.
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

}  // namespace

double to_psnr(double mse, uint32_t peak) {
  return mse <= 0 ? 99.0 : std::min(99.0, 10 * std::log10(static_cast<double>(peak) * peak / mse));
}

Clip::Clip(const std::string& path, ThreadPool& pool, const std::function<void(uint64_t)>& progress)
    : path_(path), pool_(pool) {
  Reader reader(path);
  Frame frame;
  while (reader.read(frame)) {
    ++frames_;
    if (progress) progress(frames_);
    throw_if_interrupted();
  }
  info_ = reader.info();  // after the first frame: decoders know more than headers
}

SmallVideo Clip::encode(uint32_t scale, const CoderOptions& options) {
  SmallVideo small;
  small.scale = scale;
  small.crf = options.crf;
  small.format = small_format(info_.format, scale);
  Coder coder(small.format, info_, options);
  Reader reader(path_);
  Frame frame, reduced;
  while (reader.read(frame)) {
    downscale(frame, scale, Filter::bicubic, reduced, &pool_);
    reduced.pts = frame.pts;
    reduced.duration = frame.duration;
    coder.write(reduced);
  }
  small.coded = coder.finish();
  small.bytes = small.coded.bytes();
  Restoration plain;
  plain.scale = scale;
  plain.networks.push_back(make_network({Architecture::Kind::linear, 0, 0, 1}, scale));
  small.psnr = psnr(small, plain);
  return small;
}

void Clip::side_by_side(const SmallVideo& small, const Body& body) {
  const MemoryFile file;
  write_matroska(file.path(), small.coded, {}, {.audio_from = "", .in_place = true});
  Reader originals(path_), decoded(file.path());
  Frame original;
  std::array<Frame, 3> ring;
  uint64_t number = 0;
  bool more = decoded.read(ring[0]);
  if (!more) fail(ErrorCode::io, "{}: its small video decodes to nothing", path_);
  for (; more; ++number) {
    more = decoded.read(ring[(number + 1) % 3]);
    if (!originals.read(original)) break;
    const Frame& current = ring[number % 3];
    body(number, original,
         {number == 0 ? &current : &ring[(number + 2) % 3], &current,
          more ? &ring[(number + 1) % 3] : &current});
    throw_if_interrupted();
  }
  if (number != frames_) fail(ErrorCode::io, "{}: {} frames became {}", path_, frames_, number);
}

double Clip::psnr(const SmallVideo& small, const Restoration& restoration) {
  std::vector<FloatRunner> runners;
  for (const Network& network : restoration.networks) runners.emplace_back(network, true);
  const uint32_t width = info_.format.width, height = info_.format.height, peak = info_.format.peak();
  std::vector<Plane> restored(runners.size());
  double sum = 0;
  side_by_side(small, [&](uint64_t number, const Frame& original, const Triple& frames) {
    const bool patches = restoration.labels && number < restoration.labels->frames.size();
    std::vector<bool> used(runners.size(), false);
    if (patches) {
      for (const uint8_t label : restoration.labels->frames[number]) used[label] = true;
    } else {
      used[network_of(restoration, number)] = true;
    }
    for (size_t n = 0; n < runners.size(); ++n) {
      if (!used[n]) continue;
      std::vector<PlaneView> inputs{frames.current->planes[0].view()};
      if (restoration.networks[n].frames > 1) inputs.push_back(frames.previous->planes[0].view());
      if (restoration.networks[n].frames > 2) inputs.push_back(frames.next->planes[0].view());
      runners[n].run(inputs, peak, width, height, restored[n], pool_);
      if (!patches) sum += static_cast<double>(plane_error(restored[n], original.planes[0]));
    }
    if (!patches) return;
    const Labels& labels = *restoration.labels;
    const uint32_t patch_width = labels.patch_width * small.scale,
                   patch_height = labels.patch_height * small.scale;
    for (uint32_t y = 0; y < height; ++y) {
      for (uint32_t x = 0; x < width; x += patch_width) {
        const uint8_t label = labels.frames[number][y / patch_height * labels.columns + x / patch_width];
        sum += static_cast<double>(row_error(restored[label].row(y) + x, original.planes[0].row(y) + x,
                                             std::min(patch_width, width - x)));
      }
    }
  });
  return to_psnr(sum / (static_cast<double>(frames_) * width * height), peak);
}

TrainingSet Clip::training_set(const SmallVideo& small, uint32_t inputs, uint64_t bytes, size_t plane) {
  TrainingSet set;
  set.scale = small.scale;
  set.peak = info_.format.peak();
  set.width = small.format.plane_width(plane);
  set.height = small.format.plane_height(plane);
  const uint64_t pixels = static_cast<uint64_t>(set.width) * set.height,
                 each = 2 * pixels * (inputs + small.scale * small.scale) * (plane == 0 ? 1 : 2);
  const uint64_t wanted = std::clamp<uint64_t>(bytes / each, 1, frames_);
  side_by_side(small, [&](uint64_t number, const Frame& original, const Triple& frames) {
    if (number * wanted / frames_ == (number + 1) * wanted / frames_) return;
    for (size_t p = plane; p <= (plane == 0 ? 0 : 2u); ++p) {
      TrainingFrame frame;
      frame.small.push_back(frames.current->planes[p].samples);
      if (inputs > 1) frame.small.push_back(frames.previous->planes[p].samples);
      if (inputs > 2) frame.small.push_back(frames.next->planes[p].samples);
      frame.original = extended(original.planes[p], set.width * small.scale, set.height * small.scale);
      set.frames.push_back(std::move(frame));
    }
  });
  return set;
}

std::vector<std::vector<float>> Clip::score_patches(const SmallVideo& small, const Network* network,
                                                    uint32_t patch_width, uint32_t patch_height) {
  const Network bicubic = make_network({Architecture::Kind::linear, 0, 0, 1}, small.scale);
  FloatRunner runner(network == nullptr ? bicubic : *network, false);
  const uint32_t width = info_.format.width, height = info_.format.height, peak = info_.format.peak();
  const uint32_t columns = (small.format.width + patch_width - 1) / patch_width,
                 rows = (small.format.height + patch_height - 1) / patch_height;
  std::vector<std::vector<float>> scores;
  Plane restored;
  side_by_side(small, [&](uint64_t, const Frame& original, const Triple& frames) {
    runner.run({frames.current->planes[0].view()}, peak, width, height, restored, pool_);
    std::vector<float>& scored = scores.emplace_back();
    for (uint32_t p = 0; p < rows * columns; ++p) {
      const uint32_t x = p % columns * patch_width * small.scale,
                     y = p / columns * patch_height * small.scale;
      const uint32_t w = std::min(patch_width * small.scale, width - std::min(x, width)),
                     h = std::min(patch_height * small.scale, height - std::min(y, height));
      uint64_t sum = 0;
      for (uint32_t line = 0; line < h; ++line)
        sum += row_error(restored.row(y + line) + x, original.planes[0].row(y + line) + x, w);
      const double samples = std::max(1.0, static_cast<double>(w) * h);
      scored.push_back(static_cast<float>(to_psnr(static_cast<double>(sum) / samples, peak)));
    }
  });
  return scores;
}

}  // namespace cairn::video
