#include "video/train/pass.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/kernel_set.hpp"

namespace cairn::video {
namespace {

using kernels::kTrainColumns;
using kernels::TrainPlanes;
using kernels::TrainShape;

size_t round_up(size_t value, size_t step) {
  return (value + step - 1) / step * step;
}

// In sixteen partial sums, which compilers turn into vectors.
template <class Term>
double sum_terms(size_t n, const Term& term) {
  float parts[16] = {};
  size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (size_t j = 0; j < 16; ++j) parts[j] += term(i + j);
  }
  double sum = 0;
  for (; i < n; ++i) sum += term(i);
  for (const float part : parts) sum += part;
  return sum;
}

}  // namespace

CropPass::Planes CropPass::make_planes(uint32_t channels, size_t rows, size_t columns, size_t border) {
  Planes planes;
  planes.channels = channels;
  planes.rows = rows;
  planes.columns = columns;
  // Kernels read and write whole groups of columns, and up to a kernel beyond them.
  const size_t stride = round_up(columns + 2 * border + kTrainColumns + kMaxKernel, 16),
               plane = stride * (rows + 2 * border + 1);
  planes.memory.assign(plane * channels + kTrainColumns, 0.0f);
  planes.view = {planes.memory.data() + border * stride + border, stride, plane};
  return planes;
}

CropPass::CropPass(const Network& network, uint32_t width, uint32_t height, kernels::Target target)
    : network_(network), width_(width), height_(height), kernels_(kernels::kernel_set(target).train) {
  const uint32_t phases = network.scale * network.scale, grid = network.on_upscaled ? network.scale : 1;
  for (const Layer& layer : network.layers) margin_ += layer.kernel / 2;
  size_t rows = height * grid + 2 * margin_, columns = width * grid + 2 * margin_;
  small_ = make_planes(1, height + kSkipSide - 1, width + kSkipSide - 1, 0);
  head_ = make_planes(network.frames, rows, columns, 0);
  target_ = make_planes(phases, height, width, 0);
  difference_ = make_planes(phases, height, width, 0);
  for (const Layer& layer : network.layers) {
    rows -= layer.kernel - 1;
    columns -= layer.kernel - 1;
    outputs_.push_back(make_planes(layer.out, rows, columns, 0));
  }
  const std::vector<float> taps = bicubic_taps(network.scale);
  bicubic_.resize(taps.size());
  for (size_t p = 0; p < phases; ++p) {
    for (size_t t = 0; t < kSkipTaps; ++t) bicubic_[t * phases + p] = -taps[p * kSkipTaps + t];
  }
}

TrainShape CropPass::shape(size_t layer) const {
  const Layer& l = network_.layers[layer];
  return {l.in, l.out, l.kernel, outputs_[layer].rows, outputs_[layer].columns};
}

void CropPass::make_errors() {
  if (!errors_.empty()) return;
  for (size_t i = 0; i < outputs_.size(); ++i)
    errors_.push_back(make_planes(outputs_[i].channels, outputs_[i].rows, outputs_[i].columns,
                                  network_.layers[i].kernel - 1));
}

// body(row y of difference_'s phase p, and where its first sample is among the upscaled ones: row, column)
template <class Body>
void CropPass::for_phases(const Body& body) {
  const uint32_t scale = network_.scale;
  for (uint32_t p = 0; p < scale * scale; ++p) {
    for (size_t y = 0; y < height_; ++y) {
      body(difference_.view.data + p * difference_.view.plane + y * difference_.view.stride,
           y * scale + p / scale, size_t{p % scale});
    }
  }
}

