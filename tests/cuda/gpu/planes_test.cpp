#include "base/error.hpp"
#include "base/half.hpp"
#include "cuda/gpu/gpu.hpp"

namespace cairn::test {
namespace {

// A stack's matrix of random planes: groups at levels 1 to 7 and one of exact rows.
TEST(Planes, OfEveryLevelAndExactRows) {
  for (const uint32_t k : {32u, 576u, 1536u, 4864u}) {
    constexpr uint32_t kEach = 32, kGroups = 8;
    const uint32_t stored = kEach * (kGroups - 1) + 16, outputs = stored - 5, groups = k / 32;
    std::mt19937_64 random(k);
    // Tables: odd at seven bits, as their kernel asks.
    std::vector<int8_t> tables(254);
    for (int8_t& t : tables) t = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
    for (int c = 0; c < 64; ++c) tables[126 + c] = static_cast<int8_t>(-tables[126 + 127 - c]);
    std::vector<uint32_t> destination(stored);
    for (uint32_t i = 0; i < stored; ++i) destination[i] = i < outputs ? i : UINT32_MAX;
    std::shuffle(destination.begin(), destination.end(), random);
    // Planes [tile][k / 32][64]: byte 4 · r + c has column 4 · i + c of row r in bit i.
    std::vector<uint8_t> codes(size_t{stored} * k);
    std::vector<Memory> planes;
    for (uint8_t& c : codes) c = static_cast<uint8_t>(random() & 127);
    for (int plane = 0; plane < 7; ++plane) {
      std::vector<uint8_t> bytes(size_t{stored} / 16 * groups * 64);
      for (uint32_t r = 0; r < stored; ++r) {
        for (uint32_t i = 0; i < k; ++i) {
          const uint8_t bit = codes[size_t{r} * k + i] >> (6 - plane) & 1;
          bytes[(size_t{r / 16} * groups + i / 32) * 64 + r % 16 * 4 + i % 4] |=
              static_cast<uint8_t>(bit << (i % 32 / 4));
        }
      }
      planes.emplace_back(bytes);
    }
    std::vector<uint16_t> scale(stored);
    for (uint16_t& s : scale) s = to_half(0.001f + static_cast<float>(random() % 1000) * 1e-5f);
    const Memory scales(scale), lut(tables), to(destination);
    const Matrix exact = random_matrix(Encoding::q4_1, 16, k, 3);
    const std::vector<uint8_t> rows_bytes(
        reinterpret_cast<const uint8_t*>(exact.file.data()),
        reinterpret_cast<const uint8_t*>(exact.file.data()) + exact.file.size());
    const Memory exact_rows(rows_bytes);
    std::vector<CudaPlaneGroup> about(kGroups);
    for (uint32_t g = 0; g < kGroups; ++g) {
      CudaPlaneGroup& group = about[g];
      group.level = static_cast<int32_t>(g) + 1, group.draft = group.level > 2 ? 2 : 1;
      group.first_row = g * kEach, group.rows = g + 1 < kGroups ? kEach : 16;
      for (int i = 0; i < 7; ++i)
        group.planes[i] = planes[static_cast<size_t>(i)].as<uint8_t>() + size_t{g} * 2 * groups * 64;
      group.scales = group.draft_scales = scales.as<uint16_t>() + group.first_row;
      group.exact = group.level == kCudaExact ? exact_rows.as<uint8_t>() : nullptr;
    }
    const Memory group_memory(about);
    const CudaPlanes stack{
        group_memory.as<CudaPlaneGroup>(),    lut.as<int8_t>(), to.as<uint32_t>(), kGroups, kEach, stored, k,
        static_cast<uint32_t>(Encoding::q4_1)};
    const Memory matrix(std::vector<CudaPlanes>{stack});
    constexpr uint32_t kRows = 70;
    const std::vector<float> x = normal(size_t{kRows} * k, 1), plain = normal(size_t{kRows} * k, 2),
                             offset = normal(outputs, 4);
    const Memory in(x), in2(plain), bias(offset);
    for (const int draft : {0, 1}) {
      std::vector<double> want(size_t{kRows} * outputs);
      for (uint32_t t = 0; t < kRows; ++t) {
        const std::vector<float> q = rounded(std::span(x).subspan(size_t{t} * k, k), k);
        for (uint32_t r = 0; r < stored; ++r) {
          if (destination[r] == UINT32_MAX) continue;
          const CudaPlaneGroup& group = about[r / kEach];
          const int level = draft ? group.draft : group.level;
          double sum = 0;
          for (uint32_t i = 0; i < k; ++i) {
            if (level == kCudaExact) {
              sum += double{exact.values[size_t{r - group.first_row} * k + i]} * plain[size_t{t} * k + i];
            } else {
              const size_t code = codes[size_t{r} * k + i] >> (7 - level);
              sum += tables[(size_t{1} << level) - 2 + code] * double{q[i]} * from_half(scale[r]);
            }
          }
          want[size_t{t} * outputs + destination[r]] = sum + offset[destination[r]];
        }
      }
      std::vector<float> one;
      for (const uint32_t rows : {1u, 8u, 13u, 64u, 70u}) {
        const Memory out(size_t{rows} * outputs * 4);
        CudaCommand c{};
        c.op = CudaOp::linear_planes, c.rows = rows, c.width = k, c.in = in.as(), c.in2 = in2.as(),
        c.out = out.as();
        c.in_stride = c.in2_stride = k, c.out_stride = outputs, c.weight = matrix.as<CudaPlanes>();
        c.bias = bias.as(), c.n = outputs, c.matrix_rows = stored, c.draft = draft;
        run({c});
        const std::vector<float> got = out.read();
        const std::vector<double> part(want.begin(), want.begin() + size_t{rows} * outputs);
        EXPECT_LT(distance(got, part), rows > kCudaBatch ? 3e-3 : 2e-6) << k << " " << rows << " " << draft;
        if (one.empty()) one = got;
        EXPECT_EQ(rows <= kCudaBatch ? std::memcmp(one.data(), got.data(), one.size() * 4) : 0, 0)
            << k << " " << rows;
      }
    }
  }
}

TEST(Matrices, ThatAreNotThereAreRefused) {
  uint64_t bytes = 0;
  char message[256] = "";
  EXPECT_EQ(plugin().matrix_bytes(999, 1, 32, &bytes, message, sizeof(message)),
            static_cast<int>(ErrorCode::unsupported));
  EXPECT_EQ(
      plugin().matrix_bytes(static_cast<uint32_t>(Encoding::q4_k), 1, 100, &bytes, message, sizeof(message)),
      static_cast<int>(ErrorCode::unsupported));
  EXPECT_NE(std::string(message), "");
}

TEST(Device, ErrorsAreToldAndItGoesOn) {
  char message[256] = "";
  void* memory = nullptr;
  EXPECT_EQ(plugin().allocate(device(), uint64_t{1} << 46, &memory, message, sizeof(message)),
            static_cast<int>(ErrorCode::out_of_memory));
  EXPECT_NE(std::string(message).find("memory"), std::string::npos) << message;
  void* other = nullptr;
  EXPECT_EQ(plugin().open(77, &other, message, sizeof(message)), static_cast<int>(ErrorCode::not_found))
      << message;
  uint64_t free = 0, all = 0;
  EXPECT_EQ(plugin().free_memory(device(), &free, &all, message, sizeof(message)), 0) << message;
  EXPECT_LT(free, all);
  int32_t count = 0;
  EXPECT_EQ(plugin().count(&count, message, sizeof(message)), 0) << message;
  CudaDeviceInfo about{};
  EXPECT_EQ(plugin().describe(0, &about, message, sizeof(message)), 0) << message;
  EXPECT_GE(about.capability, 75);
}

}  // namespace
}  // namespace cairn::test
