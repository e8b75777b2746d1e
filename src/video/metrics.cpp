#include "video/metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace cairn::video {
namespace {

struct Image {
  size_t width = 0, height = 0;
  std::vector<float> values;
  Image(size_t w, size_t h) : width(w), height(h), values(w * h) {}
  float* row(size_t y) { return values.data() + y * width; }
  const float* row(size_t y) const { return values.data() + y * width; }
};

Image to_image(const Plane& plane) {
  Image image(plane.width, plane.height);
  std::copy(plane.samples.begin(), plane.samples.end(), image.values.begin());
  return image;
}

Image halved(const Image& in) {
  Image out(in.width / 2, in.height / 2);
  for (size_t y = 0; y < out.height; ++y) {
    const float *above = in.row(2 * y), *below = in.row(2 * y + 1);
    for (size_t x = 0; x < out.width; ++x)
      out.row(y)[x] = (above[2 * x] + above[2 * x + 1] + below[2 * x] + below[2 * x + 1]) / 4;
  }
  return out;
}

std::vector<float> gaussian(size_t taps) {
  std::vector<float> window(taps);
  double sum = 0;
  for (size_t i = 0; i < taps; ++i) {
    const double x = static_cast<double>(i) - static_cast<double>(taps - 1) / 2;
    window[i] = static_cast<float>(std::exp(-x * x / (2 * 1.5 * 1.5)));
    sum += window[i];
  }
  for (float& w : window) w = static_cast<float>(w / sum);
  return window;
}

// Means of SSIM and of its contrast-structure part over the rows of one band of windows.
struct Sums {
  double ssim = 0, structure = 0;
};

Sums band(const Image& a, const Image& b, const std::vector<float>& across, const std::vector<float>& down,
          size_t begin, size_t end, double peak) {
  const size_t windows = a.width - across.size() + 1;
  const auto c1 = static_cast<float>(0.01 * peak * 0.01 * peak),
             c2 = static_cast<float>(0.03 * peak * 0.03 * peak);
  std::array<std::vector<float>, 5> mixed;  // Σ over rows of a, b, a², b², ab
  for (auto& m : mixed) m.resize(a.width);
  Sums sums;
  std::array<std::vector<float>, 5> means;
  for (auto& m : means) m.resize(windows);
  for (size_t y = begin; y < end; ++y) {
    for (auto& m : mixed) std::fill(m.begin(), m.end(), 0.0f);
    for (size_t t = 0; t < down.size(); ++t) {
      const float weight = down[t], *ra = a.row(y + t), *rb = b.row(y + t);
      for (size_t x = 0; x < a.width; ++x) {
        mixed[0][x] += weight * ra[x];
        mixed[1][x] += weight * rb[x];
        mixed[2][x] += weight * ra[x] * ra[x];
        mixed[3][x] += weight * rb[x] * rb[x];
        mixed[4][x] += weight * ra[x] * rb[x];
      }
    }
    for (size_t i = 0; i < 5; ++i) {
      std::fill(means[i].begin(), means[i].end(), 0.0f);
      for (size_t t = 0; t < across.size(); ++t) {
        const float weight = across[t], *from = mixed[i].data() + t;
        for (size_t x = 0; x < windows; ++x) means[i][x] += weight * from[x];
      }
    }
    for (size_t x = 0; x < windows; ++x) {
      const float ma = means[0][x], mb = means[1][x];
      const float va = means[2][x] - ma * ma, vb = means[3][x] - mb * mb, cov = means[4][x] - ma * mb;
      const float structure = (2 * cov + c2) / (va + vb + c2);
      sums.structure += structure;
      sums.ssim += structure * (2 * ma * mb + c1) / (ma * ma + mb * mb + c1);
    }
  }
  return sums;
}

Sums compare_scale(const Image& a, const Image& b, double peak, ThreadPool* pool) {
  const std::vector<float> across = gaussian(std::min<size_t>(11, a.width)),
                           down = gaussian(std::min<size_t>(11, a.height));
  const size_t rows = a.height - down.size() + 1, columns = a.width - across.size() + 1, step = 16,
               bands = (rows + step - 1) / step;
  std::vector<Sums> parts(bands);
  const auto work = [&](size_t, size_t i) {
    parts[i] = band(a, b, across, down, i * step, std::min(rows, (i + 1) * step), peak);
  };
  if (pool != nullptr) {
    pool->run(bands, work);
  } else {
    for (size_t i = 0; i < bands; ++i) work(0, i);
  }
  Sums sums;
  for (const Sums& part : parts) {
    sums.ssim += part.ssim;
    sums.structure += part.structure;
  }
  const auto count = static_cast<double>(rows * columns);
  return {sums.ssim / count, sums.structure / count};
}

}  // namespace

double squared_error(const Plane& a, const Plane& b) {
  uint64_t sum = 0;
  for (size_t i = 0; i < a.samples.size(); ++i) {
    const int32_t d = a.samples[i] - b.samples[i];
    sum += static_cast<uint64_t>(static_cast<uint32_t>(d * d));
  }
  return static_cast<double>(sum);
}

double squared_error(const Picture& a, const Picture& b) {
  uint64_t sum = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    const int32_t d = a.rgb[i] - b.rgb[i];
    sum += static_cast<uint64_t>(static_cast<uint32_t>(d * d));
  }
  return static_cast<double>(sum);
}

double psnr(double mean_square, double peak) {
  return mean_square <= 0 ? 100 : std::min(100.0, 10 * std::log10(peak * peak / mean_square));
}

Similarity similarity(const Plane& first, const Plane& second, double peak, ThreadPool* pool) {
  constexpr std::array<double, 5> kWeights = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};
  Image a = to_image(first), b = to_image(second);
  Similarity result;
  size_t scales = 1;
  for (size_t side = std::min(a.width, a.height) / 2; scales < kWeights.size() && side >= 11; side /= 2)
    ++scales;
  double total = 0, logs = 0;
  for (size_t i = 0; i < scales; ++i) total += kWeights[i];
  for (size_t i = 0; i < scales; ++i) {
    const Sums sums = compare_scale(a, b, peak, pool);
    if (i == 0) result.ssim = sums.ssim;
    const double value = i + 1 == scales ? sums.ssim : sums.structure;
    logs += kWeights[i] / total * std::log(std::max(value, 1e-6));
    if (i + 1 < scales) {
      a = halved(a);
      b = halved(b);
    }
  }
  result.ms_ssim = std::exp(logs);
  return result;
}

std::vector<double> patch_errors(const Plane& a, const Plane& b, uint32_t side) {
  const uint32_t columns = (a.width + side - 1) / side, rows = (a.height + side - 1) / side;
  std::vector<double> errors(static_cast<size_t>(columns) * rows);
  for (uint32_t y = 0; y < a.height; ++y) {
    for (uint32_t x = 0; x < a.width; ++x) {
      const int32_t d = a.row(y)[x] - b.row(y)[x];
      errors[static_cast<size_t>(y / side) * columns + x / side] += d * d;
    }
  }
  return errors;
}

}  // namespace cairn::video
