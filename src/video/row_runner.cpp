#include "video/row_runner.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/error.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::video {
namespace {

constexpr size_t kMargin = 64;  // bytes before and after a row: neighbours that nobody looks at in the end

// The last rows of one stage. Row y lies in slot y mod rows, with y counted from the stage's own start.
struct Ring {
  uint8_t* data = nullptr;
  size_t rows = 0, groups = 0, group_bytes = 0;
  int64_t start = 0;

  size_t bytes() const { return rows * groups * group_bytes; }
  uint8_t* row(int64_t y, size_t group) const {
    const auto slot = static_cast<size_t>(y - start) % rows;
    return data + (slot * groups + group) * group_bytes + kMargin;
  }
};

uint32_t hidden_reach(const IntegerNetwork& network) {
  uint32_t sum = 0;
  for (const IntegerLayer& layer : network.hidden) sum += layer.kernel / 2;
  return network.hidden.empty() ? 0 : sum + network.tail.kernel / 2;
}

// Where everything lies in the scratch, and the loop over rows.
class Run {
 public:
  Run(const IntegerNetwork& network, size_t width, const kernels::ConvKernels& kernels)
      : network_(network), kernels_(kernels), reach_(hidden_reach(network)) {
    pixels_ = (width + 2 * reach_ + kernels.step_pixels - 1) / kernels.step_pixels * kernels.step_pixels;
    delay_ = std::max<uint32_t>(reach_, kernels::kSkipRows / 2);
    const size_t late = delay_ - reach_, row_bytes = pixels_ * 4 + 2 * kMargin;
    pairs_ = {nullptr, delay_ + kernels::kSkipRows / 2 + 1, 1, row_bytes, 0};
    if (!network.hidden.empty()) {
      rings_.push_back({nullptr, 3, network.hidden.front().groups, row_bytes, 0});
      for (size_t i = 0; i < network.hidden.size(); ++i) {
        const bool last = i + 1 == network.hidden.size();
        const uint32_t kernel = last ? network.tail.kernel : network.hidden[i + 1].kernel;
        rings_.push_back({nullptr, kernel + late, network.hidden[i].outputs / 4, row_bytes, 0});
      }
    }
    size_t steps = network.tail.steps;
    for (const IntegerLayer& layer : network.hidden) steps = std::max<size_t>(steps, layer.steps);
    inputs_.resize(std::max<size_t>(steps, 1));
  }

  size_t pixels() const { return pixels_; }

  size_t bytes() const {
    size_t sum = samples_bytes() + pairs_.bytes() + network_.tail.scale * out_bytes();
    for (const Ring& ring : rings_) sum += ring.bytes();
    return sum;
  }

  void operator()(uint32_t bits, std::span<const PlaneView> frames, const Rectangle& r, uint8_t* scratch,
                  Plane& out) {
    place(scratch, r);
    for (int64_t y = int64_t{r.top} - delay_; y < int64_t{r.bottom} + delay_; ++y) {
      take(y, r, bits, frames);
      int64_t row = y;
      for (size_t i = 0; i < network_.hidden.size(); ++i) {
        row -= network_.hidden[i].kernel / 2;
        if (row >= rings_[i + 1].start) hidden(i, row);
      }
      if (y - delay_ >= int64_t{r.top}) finish(y - delay_, r, out);
    }
  }

 private:
  size_t samples_bytes() const { return pixels_ * 2 + 2 * kMargin; }
  size_t out_bytes() const { return pixels_ * network_.tail.scale * 2 + kMargin; }

  void place(uint8_t* scratch, const Rectangle& r) {
    const auto take_bytes = [&](size_t bytes) {
      uint8_t* here = scratch;
      scratch += bytes;
      return here;
    };
    samples_ = reinterpret_cast<uint16_t*>(take_bytes(samples_bytes()) + kMargin);
    pairs_.data = take_bytes(pairs_.bytes());
    pairs_.start = int64_t{r.top} - delay_;
    int64_t start = int64_t{r.top} - reach_;
    for (size_t i = 0; i < rings_.size(); ++i) {
      if (i > 0) start += network_.hidden[i - 1].kernel / 2;
      rings_[i].data = take_bytes(rings_[i].bytes());
      rings_[i].start = i == 0 ? pairs_.start : start;
    }
    for (uint32_t dy = 0; dy < network_.tail.scale; ++dy)
      out_[dy] = reinterpret_cast<uint16_t*>(take_bytes(out_bytes()));
  }

