#include "cuda/gpu/gpu.hpp"

namespace cairn::test {
namespace {

CudaCommand plain(CudaOp op, uint32_t rows, uint32_t width, const Memory& in, const Memory& out) {
  CudaCommand c{};
  c.op = op, c.rows = rows, c.width = width, c.in = in.as(), c.out = out.as();
  c.in_stride = c.in2_stride = c.out_stride = width;
  return c;
}

TEST(Ops, Norms) {
  for (const uint32_t width : {5u, 96u, 1536u, 8960u}) {
    const uint32_t rows = 3;
    const std::vector<float> x = normal(size_t{rows} * width, width), w = normal(width, 2),
                             b = normal(width, 3);
    const Memory in(x), weight(w), bias(b), out(x.size() * 4);
    for (const bool layer : {false, true}) {
      CudaCommand c = plain(layer ? CudaOp::norm_layer : CudaOp::norm_rms, rows, width, in, out);
      c.weight = weight.as(), c.epsilon = 1e-5f;
      if (layer) c.bias = bias.as();
      run({c});
      std::vector<double> want(x.size());
      for (uint32_t r = 0; r < rows; ++r) {
        const float* v = x.data() + size_t{r} * width;
        double mean = 0, squares = 0;
        for (uint32_t i = 0; i < width && layer; ++i) mean += v[i] / double{static_cast<double>(width)};
        for (uint32_t i = 0; i < width; ++i) squares += (v[i] - mean) * (v[i] - mean);
        for (uint32_t i = 0; i < width; ++i) {
          want[size_t{r} * width + i] =
              (v[i] - mean) / std::sqrt(squares / width + 1e-5) * w[i] + (layer ? b[i] : 0);
        }
      }
      EXPECT_LT(distance(out.read(), want), 1e-6) << width << layer;
    }
  }
}

TEST(Ops, NormsOfHeads) {
  const uint32_t rows = 2, heads = 7, size = 80, width = heads * size;
  const std::vector<float> x = normal(size_t{rows} * width, 1), w = normal(width, 2);
  const Memory in(x), weight(w), out(x.size() * 4);
  for (const int own : {0, 1}) {
    CudaCommand c = plain(CudaOp::norm_rms, rows, width, in, out);
    c.heads = heads, c.own = own, c.weight = weight.as(), c.epsilon = 1e-6f;
    run({c});
    std::vector<double> want(x.size());
    for (uint32_t h = 0; h < rows * heads; ++h) {
      double squares = 0;
      for (uint32_t i = 0; i < size; ++i) squares += double{x[h * size + i]} * x[h * size + i];
      for (uint32_t i = 0; i < size; ++i) {
        want[h * size + i] =
            x[h * size + i] / std::sqrt(squares / size + 1e-6) * w[own ? h % heads * size + i : i];
      }
    }
    EXPECT_LT(distance(out.read(), want), 1e-6) << own;
  }
}

double activated(int kind, double x, double y) {
  switch (kind) {
    case 1:
      return x / (1 + std::exp(-x)) * y;
    case 2:
      return 0.5 * x * (1 + std::tanh(0.7978845608 * (x + 0.044715 * x * x * x))) * y;
    case 3:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))) * y;
    case 4:
      return std::min(x, 7.0) / (1 + std::exp(-1.702 * std::min(x, 7.0))) * (std::clamp(y, -7.0, 7.0) + 1);
    case 5:
      return y / (1 + std::exp(-x));
    case 6:
      return x > 0 ? x * x * y : 0;
    default:
      return x * y;
  }
}

TEST(Ops, GatesActivationsSumsScalesCapsAndTaking) {
  const uint32_t rows = 9, width = 133;
  const std::vector<float> x = normal(size_t{rows} * width, 1, 4), y = normal(x.size(), 2, 4);
  const Memory in(x), in2(y), out(x.size() * 4);
  std::vector<double> want(x.size());
  const auto expect = [&](CudaCommand c, const auto& f, const char* what) {
    run({c});
    for (size_t i = 0; i < x.size(); ++i) want[i] = f(i);
    EXPECT_LT(distance(out.read(), want), 2e-6) << what;
  };
  for (int kind = 0; kind <= 6; ++kind) {
    CudaCommand c = plain(CudaOp::gate, rows, width, in, out);
    c.in2 = in2.as(), c.activation = kind;
    expect(
        c, [&](size_t i) { return activated(kind, x[i], y[i]); }, "gate");
    if (kind == 4) continue;
    CudaCommand one = plain(CudaOp::activate, rows, width, in, out);
    one.activation = kind;
    expect(
        one, [&](size_t i) { return activated(kind, x[i], 1); }, "activate");
  }
  CudaCommand add = plain(CudaOp::add, rows, width, in, out);
  add.in2 = in2.as();
  expect(
      add, [&](size_t i) { return double{x[i]} + y[i]; }, "add");
  CudaCommand scale = plain(CudaOp::scale, rows, width, in, out);
  scale.factor = 2.5f;
  expect(
      scale, [&](size_t i) { return x[i] * 2.5; }, "scale");
  scale.op = CudaOp::softcap;
  expect(
      scale, [&](size_t i) { return 2.5 * std::tanh(x[i] / 2.5); }, "softcap");
  const Memory index(std::vector<int32_t>{8, 0, 3, 3, 1, 2, 7, 6, 5});
  CudaCommand take = plain(CudaOp::take, rows, width, in, out);
  take.weight = index.as<int32_t>();
  const int from[] = {8, 0, 3, 3, 1, 2, 7, 6, 5};
  expect(
      take, [&](size_t i) { return double{x[static_cast<size_t>(from[i / width]) * width + i % width]}; },
      "take");
}

