#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/half.hpp"
#include "fake_cuda.hpp"
#include "formats/encoding.hpp"
#include "graph/graph.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::fake_cuda {
namespace {

const kernels::KernelSet& kernel_set() {
  return kernels::kernel_set(kernels::default_target());
}

class Run {
 public:
  Run(const Memory& memory, const CudaStep& step, const CudaCommand& command)
      : memory_(memory), step_(step), c_(command) {}

  void op() {
    switch (c_.op) {
      case CudaOp::embed:
        return rows([&](uint32_t r) {
          const int32_t token = *checked(step_.tokens + r, 1);
          matrix_row(static_cast<uint32_t>(token), out(r));
        });
      case CudaOp::take:
        return rows([&](uint32_t r) {
          const auto from = static_cast<uint32_t>(*checked(static_cast<const int32_t*>(c_.weight) + r, 1));
          std::copy_n(in(from), c_.width, out(r));
        });
      case CudaOp::scale:
        return each([&](uint32_t r, uint32_t i) { return in(r)[i] * c_.factor; });
      case CudaOp::add:
        return each([&](uint32_t r, uint32_t i) { return in(r)[i] + in2(r)[i]; });
      case CudaOp::norm_rms:
        return norm_rms();
      case CudaOp::norm_layer:
        return norm_layer();
      case CudaOp::rope:
        return rope();
      case CudaOp::gate:
        return each([&](uint32_t r, uint32_t i) { return gated(in(r)[i], in2(r)[i]); });
      case CudaOp::activate:
        return each([&](uint32_t r, uint32_t i) { return activation(in(r)[i]); });
      case CudaOp::softcap:
        return each([&](uint32_t r, uint32_t i) { return c_.factor * std::tanh(in(r)[i] / c_.factor); });
      case CudaOp::rotate:
        return rotate();
      case CudaOp::store:
        return store();
      case CudaOp::attention:
        return attention();
      case CudaOp::linear:
        return linear();
      case CudaOp::linear_planes:
        return linear_planes();
    }
    throw Failure{CudaPlugin::kOther, "an op that is not known"};
  }

 private:
  template <class T>
  T* checked(T* at, uint64_t count) const {
    memory_.check(at, count * sizeof(T));
    return at;
  }
  const float* row(const float* begin, uint32_t r, uint32_t stride, uint32_t width) const {
    return checked(begin + size_t{r} * stride, width);
  }
  const float* in(uint32_t r) const { return row(c_.in, r, c_.in_stride, c_.width); }
  const float* in2(uint32_t r) const { return row(c_.in2, r, c_.in2_stride, c_.width); }
  float* out(uint32_t r, uint32_t width) const {
    return const_cast<float*>(row(c_.out, r, c_.out_stride, width));
  }
  float* out(uint32_t r) const { return out(r, c_.width); }
  template <class Body>
  void rows(const Body& body) const {
    for (uint32_t r = 0; r < c_.rows; ++r) body(r);
  }
  template <class Body>
  void each(const Body& body) const {
    for (uint32_t r = 0; r < c_.rows; ++r) {
      float* to = out(r);
      for (uint32_t i = 0; i < c_.width; ++i) to[i] = body(r, i);
    }
  }

  float activation(float x) const {
    switch (static_cast<graph::Activation>(c_.activation)) {
      case graph::Activation::silu:
        return x / (1 + std::exp(-x));
      case graph::Activation::gelu_tanh:
        return 0.5F * x * (1 + std::tanh(0.7978845608F * (x + 0.044715F * x * x * x)));
      case graph::Activation::gelu_erf:
        return 0.5F * x * (1 + std::erf(x * 0.7071067812F));
      case graph::Activation::sigmoid:
        return 1 / (1 + std::exp(-x));
      case graph::Activation::relu_squared:
        return x > 0 ? x * x : 0;
      case graph::Activation::none:
        return x;
      case graph::Activation::silu_clamped:
        break;
    }
    throw Failure{CudaPlugin::kOther, "an activation that is not known"};
  }
  float gated(float x, float y) const { return activation(x) * y; }

  void norm_rms() const {
    const uint32_t heads = std::max(1U, c_.heads), size = c_.width / heads;
    const auto* weight = static_cast<const float*>(c_.weight);
    if (weight != nullptr) checked(weight, c_.own != 0 ? c_.width : size);
    rows([&](uint32_t r) {
      for (uint32_t h = 0; h < heads; ++h) {
        const float* x = in(r) + h * size;
        double squares = 0;
        for (uint32_t i = 0; i < size; ++i) squares += double{x[i]} * double{x[i]};
        const double factor = 1 / std::sqrt(squares / size + double{c_.epsilon});
        float* to = out(r) + h * size;
        for (uint32_t i = 0; i < size; ++i) {
          const float w = weight == nullptr ? 1 : weight[(c_.own != 0 ? h * size : 0) + i];
          to[i] = static_cast<float>(double{x[i]} * factor) * w;
        }
      }
    });
  }

