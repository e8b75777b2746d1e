// How near one frame is to another.
#pragma once

#include <cstdint>
#include <vector>

#include "base/thread_pool.hpp"
#include "video/frame.hpp"
#include "video/picture.hpp"

namespace cairn::video {

// Σ (a - b)² over a plane; both of one size.
double squared_error(const Plane& a, const Plane& b);
double squared_error(const Picture& a, const Picture& b);
// 10 · log10(peak² / mean); 100 where the mean is zero.
double psnr(double mean_square, double peak);

struct Similarity {
  double ssim = 0, ms_ssim = 0;
};

// Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004: Gaussian window of 11×11, σ = 1.5, K = 0.01, 0.03,
// windows that lie within the frame. MS-SSIM: Wang, Simoncelli, Bovik, Asilomar 2003: five scales with
// weights 0.0448, 0.2856, 0.3001, 0.2363, 0.1333, 2×2 means between them; frames too small for five take the
// first ones, their weights scaled to a sum of one. Frames smaller than the window: the window shrinks.
Similarity similarity(const Plane& a, const Plane& b, double peak, ThreadPool* pool);

// Σ (a - b)² of each square of `side` × `side`, row by row.
std::vector<double> patch_errors(const Plane& a, const Plane& b, uint32_t side);

}  // namespace cairn::video
