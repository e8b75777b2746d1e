#include "cuda/gpu/gpu.hpp"

namespace cairn::test {
namespace {

class Linear : public testing::TestWithParam<Encoding> {};

struct Shape {
  uint32_t rows, k, first, n;
};

bool is_float(Encoding e) {
  return e == Encoding::f32 || e == Encoding::f16 || e == Encoding::bf16;
}

CudaCommand command(const Matrix& m, const Memory& in, uint32_t rows, uint32_t stride, const Memory& out,
                    uint32_t first, uint32_t n) {
  CudaCommand c{};
  c.op = CudaOp::linear;
  c.rows = rows, c.width = m.k, c.in = in.as(), c.in_stride = stride, c.out = out.as(), c.out_stride = n;
  c.weight = m.memory.as<std::byte>(), c.encoding = static_cast<uint32_t>(m.encoding);
  c.matrix_rows = m.rows, c.first_row = first, c.n = n;
  return c;
}

TEST_P(Linear, IsTheProductAndATokensBitsAreItsOwn) {
  const Encoding encoding = GetParam();
  const uint32_t block = info(encoding).block_elements;
  const uint32_t odd = block == 1 ? 37 : block, many = block <= 32 ? 864 : 768;
  for (const Shape s :
       {Shape{1, odd, 0, 1}, Shape{50, many, 5, 41}, Shape{33, 4864, 0, 33}, Shape{160, 1536, 16, 128}}) {
    const Matrix m = random_matrix(encoding, s.rows, s.k, s.k);
    constexpr uint32_t kRows = 75;
    const uint32_t stride = s.k + 3;
    const std::vector<float> x = normal(size_t{kRows} * stride, 7), bias = normal(s.n, 8);
    const Memory in(x), offset(bias);
    // Blocks are read by integer products, but for those that have no form of their own: floats.
    std::vector<double> want(size_t{kRows} * s.n), other(want.size());
    for (uint32_t r = 0; r < kRows; ++r) {
      const std::span<const float> row(x.data() + size_t{r} * stride, s.k);
      const std::vector<float> q = rounded(row, 32);
      for (uint32_t j = 0; j < s.n; ++j) {
        double sum = bias[j], plain = bias[j];
        const float* w = m.values.data() + size_t{s.first + j} * s.k;
        for (uint32_t i = 0; i < s.k; ++i) sum += double{w[i]} * q[i], plain += double{w[i]} * row[i];
        want[size_t{r} * s.n + j] = sum, other[size_t{r} * s.n + j] = plain;
      }
    }
    std::vector<float> alone;
    for (const uint32_t rows : {1u, 2u, 7u, 8u, 9u, 17u, 33u, 64u, 75u}) {
      const Memory out(size_t{rows} * s.n * sizeof(float));
      CudaCommand c = command(m, in, rows, stride, out, s.first, s.n);
      c.bias = offset.as();
      run({c});
      const std::vector<float> got = out.read();
      const std::vector<double> part(want.begin(), want.begin() + size_t{rows} * s.n);
      const std::vector<double> exact(other.begin(), other.begin() + size_t{rows} * s.n);
      const double error = std::min(distance(got, part), distance(got, exact));
      EXPECT_LT(error, rows > kCudaBatch    ? 3e-3
                       : is_float(encoding) ? 2e-5
                                            : 3e-6)
          << info(encoding).name << " " << s.rows << "x" << s.k << ", " << rows << " rows";
      if (rows > kCudaBatch) continue;
      for (size_t i = 0; i < std::min(alone.size(), got.size()); ++i) {
        ASSERT_EQ(std::memcmp(&alone[i], &got[i], 4), 0) << info(encoding).name << " " << rows << " " << i;
      }
      if (got.size() > alone.size()) alone = got;
      // Some row in the middle, by itself.
      const Memory one(s.n * sizeof(float));
      CudaCommand single = c;
      single.rows = 1, single.in = in.as() + size_t{rows - 1} * stride, single.out = one.as();
      run({single});
      const std::vector<float> lonely = one.read();
      EXPECT_EQ(std::memcmp(lonely.data(), got.data() + size_t{rows - 1} * s.n, s.n * sizeof(float)), 0)
          << info(encoding).name << " " << s.k << " row " << rows - 1;
    }
  }
}

TEST_P(Linear, RowsAreEmbedded) {
  const Encoding encoding = GetParam();
  const uint32_t block = info(encoding).block_elements;
  const uint32_t k = block == 1 ? 75 : 2 * std::max(block, 160 / block * block);
  const Matrix m = random_matrix(encoding, 37, k, 3);
  const Memory tokens(std::vector<int32_t>{0, 36, 7, 8, 15, 16, 31});
  const Memory out(7 * k * sizeof(float));
  CudaStep step{};
  step.tokens = tokens.as<int32_t>();
  CudaCommand c{};
  c.op = CudaOp::embed;
  c.rows = 7, c.width = k, c.out = out.as(), c.out_stride = k, c.weight = m.memory.as<std::byte>();
  c.encoding = static_cast<uint32_t>(encoding), c.matrix_rows = m.rows;
  run({c}, step);
  const std::vector<float> got = out.read();
  const uint32_t rows[] = {0, 36, 7, 8, 15, 16, 31};
  for (size_t r = 0; r < 7; ++r) {
    for (size_t i = 0; i < k; ++i) {
      ASSERT_EQ(got[r * k + i], m.values[rows[r] * k + i])
          << info(encoding).name << " row " << rows[r] << " " << i;
    }
  }
}

std::vector<Encoding> all() {
  std::vector<Encoding> list;
  for (const EncodingInfo& e : encodings()) list.push_back(e.encoding);
  return list;
}
INSTANTIATE_TEST_SUITE_P(All, Linear, testing::ValuesIn(all()),
                         [](const auto& it) { return std::string(cairn::info(it.param).name); });

// Several products of what a norm leaves, as models have them: what goes together has the bits of one by one.
TEST(Fused, NormsGatesProductsAndSums) {
  const uint32_t k = 1536, n = 96;
  const Matrix a = random_matrix(Encoding::q4_k, n, k, 1), b = random_matrix(Encoding::q4_k, n, k, 2),
               c = random_matrix(Encoding::q6_k, n, k, 3), d = random_matrix(Encoding::bf16, k, n, 4),
               e = random_matrix(Encoding::q4_0, 50, k, 5), f = random_matrix(Encoding::bf16, 40, k, 6),
               g = random_matrix(Encoding::q8_0, k, n, 7);
  const std::vector<float> x = normal(size_t{5} * k, 1), y = normal(size_t{5} * k, 2), w = normal(k, 3);
  for (const uint32_t rows : {1u, 5u}) {
    const Memory in(x), in2(y), weight(w), normed(x.size() * 4), out1(rows * n * 4), out2(rows * n * 4),
        out3(rows * n * 4), gate(rows * n * 4), branch(x.size() * 4), out5(rows * 50 * 4),
        out6(rows * 40 * 4);
    const auto list = [&](bool apart, std::vector<float>& fifth, std::vector<float>& sixth) {
      const Memory hidden(x.size() * 4);
      std::vector<CudaCommand> l;
      const auto norm = [&] {
        CudaCommand it{};
        it.op = CudaOp::norm_rms, it.rows = rows, it.width = k, it.in = hidden.as(), it.out = normed.as();
        it.in_stride = it.out_stride = k, it.weight = weight.as(), it.epsilon = 1e-6f;
        l.push_back(it);
      };
      const auto sum = [&](const Memory& first, const Memory& second) {
        CudaCommand it{};
        it.op = CudaOp::add, it.rows = rows, it.width = k, it.in = first.as(), it.in2 = second.as();
        it.out = hidden.as(), it.in_stride = it.in2_stride = it.out_stride = k;
        l.push_back(it);
      };
      sum(in, in2);
      norm();
      l.push_back(command(a, normed, rows, k, out1, 0, n));
      l.push_back(command(b, normed, rows, k, out2, 0, n));
      l.push_back(command(c, normed, rows, k, out3, 0, n));
      CudaCommand open{};
      open.op = CudaOp::gate, open.activation = 1, open.rows = rows, open.width = n, open.in = out1.as();
      open.in2 = out2.as(), open.out = gate.as(), open.in_stride = open.in2_stride = open.out_stride = n;
      l.push_back(open);
      l.push_back(command(d, gate, rows, n, branch, 0, k));
      sum(hidden, branch);
      norm();
      l.push_back(command(e, normed, rows, k, out5, 0, 50));
      l.push_back(command(g, out3, rows, n, branch, 0, k));
      sum(branch, hidden);
      norm();
      l.push_back(command(f, normed, rows, k, out6, 0, 40));
      if (apart) {
        for (const CudaCommand& one : l) run({one});
      } else {
        run(l);
      }
      fifth = out5.read(), sixth = out6.read();
    };
    std::vector<float> fifth, sixth, fifth_alone, sixth_alone;
    list(true, fifth_alone, sixth_alone);
    list(false, fifth, sixth);
    EXPECT_EQ(std::memcmp(fifth.data(), fifth_alone.data(), fifth.size() * 4), 0) << rows;
    EXPECT_EQ(std::memcmp(sixth.data(), sixth_alone.data(), sixth.size() * 4), 0) << rows;
    EXPECT_GT(std::abs(sixth[0]), 0);
  }
}

// A list of a key is a graph from the second time on.
TEST(Fused, GraphsComputeWhatListsDo) {
  const uint32_t k = 256, n = 64, rows = 3;
  const Matrix a = random_matrix(Encoding::q4_0, n, k, 1), b = random_matrix(Encoding::f16, k, n, 2);
  const Memory in(normal(size_t{rows} * k, 1)), between(rows * n * 4), out(rows * k * 4);
  const std::vector<CudaCommand> list = {command(a, in, rows, k, between, 0, n),
                                         command(b, between, rows, n, out, 0, k)};
  run(list);
  const std::vector<float> want = out.read();
  for (int i = 0; i < 4; ++i) {
    run(list, {}, 77);
    EXPECT_EQ(out.read(), want);
  }
  char message[256];
  EXPECT_EQ(plugin().forget(device(), 77, message, sizeof(message)), 0);
  run(list, {}, 77);
  EXPECT_EQ(out.read(), want);
}

}  // namespace
}  // namespace cairn::test
