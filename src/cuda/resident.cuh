// Kernels whose blocks take one tile after another.
#pragma once

#include "cuda/launch.hpp"

namespace cairn::cuda {

// How many blocks for each of `groups` groups of tokens: one for each of `blocks`, or as many as run at once
// (a share of them, CAIRN_CUDA_SHARE in percent, leaves room for the next kernel's).
uint32_t resident_blocks(Stream& stream, const void* kernel, uint32_t blocks, uint32_t groups,
                         uint32_t threads, size_t bytes);

template <class Arguments>
void launch_resident(Stream& stream, void (*kernel)(Arguments), const Arguments& a, uint32_t blocks,
                     uint32_t groups, uint32_t threads, size_t bytes) {
  const uint32_t size =
      resident_blocks(stream, reinterpret_cast<const void*>(kernel), blocks, groups, threads, bytes);
  stream.launch(kernel, dim3(size, groups), threads, bytes, a);
}

}  // namespace cairn::cuda
