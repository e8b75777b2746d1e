// Where each grid's points begin in the table that a device has (kernels/grids.hpp).
#pragma once

namespace cairn::cuda::raw_bytes {

constexpr int kIq2Xxs = 0, kIq2Xs = kIq2Xxs + 256 * 8, kIq2S = kIq2Xs + 512 * 8, kIq3Xxs = kIq2S + 1024 * 8,
              kIq3S = kIq3Xxs + 256 * 4, kIq1 = kIq3S + 512 * 4, kGrid = kIq1 + 2048 * 8;

}  // namespace cairn::cuda::raw_bytes
