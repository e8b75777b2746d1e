// Copies into shared memory that go on while a kernel computes; before 8.0 they are made at once.
#pragma once

#include "cuda/common.cuh"

namespace cairn::cuda {

// 16 bytes, zeros where they are not used.
__device__ __forceinline__ void copy_16(void* to, const void* from, bool used) {
#if __CUDA_ARCH__ >= 800
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  const int bytes = used ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
#else
  *static_cast<uint4*>(to) = used ? *static_cast<const uint4*>(from) : uint4{};
#endif
}
__device__ __forceinline__ void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
// Until no more than kLeft of the committed groups are under way.
template <int kLeft>
__device__ __forceinline__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
#endif
}

}  // namespace cairn::cuda
