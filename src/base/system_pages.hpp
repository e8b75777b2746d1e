// Rounding to pages of the system's memory: 4 KiB on x86-64, on ARM64 also 16 or 64 KiB, as the kernel was
// built.
#pragma once

#include <unistd.h>

#include <cstdint>

namespace cairn {

inline uint64_t system_page_bytes() {
  return static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// `at`, an address or an offset, down and up to where a page of `page` bytes begins.
constexpr uint64_t page_down(uint64_t at, uint64_t page) {
  return at / page * page;
}
constexpr uint64_t page_up(uint64_t at, uint64_t page) {
  return (at + page - 1) / page * page;
}

struct PageRange {
  uint64_t begin = 0, end = 0;  // both 0: no page
  constexpr bool operator==(const PageRange&) const = default;
};

// The pages of [begin, end). Those at its ends belong to neighbours too: whether they are among them.
constexpr PageRange pages_of(uint64_t begin, uint64_t end, uint64_t page, bool with_first, bool with_last) {
  const uint64_t first = with_first ? page_down(begin, page) : page_up(begin, page);
  const uint64_t last = with_last ? page_up(end, page) : page_down(end, page);
  return first < last ? PageRange{first, last} : PageRange{};
}

// Where in `reserved` bytes at address `at` a mapping of `size` bytes goes that begins at a multiple of
// `alignment`, which is one of `page`: what lies before and behind it is whole pages and can be given back.
// reserved ≥ page_up(size) + alignment.
constexpr PageRange aligned_place(uint64_t at, uint64_t size, uint64_t alignment, uint64_t page) {
  const uint64_t begin = page_up(at, alignment);
  return {begin, begin + page_up(size, page)};
}

}  // namespace cairn
