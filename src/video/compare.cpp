#include "video/compare.hpp"

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/thread_pool.hpp"
#include "video/contents.hpp"
#include "video/metrics.hpp"
#include "video/resample.hpp"
#include "video/restored_reader.hpp"
#include "video/vmaf.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kCropWidth = 480, kCropHeight = 270;

// Sums over frames.
class Meter {
 public:
  // Returns why there is no VMAF, if there is none.
  std::string open_vmaf(const Format& original, const Format& coded, size_t threads) {
    if (original != coded) return "the two differ in their chroma";
    std::string why;
    vmaf_ = Vmaf::open(coded, static_cast<unsigned>(threads), why);
    return why;
  }

  void add(const Frame& original, const Frame& other, const Picture& original_rgb, const Picture& other_rgb,
           ThreadPool& pool) {
    const double peak = original.format.peak();
    const double error = squared_error(original.planes[0], other.planes[0]);
    const auto samples = static_cast<double>(original.planes[0].samples.size());
    luma_ += error / samples;
    rgb_ += squared_error(original_rgb, other_rgb) / static_cast<double>(original_rgb.rgb.size());
    const Similarity s = similarity(original.planes[0], other.planes[0], peak, &pool);
    ssim_ += s.ssim;
    ms_ssim_ += s.ms_ssim;
    scores_.frame_psnr_y.push_back(psnr(error / samples, peak));
    peak_ = peak;
    if (vmaf_ != nullptr) vmaf_->add(original, other);
  }

  Scores scores() const {
    const auto frames = static_cast<double>(scores_.frame_psnr_y.size());
    Scores out = scores_;
    out.psnr_y = psnr(luma_ / frames, peak_);
    out.psnr_rgb = psnr(rgb_ / frames, 255);
    out.ssim_y = ssim_ / frames;
    out.ms_ssim_y = ms_ssim_ / frames;
    if (vmaf_ != nullptr) out.vmaf = vmaf_->score();
    return out;
  }

 private:
  std::unique_ptr<Vmaf> vmaf_;
  double luma_ = 0, rgb_ = 0, ssim_ = 0, ms_ssim_ = 0, peak_ = 255;
  Scores scores_;
};

// The original in the coded video's depth and chroma layout: both are compared as they are watched.
void check_formats(const Format& original, const Format& coded, const std::string& first,
                   const std::string& second) {
  if (original.width != coded.width || original.height != coded.height) {
    fail(ErrorCode::format, "{} is {}×{}, {} is {}×{}", first, original.width, original.height, second,
         coded.width, coded.height);
  }
  if (original.bits != coded.bits) {
    fail(ErrorCode::format, "{} has {} bits a sample, {} has {}", first, original.bits, second, coded.bits);
  }
}

Picture cut(const Picture& from, uint32_t left, uint32_t top, uint32_t width, uint32_t height) {
  Picture out{width, height, {}};
  for (uint32_t y = 0; y < height; ++y) {
    const uint8_t* row = from.rgb.data() + (static_cast<size_t>(top + y) * from.width + left) * 3;
    out.rgb.insert(out.rgb.end(), row, row + width * 3ul);
  }
  return out;
}

// The part of the frame where restoring changes most.
Crop make_crop(uint64_t frame, const Picture& original, const Picture& restored, const Picture& lanczos) {
  const uint32_t width = std::min(kCropWidth, original.width),
                 height = std::min(kCropHeight, original.height);
  uint32_t best_left = 0, best_top = 0;
  uint64_t best = 0;
  for (uint32_t top = 0; top + height <= original.height; top += std::max(1u, height / 2)) {
    for (uint32_t left = 0; left + width <= original.width; left += std::max(1u, width / 2)) {
      uint64_t sum = 0;
      for (uint32_t y = top; y < top + height; y += 2) {
        for (size_t i = left * 3ul; i < (left + width) * 3ul; i += 2) {
          const size_t at = static_cast<size_t>(y) * original.width * 3 + i;
          sum += static_cast<uint64_t>(std::abs(restored.rgb[at] - lanczos.rgb[at]));
        }
      }
      if (sum > best) {
        best = sum;
        best_left = left;
        best_top = top;
      }
    }
  }
  return {frame, cut(original, best_left, best_top, width, height),
          cut(restored, best_left, best_top, width, height),
          cut(lanczos, best_left, best_top, width, height)};
}

}  // namespace