  void norm_layer() const {
    const float* weight = checked(static_cast<const float*>(c_.weight), c_.width);
    if (c_.bias != nullptr) checked(c_.bias, c_.width);
    rows([&](uint32_t r) {
      const float* x = in(r);
      double mean = 0, variance = 0;
      for (uint32_t i = 0; i < c_.width; ++i) mean += double{x[i]} / c_.width;
      for (uint32_t i = 0; i < c_.width; ++i)
        variance += (double{x[i]} - mean) * (double{x[i]} - mean) / c_.width;
      const double factor = 1 / std::sqrt(variance + double{c_.epsilon});
      float* to = out(r);
      for (uint32_t i = 0; i < c_.width; ++i) {
        to[i] = static_cast<float>((double{x[i]} - mean) * factor) * weight[i] +
                (c_.bias == nullptr ? 0 : c_.bias[i]);
      }
    });
  }

  void rope() const {
    const uint32_t half = c_.dims / 2, size = c_.width / c_.heads;
    rows([&](uint32_t r) {
      const auto position = static_cast<size_t>(*checked(step_.positions + r, 1));
      const float* table = checked(static_cast<const float*>(c_.weight) + position * c_.dims, c_.dims);
      for (uint32_t h = 0; h < c_.heads; ++h) {
        float* x = const_cast<float*>(in(r)) + h * size + c_.offset;
        for (uint32_t i = 0; i < half; ++i) {
          float& a = x[c_.neox != 0 ? i : 2 * i];
          float& b = x[c_.neox != 0 ? i + half : 2 * i + 1];
          const float cosine = table[i], sine = table[half + i], was = a;
          a = was * cosine - b * sine;
          b = was * sine + b * cosine;
        }
      }
    });
  }

  void rotate() const {
    const uint32_t block = c_.block == 0 ? c_.width : c_.block, blocks = c_.width / block;
    const auto* signs = static_cast<const float*>(c_.weight);
    if (signs != nullptr) checked(signs, c_.width);
    if (c_.bias != nullptr) checked(c_.bias, size_t{blocks} * blocks);
    rows([&](uint32_t r) {
      std::vector<float> x(in(r), in(r) + c_.width);
      for (uint32_t i = 0; signs != nullptr && i < c_.width; ++i) x[i] *= signs[i];
      kernel_set().vector.token_hadamard(x.data(), block, blocks);
      float* to = out(r);
      for (uint32_t i = 0; i < blocks; ++i) {
        for (uint32_t k = 0; k < block; ++k) {
          double sum = 0;
          for (uint32_t j = 0; j < blocks && c_.bias != nullptr; ++j)
            sum += double{c_.bias[i * blocks + j]} * double{x[j * block + k]};
          to[i * block + k] = c_.bias == nullptr ? x[i * block + k] : static_cast<float>(sum);
        }
      }
    });
  }

  // Calls body(row, position, slice) for each row of the step's slices.
  template <class Body>
  void slices(const Body& body) const {
    for (uint32_t s = 0; s < c_.slices; ++s) {
      const CudaSlice& slice = *checked(step_.slices + s, 1);
      if (slice.first_row + slice.rows > c_.rows)
        throw Failure{CudaPlugin::kOther, "a slice beyond the rows"};
      for (uint32_t i = 0; i < slice.rows; ++i) {
        if (slice.position + i + 1 > c_.longest)
          throw Failure{CudaPlugin::kOther, "a position beyond `longest`"};
        body(slice.first_row + i, slice.position + i, slice);
      }
    }
  }
  // A position's key or value of a kv head.
  uint16_t* place(const CudaSlice& slice, uint32_t position, uint32_t head, bool value) const {
    const uint32_t page = *checked(step_.pages + slice.table + position / kCudaPage, 1);
    const uint64_t begin = reinterpret_cast<uintptr_t>(c_.pages) + page * c_.page_bytes;
    const uint64_t at =
        ((uint64_t{value ? c_.kv_heads : 0} + head) * kCudaPage + position % kCudaPage) * c_.head_size;
    return checked(reinterpret_cast<uint16_t*>(begin) + at, c_.head_size);
  }

  void store() const {
    const uint32_t size = c_.head_size, width = c_.kv_heads * size;
    slices([&](uint32_t r, uint32_t position, const CudaSlice& slice) {
      const float* key = row(c_.in, r, c_.in_stride, width);
      const float* value = row(c_.in2, r, c_.in2_stride, width);
      for (uint32_t h = 0; h < c_.kv_heads; ++h) {
        std::transform(key + h * size, key + (h + 1) * size, place(slice, position, h, false), to_half);
        std::transform(value + h * size, value + (h + 1) * size, place(slice, position, h, true), to_half);
      }
    });
  }

