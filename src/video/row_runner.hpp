// A network on a rectangle of the small frame, row by row: each layer keeps only the rows that the next one
// reads, so that everything between the samples in and the samples out stays in the cache.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "kernels/kernels.hpp"
#include "video/frame.hpp"
#include "video/integer_network.hpp"

namespace cairn::video {

struct Rectangle {  // of small pixels, the ends not included
  uint32_t left = 0, top = 0, right = 0, bottom = 0;
};

// Reused from run to run; grows as needed. One a thread.
class RowScratch {
 public:
  // At least so many bytes, 64-byte aligned, zero when new.
  uint8_t* reserve(size_t bytes);

 private:
  struct Free {
    void operator()(uint8_t* p) const noexcept;
  };
  std::unique_ptr<uint8_t, Free> data_;
  size_t bytes_ = 0;
};

// Writes out(X, Y) for X in [left · scale, right · scale) and Y likewise, as far as `out` reaches. frames:
// network.frames views of one size, `bits` deep; the rectangle lies within them. What comes out does not
// depend on how a frame is cut into rectangles.
void run_rows(const IntegerNetwork& network, uint32_t bits, std::span<const PlaneView> frames,
              const Rectangle& rectangle, kernels::Target target, RowScratch& scratch, Plane& out);

// Bytes of scratch that a rectangle of so many pixels across takes.
size_t row_scratch_bytes(const IntegerNetwork& network, size_t width, kernels::Target target);
// Pixels that are computed for `width` wanted ones.
size_t row_pixels(const IntegerNetwork& network, size_t width, kernels::Target target);

}  // namespace cairn::video