double CropPass::forward(const PassWeights& weights) {
  const std::span<const WeightPart> parts = weights.parts;
  const size_t layers = network_.layers.size();
  for (size_t i = 0; i < layers; ++i) {
    const Layer& layer = network_.layers[i];
    const float* w = weights.effective.data() + parts[i].effective;
    Planes& out = outputs_[i];
    kernels_.convolve(shape(i), input(i).view, w, w + static_cast<size_t>(parts[i].rows) * parts[i].out,
                      out.view);
    if (layer.add >= 0) {
      const Planes& added = outputs_[static_cast<size_t>(layer.add)];
      const size_t inset = (added.rows - out.rows) / 2;
      for (size_t c = 0; c < layer.out; ++c) {
        for (size_t y = 0; y < out.rows; ++y) {
          const float* from =
              added.view.data + c * added.view.plane + (y + inset) * added.view.stride + inset;
          float* to = out.view.data + c * out.view.plane + y * out.view.stride;
          for (size_t x = 0; x < out.columns; ++x) to[x] += from[x];
        }
      }
    }
    if (!layer.relu) continue;
    const float levels = weights.levels, limit = levels == 0 ? 0 : weights.limits[i];
    for (size_t c = 0; c < layer.out; ++c) {
      for (size_t y = 0; y < out.rows; ++y) {
        kernels_.rectify(out.view.data + c * out.view.plane + y * out.view.stride,
                         round_up(out.columns, kTrainColumns), limit, levels);
      }
    }
  }
  const uint32_t phases = network_.scale * network_.scale;
  const bool apart = layers == 0 || network_.on_upscaled;  // the last layer's output is not by phases
  Planes& last = apart ? difference_ : outputs_.back();
  const std::vector<float> nothing(phases, 0.0f);
  kernels_.convolve({1, phases, kSkipSide, height_, width_}, small_.view,
                    weights.effective.data() + parts.back().effective, apart ? nothing.data() : nullptr,
                    last.view);
  if (network_.on_upscaled) {
    for_phases([&](float* phase, size_t row, size_t x0) {
      const Planes& from = outputs_.back();
      const float* line = from.view.data + row * from.view.stride + x0;
      for (size_t x = 0; x < width_; ++x) phase[x] += line[x * network_.scale];
    });
  }
  double sum = 0;
  const bool all = counts_.channels == 0;
  for (size_t p = 0; p < phases; ++p) {
    for (size_t y = 0; y < height_; ++y) {
      const float* got = last.view.data + p * last.view.plane + y * last.view.stride;
      const float* wanted = target_.view.data + p * target_.view.plane + y * target_.view.stride;
      float* difference = difference_.view.data + p * difference_.view.plane + y * difference_.view.stride;
      for (size_t x = 0; x < width_; ++x) difference[x] = got[x] - wanted[x];
      const float* counts = all ? nullptr : counts_.view.data + y * counts_.view.stride;
      for (size_t x = 0; x < (all ? 0 : width_); ++x) difference[x] *= counts[x];
      sum += sum_terms(width_, [&](size_t x) { return difference[x] * difference[x]; });
      std::fill(difference + width_, difference + round_up(width_, kTrainColumns), 0.0f);
    }
  }
  return sum / (static_cast<double>(phases) * width_ * height_);
}

float CropPass::largest(size_t layer) const {
  const Planes& out = outputs_[layer];
  float most = 0;
  for (size_t c = 0; c < out.channels; ++c) {
    for (size_t y = 0; y < out.rows; ++y) {
      const float* row = out.view.data + c * out.view.plane + y * out.view.stride;
      for (size_t x = 0; x < out.columns; ++x) most = std::max(most, row[x]);
    }
  }
  return most;
}

