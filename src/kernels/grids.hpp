// The grids of the IQ encodings: an index in a block stands for eight or four codes side by side.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cairn::kernels {

// words: the points with 2 (of four codes 3) bits a code, the number of its value; bit 8 · (i % 2) + 2 · (i /
// 2) (of four: 4 · (i / 2)) is code i's lowest. values: what the numbers stand for, over and over.
template <size_t kPoints, size_t kCodes>
struct Grid {
  alignas(64) uint8_t points[kPoints][kCodes];
  alignas(64) uint16_t words[kPoints];
  alignas(64) uint8_t low[kPoints], high[kPoints];  // of the words
  alignas(16) uint8_t values[16];
};

extern const Grid<256, 8> kGridIq2Xxs;
extern const Grid<512, 8> kGridIq2Xs;
extern const Grid<1024, 8> kGridIq2S;
extern const Grid<256, 4> kGridIq3Xxs;
extern const Grid<512, 4> kGridIq3S;
extern const Grid<2048, 8> kGridIq1;  // 16 more than eight times −1, 0 or 1

}  // namespace cairn::kernels
