#include "video/resample.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/names.hpp"

namespace cairn::video {
namespace {

double lanczos(double x) {
  if (std::abs(x) < 1e-9) return 1;
  if (std::abs(x) >= 3) return 0;
  const double p = std::numbers::pi * x;
  return 3 * std::sin(p) * std::sin(p / 3) / (p * p);
}

// Cubics of two pieces (Mitchell and Netravali); B = 0, C = -a are Keys'.
double cubic(double x, double b, double c) {
  x = std::abs(x);
  if (x < 1) return ((12 - 9 * b - 6 * c) * x * x * x + (-18 + 12 * b + 6 * c) * x * x + 6 - 2 * b) / 6;
  if (x < 2)
    return ((-b - 6 * c) * x * x * x + (6 * b + 30 * c) * x * x + (-12 * b - 48 * c) * x + 8 * b + 24 * c) /
           6;
  return 0;
}

double value(Filter filter, double x) {
  switch (filter) {
    case Filter::bicubic:
      return cubic(x, 0, 0.5);
    case Filter::lanczos:
      return lanczos(x);
    case Filter::sharp:
      return cubic(x, 0, 1);
    case Filter::soft:
      return cubic(x, 1.0 / 3, 1.0 / 3);
  }
  return 0;
}

// For each output position along one axis: the first input position, and the taps' weights, their sum 1.
struct Taps {
  size_t count = 0;
  std::vector<int64_t> first;
  std::vector<float> weights;  // [outputs][count]
};

Taps make_taps(double step, Filter filter, uint32_t outputs) {
  const double stretch = std::max(step, 1.0), radius = (filter == Filter::lanczos ? 3 : 2) * stretch;
  Taps taps;
  taps.count = static_cast<size_t>(std::ceil(2 * radius)) + 1;
  taps.first.resize(outputs);
  taps.weights.resize(outputs * taps.count);
  for (uint32_t i = 0; i < outputs; ++i) {
    const double centre = (i + 0.5) * step - 0.5;
    taps.first[i] = static_cast<int64_t>(std::ceil(centre - radius - 1e-9));
    std::vector<double> w(taps.count);
    double sum = 0;
    for (size_t t = 0; t < taps.count; ++t) {
      const double x = (static_cast<double>(taps.first[i]) + static_cast<double>(t) - centre) / stretch;
      sum += w[t] = value(filter, x);
    }
    for (size_t t = 0; t < taps.count; ++t) taps.weights[i * taps.count + t] = static_cast<float>(w[t] / sum);
  }
  return taps;
}

// One output row: the input's rows mixed, then along the row.
void make_row(const PlaneView& in, const Taps& down, const Taps& across, uint32_t y, float peak,
              std::vector<float>& mixed, int64_t margin, uint16_t* out, uint32_t width) {
  const auto last_row = static_cast<int64_t>(in.height) - 1;
  float* middle = mixed.data() + margin;
  std::fill(mixed.begin(), mixed.end(), 0.0f);
  for (size_t t = 0; t < down.count; ++t) {
    const float weight = down.weights[y * down.count + t];
    if (weight == 0) continue;
    const int64_t row = std::clamp<int64_t>(down.first[y] + static_cast<int64_t>(t), 0, last_row);
    const uint16_t* samples = in.samples + static_cast<size_t>(row) * in.stride;
    for (uint32_t x = 0; x < in.width; ++x) middle[x] += weight * static_cast<float>(samples[x]);
  }
  std::fill(mixed.begin(), mixed.begin() + margin, middle[0]);
  std::fill(mixed.begin() + margin + in.width, mixed.end(), middle[in.width - 1]);
  for (uint32_t x = 0; x < width; ++x) {
    const float* from = middle + across.first[x];
    const float* weights = across.weights.data() + x * across.count;
    float sum = 0;
    for (size_t t = 0; t < across.count; ++t) sum += weights[t] * from[t];
    out[x] = static_cast<uint16_t>(std::clamp(sum, 0.0f, peak) + 0.5f);
  }
}

constexpr std::array<const char*, 4> kNames = {"bicubic", "lanczos", "sharp", "soft"};

}  // namespace

const char* name(Filter filter) {
  return kNames[static_cast<size_t>(filter)];
}

Filter parse_filter(std::string_view text) {
  return parse_name<Filter>(kNames, text, "a filter");
}

void resample(const PlaneView& in, uint32_t peak, double step, Filter filter, uint32_t width, uint32_t height,
              Plane& out, ThreadPool* pool) {
  if (in.width == 0 || in.height == 0 || width == 0 || height == 0 || !(step >= 1.0 / 64 && step <= 64)) {
    fail(ErrorCode::invalid_argument, "resample: {}×{} to {}×{} in steps of {}", in.width, in.height, width,
         height, step);
  }
  const Taps down = make_taps(step, filter, height), across = make_taps(step, filter, width);
  // How far the taps reach beyond the row on either side, the output being wider than the input included.
  const int64_t right = across.first.back() + static_cast<int64_t>(across.count) - in.width;
  const int64_t margin = std::max<int64_t>({-across.first.front(), right, 0});
  out.resize(width, height);
  const uint32_t band = 16;
  const size_t bands = (height + band - 1) / band;
  std::vector<std::vector<float>> scratch(pool == nullptr ? 1 : pool->threads());
  for (auto& mixed : scratch) mixed.resize(in.width + 2 * static_cast<size_t>(margin));
  const auto work = [&](size_t thread, size_t index) {
    const auto end = std::min<uint32_t>(height, static_cast<uint32_t>(index + 1) * band);
    for (auto y = static_cast<uint32_t>(index) * band; y < end; ++y) {
      make_row(in, down, across, y, static_cast<float>(peak), scratch[thread], margin, out.row(y), width);
    }
  };
  if (pool != nullptr) {
    pool->run(bands, work);
  } else {
    for (size_t i = 0; i < bands; ++i) work(0, i);
  }
}

Format small_format(const Format& original, uint32_t scale) {
  Format small = original;
  const auto divide = [&](uint32_t size, bool halved) {
    const uint32_t shrunk = (size + scale - 1) / scale;
    return halved ? (shrunk + 1) / 2 * 2 : shrunk;
  };
  small.width = divide(original.width, original.shift_x(1) != 0 && original.planes() > 1);
  small.height = divide(original.height, original.shift_y(1) != 0 && original.planes() > 1);
  return small;
}

void downscale(const Frame& original, uint32_t scale, Filter filter, Frame& small, ThreadPool* pool) {
  small.format = small_format(original.format, scale);
  small.pts = original.pts;
  small.duration = original.duration;
  for (size_t p = 0; p < original.format.planes(); ++p) {
    resample(original.planes[p].view(), original.format.peak(), scale, filter, small.format.plane_width(p),
             small.format.plane_height(p), small.planes[p], pool);
  }
}

void upscale(const Frame& small, uint32_t scale, Filter filter, const Format& format, Frame& out,
             ThreadPool* pool) {
  out.format = format;
  out.pts = small.pts;
  out.duration = small.duration;
  for (size_t p = 0; p < format.planes(); ++p) {
    resample(small.planes[p].view(), format.peak(), 1.0 / scale, filter, format.plane_width(p),
             format.plane_height(p), out.planes[p], pool);
  }
}

}  // namespace cairn::video
