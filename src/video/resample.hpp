// Sizes of planes changed by filters; and what a small video's planes are to the original's.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/thread_pool.hpp"
#include "video/frame.hpp"

namespace cairn::video {

// Catmull–Rom (Keys' cubic with a = -1/2); Lanczos of three lobes; Keys' cubic with a = -1, which keeps more
// of what is fine; Mitchell and Netravali's cubic (B = C = 1/3, SIGGRAPH 1988), which keeps less.
enum class Filter : uint8_t { bicubic, lanczos, sharp, soft };
const char* name(Filter filter);
Filter parse_filter(std::string_view text);  // Error invalid_argument lists them

// out(X, Y) = the input around ((X + 0.5) · step - 0.5, (Y + 0.5) · step - 0.5): step 2 halves, 0.5 doubles.
// Going down the filter is stretched by `step` (antialiased). Edges go on by repetition; the result, of any
// size wanted, is rounded and clamped to [0, peak]. pool may be null.
void resample(const PlaneView& in, uint32_t peak, double step, Filter filter, uint32_t width, uint32_t height,
              Plane& out, ThreadPool* pool);

// The small video's format: luma of ⌈width / scale⌉ × ⌈height / scale⌉, rounded up to what the chroma's
// subsampling needs (encoders refuse half chroma samples). Upscaled it covers the original, whose size the
// attachment keeps.
Format small_format(const Format& original, uint32_t scale);

// Every plane on a grid of its own, `scale` times coarser. Chroma that is sited left of the centre keeps its
// place in the restored video; players of the small video see it shifted by (scale - 1) / 4 of a luma sample
// at most.
void downscale(const Frame& original, uint32_t scale, Filter filter, Frame& small, ThreadPool* pool);
// The other way, cut to `format`.
void upscale(const Frame& small, uint32_t scale, Filter filter, const Format& format, Frame& out,
             ThreadPool* pool);

}  // namespace cairn::video