  // Row y of every frame (the nearest there is), as the first layer and the 5×5 filter read it. Pixel 0 of
  // all rows here is the frame's pixel left − reach.
  void take(int64_t y, const Rectangle& r, uint32_t bits, std::span<const PlaneView> frames) {
    for (size_t f = 0; f < frames.size(); ++f) {
      const PlaneView& view = frames[f];
      const auto from = static_cast<size_t>(std::clamp<int64_t>(y, 0, int64_t{view.height} - 1));
      const uint16_t* line = view.samples + from * view.stride;
      // From pixel −3 to pixels + 3: what the neighbours of neighbours read.
      const int64_t first = int64_t{r.left} - reach_ - 3, last = first + static_cast<int64_t>(pixels_) + 6;
      const int64_t begin = std::clamp<int64_t>(first, 0, view.width),
                    end = std::clamp<int64_t>(last, begin, view.width);
      uint16_t* to = samples_ - 3;
      std::fill(to, to + (begin - first), line[0]);
      std::memcpy(to + (begin - first), line + begin, static_cast<size_t>(end - begin) * 2);
      std::fill(to + (end - first), to + (last - first), line[view.width - 1]);
      uint8_t *taps = nullptr, *rests = nullptr;
      if (!network_.hidden.empty()) {
        taps = rings_[0].row(y, network_.halves ? 2 * f : f);
        rests = network_.halves ? rings_[0].row(y, 2 * f + 1) : nullptr;
      }
      auto* pairs = f == 0 ? reinterpret_cast<uint32_t*>(pairs_.row(y, 0)) : nullptr;
      kernels_.expand(samples_, pixels_, bits == 8 ? 0 : 2, taps, rests, pairs);
      if (f == 0) {  // the two pixels on each side that the 5×5 filter reads beyond the computed ones
        const auto pair = [&](int64_t x) {
          return samples_[x] | static_cast<uint32_t>(samples_[x + 1]) << 16;
        };
        const auto n = static_cast<int64_t>(pixels_);
        for (const int64_t x : {int64_t{-2}, int64_t{-1}, n, n + 1}) pairs[x] = pair(x);
      }
    }
  }

  // Pointers to what `kernel`² taps around row y read of a ring, in the order of the weights' steps.
  void point_to(const Ring& ring, uint32_t kernel, int64_t y) {
    const uint8_t** input = inputs_.data();
    const int half = static_cast<int>(kernel / 2);
    for (int dy = -half; dy <= half; ++dy) {
      for (int dx = -half; dx <= half; ++dx) {
        for (size_t g = 0; g < ring.groups; ++g) *input++ = ring.row(y + dy, g) + 4 * dx;
      }
    }
  }

  void hidden(size_t index, int64_t y) {
    const IntegerLayer& layer = network_.hidden[index];
    if (index == 0) {
      const uint8_t** input = inputs_.data();
      for (int dy = -1; dy <= 1; ++dy) {
        for (size_t g = 0; g < layer.groups; ++g) *input++ = rings_[0].row(y + dy, g);
      }
    } else {
      point_to(rings_[index], layer.kernel, y);
    }
    uint8_t* outputs[kMaxChannels / 4];
    for (size_t g = 0; g < layer.outputs / 4; ++g) outputs[g] = rings_[index + 1].row(y, g);
    kernels_.hidden(layer.view(), inputs_.data(), pixels_, outputs);
  }

  void finish(int64_t y, const Rectangle& r, Plane& out) {
    if (!network_.hidden.empty()) point_to(rings_.back(), network_.tail.kernel, y);
    const uint32_t* rows[kernels::kSkipRows];
    for (size_t i = 0; i < kernels::kSkipRows; ++i)
      rows[i] = reinterpret_cast<const uint32_t*>(pairs_.row(y + static_cast<int64_t>(i) - 2, 0));
    kernels_.tail(network_.tail.view(), inputs_.data(), rows, pixels_, out_);
    const uint32_t scale = network_.tail.scale, left = r.left * scale,
                   right = std::min(r.right * scale, out.width);
    for (uint32_t dy = 0; dy < scale && left < right; ++dy) {
      const auto to = static_cast<uint32_t>(y) * scale + dy;
      if (to < out.height) std::memcpy(out.row(to) + left, out_[dy] + reach_ * scale, (right - left) * 2ul);
    }
  }

  const IntegerNetwork& network_;
  const kernels::ConvKernels& kernels_;
  uint32_t reach_, delay_ = 0;  // rows (and pixels) that layers look ahead; that output lags behind input
  size_t pixels_ = 0;
  uint16_t* samples_ = nullptr;
  Ring pairs_;
  std::vector<Ring> rings_;  // [0] the first layer's input, then each hidden layer's output
  std::vector<const uint8_t*> inputs_;
  uint16_t* out_[kMaxScale] = {};
};

}  // namespace

void RowScratch::Free::operator()(uint8_t* p) const noexcept {
  std::free(p);
}

uint8_t* RowScratch::reserve(size_t bytes) {
  if (bytes > bytes_) {
    const size_t rounded = (bytes + 63) / 64 * 64;
    data_.reset(static_cast<uint8_t*>(std::aligned_alloc(64, rounded)));
    bytes_ = data_ == nullptr ? 0 : rounded;
    if (data_ == nullptr) fail(ErrorCode::out_of_memory, "no memory for {} bytes of image rows", bytes);
    std::memset(data_.get(), 0, rounded);
  }
  return data_.get();
}

void run_rows(const IntegerNetwork& network, uint32_t bits, std::span<const PlaneView> frames,
              const Rectangle& rectangle, kernels::Target target, RowScratch& scratch, Plane& out) {
  Run run(network, rectangle.right - rectangle.left, kernels::kernel_set(target).conv);
  run(bits, frames, rectangle, scratch.reserve(run.bytes()), out);
}

size_t row_scratch_bytes(const IntegerNetwork& network, size_t width, kernels::Target target) {
  return Run(network, width, kernels::kernel_set(target).conv).bytes();
}

size_t row_pixels(const IntegerNetwork& network, size_t width, kernels::Target target) {
  return Run(network, width, kernels::kernel_set(target).conv).pixels();
}

}  // namespace cairn::video
