#include "cuda/resident.cuh"

namespace cairn::cuda {

uint32_t resident_blocks(Stream& stream, const void* kernel, uint32_t blocks, uint32_t groups,
                         uint32_t threads, size_t bytes) {
  if (stream.error != cudaSuccess || blocks == 0) return 0;
  if (bytes > 40 * 1024) {  // with what kernels have beside it, 48 KB are free
    stream.error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (stream.error != cudaSuccess) return 0;
  }
  int each = 1;
  stream.error =
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, static_cast<int>(threads), bytes);
  if (stream.dependent) each = (each * stream.share + 99) / 100;
  const uint32_t room = stream.processors * static_cast<uint32_t>(each < 1 ? 1 : each) / groups;
  return blocks < room ? blocks : room < 1 ? 1 : room;
}

}  // namespace cairn::cuda
