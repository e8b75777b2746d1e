#include "base/half.hpp"
#include "cuda/gpu/gpu.hpp"

namespace cairn::test {
namespace {

struct Shape {
  uint32_t heads, kv_heads, size, window;
  float cap;
};

// Sequences of other lengths whose pages lie about; of each some tokens are new.
struct Batch {
  std::vector<CudaSlice> slices;
  std::vector<uint32_t> pages;
  std::vector<int32_t> positions;
  uint32_t page_count = 0, longest = 0;
};
Batch batch(const std::vector<std::pair<uint32_t, uint32_t>>& sequences) {
  Batch b;
  uint32_t rows = 0;
  for (const auto& [before, some] : sequences) {
    b.slices.push_back({rows, some, before, static_cast<uint32_t>(b.pages.size())});
    for (uint32_t i = 0; i < some; ++i) b.positions.push_back(static_cast<int32_t>(before + i));
    rows += some;
    b.longest = std::max(b.longest, before + some);
    for (uint32_t i = 0; i < (before + some + kCudaPage - 1) / kCudaPage; ++i)
      b.pages.push_back(b.page_count++);
  }
  for (uint32_t& page : b.pages) page = (page * 7 + 3) % 101;  // 101 is prime: none twice
  b.page_count = 101;
  return b;
}

class Attention : public testing::TestWithParam<Shape> {};

TEST_P(Attention, OfPagesThatWereStored) {
  const Shape s = GetParam();
  const uint32_t width = s.heads * s.size, kv_width = s.kv_heads * s.size;
  const size_t page_halves = size_t{2} * s.kv_heads * kCudaPage * s.size;
  for (const auto& sequences : std::vector<std::vector<std::pair<uint32_t, uint32_t>>>{
           {{0, 1}}, {{63, 3}}, {{0, 5}, {64, 1}, {500, 8}, {129, 2}}, {{0, 200}}, {{300, 150}}}) {
    const Batch b = batch(sequences);
    const auto rows = static_cast<uint32_t>(b.positions.size());
    // What is there already.
    std::vector<float> past = normal(b.page_count * page_halves, 5);
    std::vector<uint16_t> halves(past.size());
    for (size_t i = 0; i < past.size(); ++i) {
      halves[i] = to_half(past[i]);
      past[i] = from_half(halves[i]);
    }
    const std::vector<float> q = normal(size_t{rows} * width, 1), k = normal(size_t{rows} * kv_width, 2),
                             v = normal(size_t{rows} * kv_width, 3);
    const Memory pages(halves), query(q), key(k), value(v), out(q.size() * 4), slices(b.slices),
        table(b.pages), positions(b.positions);
    CudaStep step{};
    step.positions = positions.as<int32_t>(), step.slices = slices.as<CudaSlice>(),
    step.pages = table.as<uint32_t>();
    CudaCommand store{};
    store.op = CudaOp::store, store.rows = rows, store.heads = s.heads, store.kv_heads = s.kv_heads;
    store.head_size = s.size, store.in = key.as(), store.in2 = value.as();
    store.in_stride = store.in2_stride = kv_width;
    store.pages = pages.as<std::byte>(), store.page_bytes = page_halves * 2;
    store.slices = static_cast<uint32_t>(b.slices.size()), store.longest = (b.longest + 63) / 64 * 64 * 2;
    CudaCommand attend = store;
    attend.op = CudaOp::attention, attend.in = query.as(), attend.in2 = nullptr, attend.out = out.as();
    attend.in_stride = attend.out_stride = width;
    attend.window = s.window, attend.cap = s.cap,
    attend.factor = 0.3f / std::sqrt(static_cast<float>(s.size));
    run({store, attend}, step);
    // The same by hand.
    const auto cell = [&](const CudaSlice& slice, uint32_t head, uint32_t position) {
      return b.pages[slice.table + position / kCudaPage] * page_halves +
             (size_t{head} * kCudaPage + position % kCudaPage) * s.size;
    };
    std::vector<double> want(q.size());
    const size_t values_at = size_t{s.kv_heads} * kCudaPage * s.size;
    for (const CudaSlice& slice : b.slices) {
      for (uint32_t r = 0; r < slice.rows; ++r) {
        for (uint32_t h = 0; h < s.kv_heads; ++h) {
          for (uint32_t i = 0; i < s.size; ++i) {
            const size_t from = size_t{slice.first_row + r} * kv_width + h * s.size + i;
            past[cell(slice, h, slice.position + r) + i] = from_half(to_half(k[from]));
            past[cell(slice, h, slice.position + r) + values_at + i] = from_half(to_half(v[from]));
          }
        }
      }
      for (uint32_t r = 0; r < slice.rows; ++r) {
        const uint32_t end = slice.position + r + 1,
                       begin = s.window != 0 && end > s.window ? end - s.window : 0;
        for (uint32_t h = 0; h < s.heads; ++h) {
          const size_t at = size_t{slice.first_row + r} * width + h * s.size;
          const uint32_t kv = h / (s.heads / s.kv_heads);
          double all = 0;
          std::vector<double> sum(s.size);
          for (uint32_t p = begin; p < end; ++p) {
            double score = 0;
            for (uint32_t i = 0; i < s.size; ++i) score += double{q[at + i]} * past[cell(slice, kv, p) + i];
            score *= attend.factor;
            if (s.cap != 0) score = s.cap * std::tanh(score / s.cap);
            const double weight = std::exp(score);
            all += weight;
            for (uint32_t i = 0; i < s.size; ++i) sum[i] += weight * past[cell(slice, kv, p) + values_at + i];
          }
          for (uint32_t i = 0; i < s.size; ++i) want[at + i] = sum[i] / all;
        }
      }
    }
    const std::vector<float> got = out.read();
    EXPECT_LT(distance(got, want), rows > kCudaBatch ? 2e-3 : 2e-6) << s.size << " " << rows;
    if (rows > kCudaBatch) continue;
    // Each slice's tokens one by one.
    for (const CudaSlice& slice : b.slices) {
      for (uint32_t r = 0; r < slice.rows; ++r) {
        const Memory one(std::vector<CudaSlice>{{0, 1, slice.position + r, slice.table}}), alone(width * 4);
        CudaStep single = step;
        single.slices = one.as<CudaSlice>();
        single.positions = positions.as<int32_t>() + slice.first_row + r;
        CudaCommand c = attend;
        c.rows = c.slices = 1, c.in = query.as() + size_t{slice.first_row + r} * width, c.out = alone.as();
        c.longest = (slice.position + r + kCudaPage) / kCudaPage * kCudaPage;
        run({c}, single);
        EXPECT_EQ(
            std::memcmp(alone.read().data(), got.data() + size_t{slice.first_row + r} * width, width * 4), 0);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention,
                         testing::Values(Shape{12, 2, 128, 0, 0}, Shape{8, 8, 64, 0, 0},
                                         Shape{4, 1, 256, 0, 50}, Shape{4, 2, 80, 100, 0},
                                         Shape{6, 1, 96, 33, 0}, Shape{9, 3, 64, 0, 0}, Shape{2, 1, 20, 0, 0},
                                         Shape{2, 2, 320, 70, 0}, Shape{7, 1, 64, 0, 20}));

}  // namespace
}  // namespace cairn::test
