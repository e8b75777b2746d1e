// Kernels whose blocks take one tile after another.
#pragma once

#include "cuda/launch.hpp"

namespace cairn::cuda {

// As many blocks as run at once, or one for each of `blocks`; for each of `groups` groups of tokens.
template <class Arguments>
void launch_resident(Stream& stream, void (*kernel)(Arguments), const Arguments& a, uint32_t blocks, uint32_t groups,
                     uint32_t threads, size_t bytes) {
  if (stream.error != cudaSuccess || blocks == 0) return;
  const void* it = reinterpret_cast<const void*>(kernel);
  if (bytes > 48 * 1024) {
    stream.error = cudaFuncSetAttribute(it, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (stream.error != cudaSuccess) return;
  }
  int each = 1;
  stream.error = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, it, static_cast<int>(threads), bytes);
  const uint32_t room = stream.processors * static_cast<uint32_t>(each < 1 ? 1 : each) / groups;
  stream.launch(kernel, dim3(blocks < room ? blocks : room < 1 ? 1 : room, groups), threads, bytes, a);
}

}  // namespace cairn::cuda
