#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "video/attachment.hpp"
#include "video/coder.hpp"
#include "video/container.hpp"
#include "video/reader.hpp"
#include "video/resample.hpp"
#include "video/restored_reader.hpp"
#include "video/train/training_set.hpp"

namespace cairn::video {

// A small video, coded, and how well the bicubic restores it.
struct SmallVideo {
  uint32_t scale = 1;
  double crf = 0;
  Filter filter = Filter::bicubic;  // that made it small
  Format format;
  CodedVideo coded;
  uint64_t bytes = 0;
  double psnr = 0;  // of luma, dB, bicubic (scale 1: as it is)
};

struct FrameRange {
  uint64_t first = 0, end = 0;
};

// The original, read as often as needed (frames are not kept), and what is done with all of them.
class Clip {
 public:
  // A cairn video's restored frames are the original's. Errors: Reader's.
  // ranges: the clip is these frames of the file, one range after the other; empty: all.
  Clip(const std::string& path, ThreadPool& pool, const ReaderOptions& options = {},
       std::vector<TimedRange> ranges = {});
  // Reads the whole clip once: frames(), stamps(), scenes() and notes() are known then.
  void survey(const std::function<void(uint64_t)>& progress = nullptr);

  const VideoInfo& info() const { return info_; }
  bool restored() const { return restored_; }  // whether it is a cairn video
  // What of its pictures is changed, was damaged or is left out, a line each.
  const std::vector<std::string>& notes() const { return notes_; }
  RestoredReader open() const;
  const std::string& path() const { return path_; }
  uint64_t frames() const { return frames_; }
  const std::vector<int64_t>& stamps() const { return stamps_; }  // of the frames
  // First frames of the clip's scenes; the first of all is 0.
  const std::vector<uint64_t>& scenes() const { return scenes_; }

  SmallVideo encode(uint32_t scale, const CoderOptions& options, Filter filter = Filter::bicubic);
  // Fills in bytes and psnr.
  void measure(SmallVideo& small);
  // PSNR of luma, whole frames, restored just as they will be where they are watched.
  double psnr(const SmallVideo& small, const Restoration& restoration);
  // The same frame by frame: mean squared errors, in units of a sample's.
  std::vector<double> errors(const SmallVideo& small, const Restoration& restoration);
  double psnr_of(const std::vector<double>& errors) const;
  // As many frames, evenly spread over those of `range`, as `bytes` hold, with `inputs` planes each. plane: 0
  // luma; 1: U and V, as frames of their own.
  TrainingSet training_set(const SmallVideo& small, uint32_t inputs, uint64_t bytes, size_t plane = 0,
                           std::optional<FrameRange> range = std::nullopt);
  // PSNR of each patch of luma as `by` restores it: [frame][patch].
  std::vector<std::vector<float>> score_patches(const SmallVideo& small, const Restoration& by,
                                                uint32_t patch_width, uint32_t patch_height);

 private:
  // body(number, original, previous small, small, next small) for every frame.
  struct Triple {
    const Frame *previous, *current, *next;
  };
  using Body = std::function<void(uint64_t, const Frame& original, const Triple& small)>;
  void side_by_side(const SmallVideo& small, const Body& body, std::optional<uint64_t> end = std::nullopt);

  std::string path_;
  ThreadPool& pool_;
  ReaderOptions options_;
  std::vector<TimedRange> ranges_;
  VideoInfo info_;
  bool restored_ = false;
  std::vector<std::string> notes_;
  uint64_t frames_ = 0;
  std::vector<int64_t> stamps_;
  std::vector<uint64_t> scenes_;
};

// A network of zeros: the bicubic alone, and the original's size.
Restoration bicubic_restoration(const Format& original, const Format& small, uint32_t scale);

// A plane of the original at `scale` times the small size, its edges going on by repetition: what a
// TrainingFrame takes.
std::vector<uint16_t> extended(const Plane& plane, uint32_t width, uint32_t height);

// Sum of squared differences.
uint64_t plane_error(const Plane& a, const Plane& b);

double to_psnr(double mse, uint32_t peak);

}  // namespace cairn::video
