// What products of few tokens share.
#pragma once

#include "cuda/forms.cuh"
#include "cuda/launch.hpp"
#include "cuda/source.cuh"

namespace cairn::cuda {

struct Place {
  const Part* part;
  uint32_t tile;  // of 16 rows of the matrix
};
__device__ __forceinline__ Place place_of(const LinearArguments& a, uint32_t block) {
  uint32_t i = 0;
  while (i + 1 < kMostParts && block >= a.first_block[i + 1]) ++i;
  const Part& part = a.parts[i];
  return {&part, part.first_row / kTileRows + block - a.first_block[i]};
}

#define CAIRN_DECLARE(name) void launch_##name(Stream& stream, LinearArguments& a);
CAIRN_FOR_EACH_FORM(CAIRN_DECLARE)
#undef CAIRN_DECLARE

}  // namespace cairn::cuda