void CropPass::backward(const PassWeights& weights, std::span<float> gradient) {
  const std::span<const WeightPart> parts = weights.parts;
  make_errors();
  const uint32_t phases = network_.scale * network_.scale;
  const float factor =
      2.0f / (static_cast<float>(phases) * static_cast<float>(width_) * static_cast<float>(height_));
  for (size_t p = 0; p < phases; ++p) {
    for (size_t y = 0; y < height_; ++y) {
      float* row = difference_.view.data + p * difference_.view.plane + y * difference_.view.stride;
      for (size_t x = 0; x < width_; ++x) row[x] *= factor;
    }
  }
  kernels_.weight_gradient({1, phases, kSkipSide, height_, width_}, small_.view, difference_.view,
                           gradient.data() + parts.back().effective);
  const size_t layers = network_.layers.size();
  if (layers == 0) return;

  // What layers add to later ones comes back first, so those errors start from zero.
  std::vector<bool> started(layers, false);
  if (network_.on_upscaled) {
    for_phases([&](const float* phase, size_t row, size_t x0) {
      float* line = errors_.back().view.data + row * errors_.back().view.stride + x0;
      for (size_t x = 0; x < width_; ++x) line[x * network_.scale] = phase[x];
    });
  } else {
    for (size_t p = 0; p < phases; ++p) {
      for (size_t y = 0; y < height_; ++y) {
        const float* from = difference_.view.data + p * difference_.view.plane + y * difference_.view.stride;
        std::copy_n(
            from, width_,
            errors_.back().view.data + p * errors_.back().view.plane + y * errors_.back().view.stride);
      }
    }
  }
  started[layers - 1] = true;
  for (size_t i = layers; i-- > 0;) {
    const Layer& layer = network_.layers[i];
    Planes& error = errors_[i];
    if (layer.relu) {
      const float limit = weights.levels == 0 ? INFINITY : weights.limits[i];
      for (size_t c = 0; c < layer.out; ++c) {
        for (size_t y = 0; y < error.rows; ++y) {
          kernels_.rectify_backwards(
              error.view.data + c * error.view.plane + y * error.view.stride,
              outputs_[i].view.data + c * outputs_[i].view.plane + y * outputs_[i].view.stride, error.columns,
              limit);
        }
      }
    }
    if (layer.add >= 0) {
      const auto j = static_cast<size_t>(layer.add);
      Planes& to = errors_[j];
      const size_t inset = (to.rows - error.rows) / 2;
      if (!started[j]) clear_garbage(to);
      for (size_t c = 0; c < layer.out; ++c) {
        for (size_t y = 0; y < to.rows; ++y) {
          float* row = to.view.data + c * to.view.plane + y * to.view.stride;
          if (!started[j]) std::fill_n(row, to.columns, 0.0f);
          if (y < inset || y >= inset + error.rows) continue;
          const float* from = error.view.data + c * error.view.plane + (y - inset) * error.view.stride;
          for (size_t x = 0; x < error.columns; ++x) row[x + inset] += from[x];
        }
      }
      started[j] = true;
    }
    float* g = gradient.data() + parts[i].effective;
    kernels_.weight_gradient(shape(i), input(i).view, error.view, g);
    float* bias = g + static_cast<size_t>(parts[i].rows) * parts[i].out;
    for (size_t c = 0; c < layer.out; ++c) {
      double sum = 0;
      for (size_t y = 0; y < error.rows; ++y) {
        const float* row = error.view.data + c * error.view.plane + y * error.view.stride;
        sum += sum_terms(error.columns, [&](size_t x) { return row[x]; });
      }
      bias[c] += static_cast<float>(sum);
    }
    if (i == 0) break;

    // Back through the layer: the kernel turned by 180°, inputs and outputs exchanged, over the error with
    // kernel - 1 zeros around it.
    const size_t k = layer.kernel, taps = k * k;
    turned_.resize(taps * layer.in * layer.out);
    const float* w = weights.effective.data() + parts[i].effective;
    for (size_t in = 0; in < layer.in; ++in) {
      for (size_t t = 0; t < taps; ++t) {
        for (size_t o = 0; o < layer.out; ++o)
          turned_[(o * taps + taps - 1 - t) * layer.in + in] = w[(in * taps + t) * layer.out + o];
      }
    }
    Planes& to = errors_[i - 1];
    const TrainPlanes from{error.view.data - (k - 1) * error.view.stride - (k - 1), error.view.stride,
                           error.view.plane};
    const std::vector<float> nothing(layer.in, 0.0f);
    kernels_.convolve({layer.out, layer.in, layer.kernel, to.rows, to.columns}, from, turned_.data(),
                      started[i - 1] ? nullptr : nothing.data(), to.view);
    started[i - 1] = true;
    clear_garbage(to);
  }
}

// Kernels write whole groups of columns; what lies beyond the valid ones must be the zeros of the border.
void CropPass::clear_garbage(Planes& planes) const {
  const size_t end = round_up(planes.columns, kTrainColumns);
  for (size_t c = 0; c < planes.channels; ++c) {
    for (size_t y = 0; y < planes.rows; ++y) {
      float* row = planes.view.data + c * planes.view.plane + y * planes.view.stride;
      std::fill(row + planes.columns, row + end, 0.0f);
    }
  }
}

}  // namespace cairn::video