Comparison compare(const std::string& original, const std::string& coded, const CompareOptions& options,
                   const std::function<void(uint64_t, uint64_t)>& progress) {
  Comparison result;
  const ReaderOptions reading{.keep_going = options.keep_going};
  RestoredReader reference(original, options.restore, reading, true),
      reader(coded, options.restore, reading, true);
  check_formats(reference.info().format, reader.info().format, original, coded);
  result.warnings = differences(original, read_contents(original), coded, read_contents(coded));
  result.bytes = count_bytes(coded);
  result.format = reader.info().format;
  result.codec = reader.info().codec;
  if (reader.file().restoration) {
    const Restoration& restoration = *reader.file().restoration;
    result.scale = restoration.scale;
    for (const Architecture& a : restoration.architectures) result.networks.push_back(a.name());
  }
  const uint64_t frames = reference.info().frames;
  ThreadPool pool(options.restore.threads == 0 ? usable_processors() : options.restore.threads,
                  ThreadPool::Idle::sleep);
  Meter restored_meter, lanczos_meter;
  result.no_vmaf = restored_meter.open_vmaf(reference.info().format, result.format, pool.threads());
  lanczos_meter.open_vmaf(reference.info().format, result.format, pool.threads());
  std::unique_ptr<RgbConverter> reference_rgb, coded_rgb;
  Frame want, have, small, stored, scaled;
  Picture want_rgb, have_rgb, scaled_rgb;
  while (options.frames == 0 || result.frames < options.frames) {
    throw_if_interrupted();
    const bool more = reference.read(want), coded_more = reader.read(have, &small);
    if (more != coded_more) {
      fail(ErrorCode::format, "{} has {} frames, {} has more", more ? coded : original, result.frames,
           more ? original : coded);
    }
    if (!more) break;
    upscale(small, result.scale, Filter::lanczos, reader.stored_format(), stored, &pool);
    reader.stand_up(stored, scaled);
    if (!reference_rgb) {
      reference_rgb = std::make_unique<RgbConverter>(want.format, reference.info().colour);
      coded_rgb = std::make_unique<RgbConverter>(have.format, reader.info().colour);
      result.patch_columns = (have.format.width + result.patch_side - 1) / result.patch_side;
      result.patch_rows = (have.format.height + result.patch_side - 1) / result.patch_side;
      result.patches.assign(static_cast<size_t>(result.patch_columns) * result.patch_rows, 0.0);
    }
    reference_rgb->convert(want, want_rgb);
    coded_rgb->convert(have, have_rgb);
    coded_rgb->convert(scaled, scaled_rgb);
    restored_meter.add(want, have, want_rgb, have_rgb, pool);
    lanczos_meter.add(want, scaled, want_rgb, scaled_rgb, pool);
    const std::vector<double> errors = patch_errors(want.planes[0], have.planes[0], result.patch_side);
    for (size_t i = 0; i < errors.size(); ++i) result.patches[i] += errors[i];
    const uint64_t middle = options.frames != 0 ? options.frames / 2 : frames / 2;
    if (options.crops && (result.frames == 0 || result.frames == middle))
      result.crops.push_back(make_crop(result.frames, want_rgb, have_rgb, scaled_rgb));
    result.seconds = static_cast<double>(want.pts + want.duration) * reference.info().time_base.value();
    ++result.frames;
    if (progress) progress(result.frames, frames);
  }
  for (const auto& notes : {reference.notes(), reader.notes()})
    result.warnings.insert(result.warnings.end(), notes.begin(), notes.end());
  result.restored = restored_meter.scores();
  result.lanczos = lanczos_meter.scores();
  for (uint32_t y = 0; y < result.patch_rows; ++y) {
    for (uint32_t x = 0; x < result.patch_columns; ++x) {
      const double width = std::min(result.patch_side, result.format.width - x * result.patch_side),
                   height = std::min(result.patch_side, result.format.height - y * result.patch_side);
      result.patches[static_cast<size_t>(y) * result.patch_columns + x] /=
          width * height * static_cast<double>(result.frames);
    }
  }
  return result;
}

}  // namespace cairn::video
