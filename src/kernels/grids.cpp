#include "kernels/grids.hpp"

#include "kernels/grid_data.hpp"

namespace cairn::kernels {
namespace {

consteval unsigned digit(char c) {
  return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10);
}

// values: what the coordinates' numbers stand for.
template <size_t kCodes, size_t kDigits, size_t kValues>
consteval auto expand(const char (&digits)[kDigits], const uint8_t (&values)[kValues]) {
  constexpr size_t kPoints = (kDigits - 1) / 4, kBits = kCodes == 8 ? 2 : 3;
  Grid<kPoints, kCodes> grid{};
  for (size_t i = 0; i < kPoints; ++i) {
    unsigned point = 0;
    for (size_t j = 0; j < 4; ++j) point = point << 4 | digit(digits[4 * i + j]);
    for (size_t j = 0; j < kCodes; ++j) {
      const unsigned number = point >> (kBits * j) & ((1U << kBits) - 1);
      grid.points[i][j] = values[number];
      grid.words[i] =
          static_cast<uint16_t>(grid.words[i] | number << (j % 2 * 8 + j / 2 * (kCodes == 8 ? 2 : 4)));
    }
  }
  for (size_t i = 0; i < kPoints; ++i) {
    grid.low[i] = static_cast<uint8_t>(grid.words[i] & 0xFF);
    grid.high[i] = static_cast<uint8_t>(grid.words[i] >> 8);
  }
  for (size_t i = 0; i < 16; ++i) {
    const size_t number = i % (size_t{1} << kBits);
    grid.values[i] = number < kValues ? values[number] : uint8_t{0};
  }
  return grid;
}

constexpr uint8_t kValues2[] = {8, 25, 43}, kValues1[] = {8, 16, 24};
constexpr uint8_t kValues3Xxs[] = {4, 12, 20, 28, 36, 44, 52, 62}, kValues3S[] = {1, 3, 5, 7, 9, 11, 13, 15};

}  // namespace

constexpr Grid<256, 8> kGridIq2Xxs = expand<8>(grid_data::kIq2Xxs, kValues2);
constexpr Grid<512, 8> kGridIq2Xs = expand<8>(grid_data::kIq2Xs, kValues2);
constexpr Grid<1024, 8> kGridIq2S = expand<8>(grid_data::kIq2S, kValues2);
constexpr Grid<256, 4> kGridIq3Xxs = expand<4>(grid_data::kIq3Xxs, kValues3Xxs);
constexpr Grid<512, 4> kGridIq3S = expand<4>(grid_data::kIq3S, kValues3S);
constexpr Grid<2048, 8> kGridIq1 = expand<8>(grid_data::kIq1, kValues1);

}  // namespace cairn::kernels