  void attention() const {
    const uint32_t size = c_.head_size, width = c_.heads * size;
    slices([&](uint32_t r, uint32_t position, const CudaSlice& slice) {
      const float* query = row(c_.in, r, c_.in_stride, width);
      const uint32_t first = c_.window != 0 && position + 1 > c_.window ? position + 1 - c_.window : 0;
      for (uint32_t h = 0; h < c_.heads; ++h) {
        const uint32_t from = h / (c_.heads / c_.kv_heads);
        std::vector<double> weights(position + 1), sum(size);
        double top = -INFINITY, total = 0;
        for (uint32_t t = first; t <= position; ++t) {
          const uint16_t* key = place(slice, t, from, false);
          double score = 0;
          for (uint32_t i = 0; i < size; ++i)
            score += double{query[h * size + i]} * double{from_half(key[i])};
          score *= double{c_.factor};
          if (c_.cap != 0) score = double{c_.cap} * std::tanh(score / double{c_.cap});
          weights[t] = score;
          top = std::max(top, score);
        }
        for (uint32_t t = first; t <= position; ++t) {
          const double weight = std::exp(weights[t] - top);
          const uint16_t* value = place(slice, t, from, true);
          total += weight;
          for (uint32_t i = 0; i < size; ++i) sum[i] += weight * double{from_half(value[i])};
        }
        float* to = out(r, width) + h * size;
        for (uint32_t i = 0; i < size; ++i) to[i] = static_cast<float>(sum[i] / total);
      }
    });
  }

  void matrix_row(uint32_t index, float* to) const {
    const EncodingInfo& encoding = info(static_cast<Encoding>(c_.encoding));
    const size_t bytes = size_t{c_.width} / encoding.block_elements * encoding.block_bytes;
    if (index >= c_.matrix_rows) throw Failure{CudaPlugin::kOther, "a row beyond the matrix"};
    const std::byte* from = checked(static_cast<const std::byte*>(c_.weight) + index * bytes, bytes);
    kernel_set().encoding(encoding.encoding).dequantize(from, c_.width, to);
  }
  static float dot(const float* a, const float* b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += double{a[i]} * double{b[i]};
    return static_cast<float>(sum);
  }
  void put(uint32_t r, uint32_t n, float value) const {
    out(r, c_.n)[n] = c_.bias == nullptr ? value : value + *checked(c_.bias + n, 1);
  }

  void linear() const {
    std::vector<float> weights(c_.width);
    for (uint32_t n = 0; n < c_.n; ++n) {
      matrix_row(c_.first_row + n, weights.data());
      for (uint32_t r = 0; r < c_.rows; ++r) put(r, n, dot(in(r), weights.data(), c_.width));
    }
  }

  void linear_planes() const {
    const CudaPlanes& m = *checked(static_cast<const CudaPlanes*>(c_.weight), 1);
    if (m.k != c_.width || m.rows < c_.first_row + c_.n)
      throw Failure{CudaPlugin::kOther, "a stack's matrix of another shape"};
    std::vector<float> weights(m.k);
    for (uint32_t g = 0; g < m.group_count; ++g) {
      const CudaPlaneGroup& group = *checked(m.groups + g, 1);
      const int32_t level = c_.draft != 0 ? group.draft : group.level;
      for (uint32_t i = 0; i < group.rows; ++i) {
        // Rows before the first wrap around.
        const uint32_t n = *checked(m.destination + group.first_row + i, 1) - c_.first_row;
        if (n >= c_.n) continue;
        plane_row(m, group, level, i, weights.data());
        for (uint32_t r = 0; r < c_.rows; ++r)
          put(r, n, dot(level == kCudaExact ? in2(r) : in(r), weights.data(), m.k));
      }
    }
  }
  void plane_row(const CudaPlanes& m, const CudaPlaneGroup& group, int32_t level, uint32_t row,
                 float* to) const {
    if (level == kCudaExact) {
      const EncodingInfo& encoding = info(static_cast<Encoding>(m.exact));
      const size_t bytes = size_t{m.k} / encoding.block_elements * encoding.block_bytes;
      const std::byte* from = checked(static_cast<const std::byte*>(group.exact) + row * bytes, bytes);
      return kernel_set().encoding(encoding.encoding).dequantize(from, m.k, to);
    }
    const uint32_t tiles = (group.rows + 15) / 16;
    kernels::PlaneRows rows{};
    rows.level = static_cast<uint32_t>(level);
    rows.tiles = tiles;
    rows.scales = checked(c_.draft != 0 ? group.draft_scales : group.scales, group.rows);
    for (uint32_t plane = 0; plane < rows.level; ++plane)
      rows.planes[plane] =
          checked(static_cast<const std::byte*>(group.planes[plane]), uint64_t{tiles} * m.k * 2);
    const size_t offset = (size_t{1} << rows.level) - 2;
    const int8_t* table = checked(m.tables + offset, offset + 2);
    kernel_set().planes.row(rows, row, kernels::make_plane_table(rows.level, table), m.k, to);
  }

  const Memory& memory_;
  const CudaStep& step_;
  const CudaCommand& c_;
};

}  // namespace

void run(const Memory& memory, const CudaStep& step, const CudaCommand& command) {
  Run(memory, step, command).op();
}

}  // namespace cairn::fake_cuda
