#include "video/encode/coded_input.hpp"

#include <cmath>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/packets.hpp"

namespace cairn::video {
namespace {

// Containers round times: Matroska to milliseconds.
constexpr double kSameTime = 2e-3;

uint32_t scale_of(const Format& original, const Format& small, const std::string& names) {
  for (uint32_t scale = 1; scale <= kMaxScale; ++scale) {
    const Format wanted = small_format(original, scale);
    if (wanted.width != small.width || wanted.height != small.height) continue;
    if (wanted == small) return scale;
    fail(ErrorCode::invalid_argument, "{}: {} is not {}", names, small.pixel_format(), wanted.pixel_format());
  }
  const Format half = small_format(original, 2);
  fail(ErrorCode::invalid_argument,
       "{}: {}×{} is neither the size of the original, {}×{}, nor a half ({}×{}), a third or a quarter of it",
       names, small.width, small.height, original.width, original.height, half.width, half.height);
}

double seconds(const Frame& frame, const VideoInfo& info) {
  return static_cast<double>(frame.pts) * info.time_base.value();
}

}  // namespace

SmallVideo read_coded_input(Clip& clip, const std::string& path) {
  const std::string names = path + " for " + clip.path();
  RestoredReader originals = clip.open();
  Reader decoded(path);
  Frame original, coded;
  uint64_t frames = 0;
  double late = 0;  // the first frame: what another encoder left out (sound) may have begun before it
  for (; decoded.read(coded); ++frames) {
    throw_if_interrupted();
    if (frames == 0) scale_of(clip.info().format, decoded.info().format, names);
    if (!originals.read(original))
      fail(ErrorCode::invalid_argument, "{}: it has more frames than the original's {}", names, frames);
    const double at = seconds(coded, decoded.info()), wanted = seconds(original, originals.info());
    if (frames == 0) late = at - wanted;
    if (std::abs(at - late - wanted) > kSameTime) {
      fail(ErrorCode::invalid_argument, "{}: its frame {} is at {:.3f} s, the original's at {:.3f} s", names,
           frames, at, wanted);
    }
  }
  if (frames != clip.frames()) {
    fail(ErrorCode::invalid_argument, "{}: it has {} frames, the original {}", names, frames, clip.frames());
  }
  SmallVideo small;
  small.scale = scale_of(clip.info().format, decoded.info().format, names);
  small.format = small_format(clip.info().format, small.scale);
  small.coded = read_packets(path);
  // What is told of the pictures and where they begin is the original's; the packets are its own.
  const auto ticks = std::llround(late / small.coded.shown.time_base.value());
  for (CodedPacket& packet : small.coded.packets) {
    packet.pts -= ticks;
    packet.dts -= ticks;
  }
  Shown told = shown(clip.info());
  told.time_base = small.coded.shown.time_base;
  if (small.scale > 1) told.fields = Fields::progressive;
  small.coded.shown = std::move(told);
  clip.measure(small);
  return small;
}

}  // namespace cairn::video