TEST(Ops, Rotations) {
  struct Case {
    uint32_t width, block;
  };
  for (const Case s : {Case{64, 64}, Case{576, 64}, Case{1536, 512}, Case{8960, 256}, Case{96, 32}}) {
    const uint32_t rows = 3, blocks = s.width / s.block;
    const std::vector<float> x = normal(size_t{rows} * s.width, 1),
                             mixing = normal(size_t{blocks} * blocks, 5);
    std::vector<float> sign = normal(s.width, 9);
    for (float& v : sign) v = v < 0 ? -1.0f : 1.0f;
    const Memory in(x), signs(sign), mix(mixing), out(x.size() * 4);
    for (const bool mixed : {false, true}) {
      CudaCommand c = plain(CudaOp::rotate, rows, s.width, in, out);
      c.weight = signs.as(), c.block = s.block;
      if (mixed) c.bias = mix.as();
      run({c});
      std::vector<double> want(x.size());
      for (uint32_t r = 0; r < rows; ++r) {
        std::vector<double> v(s.width);
        for (uint32_t i = 0; i < s.width; ++i) {
          for (uint32_t j = 0; j < s.block; ++j) {
            const uint32_t from = i / s.block * s.block + j;
            const double one = __builtin_popcount(i % s.block & j) % 2 == 0 ? 1 : -1;
            v[i] += one * x[size_t{r} * s.width + from] * sign[from] /
                    std::sqrt(double{static_cast<double>(s.block)});
          }
        }
        for (uint32_t i = 0; i < s.width; ++i) {
          double sum = mixed ? 0 : v[i];
          for (uint32_t j = 0; j < blocks && mixed; ++j) {
            sum += mixing[i / s.block * blocks + j] * v[j * s.block + i % s.block];
          }
          want[size_t{r} * s.width + i] = sum;
        }
      }
      EXPECT_LT(distance(out.read(), want), 2e-6) << s.width << mixed;
    }
  }
}

TEST(Ops, Rope) {
  const uint32_t rows = 4, heads = 3, size = 96, dims = 64, offset = 16, context = 50, width = heads * size;
  const std::vector<float> x = normal(size_t{rows} * width, 1), table = normal(size_t{context} * dims, 2);
  const Memory cosines(table), positions(std::vector<int32_t>{0, 49, 7, 30});
  const uint32_t at[] = {0, 49, 7, 30};
  CudaStep step{};
  step.positions = positions.as<int32_t>();
  for (const int neox : {0, 1}) {
    const Memory in(x);
    CudaCommand c = plain(CudaOp::rope, rows, width, in, in);
    c.heads = heads, c.head_size = size, c.dims = dims, c.offset = offset, c.neox = neox,
    c.weight = cosines.as();
    run({c}, step);
    std::vector<double> want(x.begin(), x.end());
    for (uint32_t r = 0; r < rows; ++r) {
      for (uint32_t h = 0; h < heads; ++h) {
        for (uint32_t i = 0; i < dims / 2; ++i) {
          const size_t base = size_t{r} * width + h * size + offset;
          const size_t p = base + (neox ? i : 2 * i), q = base + (neox ? i + dims / 2 : 2 * i + 1);
          const double cosine = table[at[r] * dims + i], sine = table[at[r] * dims + dims / 2 + i];
          want[p] = x[p] * cosine - x[q] * sine;
          want[q] = x[q] * cosine + x[p] * sine;
        }
      }
    }
    EXPECT_LT(distance(in.read(), want), 1e-6) << neox;
  }
}

}  // namespace
}  // namespace cairn::test
