#pragma once

#include <hwy/highway.h>

#include <utility>

namespace cairn::kernels::CAIRN_TARGET {

// Calls body(0) … body(N − 1) unrolled. Loops over arrays of accumulators must vanish at compile time: g++ 12
// keeps such arrays in memory otherwise, at half the speed.
template <class Body, size_t... I>
HWY_INLINE void unroll(std::index_sequence<I...>, const Body& body) {
  (body(std::integral_constant<size_t, I>{}), ...);
}
#define CAIRN_UNROLL(n, i, ...) \
  unroll(                       \
      std::make_index_sequence<(n)>{}, [&](auto i) HWY_ATTR __attribute__((always_inline)) { __VA_ARGS__; })

// Holds a vector in its register at this point: without it clang 14 turns an unrolled chain of integer sums
// into a tree, and spills what the tree needs.
template <class Vector>
HWY_INLINE void pin(Vector& v) {
#if HWY_TARGET == HWY_AVX3
  __asm__ volatile("" : "+v"(v.raw));
#elif HWY_TARGET == HWY_AVX2
  __asm__ volatile("" : "+x"(v.raw));
#elif HWY_TARGET == HWY_NEON && defined(__aarch64__)
  __asm__ volatile("" : "+w"(v.raw));
#else
  (void)v;
#endif
}

// Hides where a pointer came from, so that a loop up to it is not unrolled whole: with all its loads moved to
// the top it would no longer fit the registers.
template <class T>
HWY_INLINE void hide(T*& pointer) {
  __asm__ volatile("" : "+r"(pointer));
}

}  // namespace cairn::kernels::CAIRN_TARGET
