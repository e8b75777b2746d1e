// Rounding to pages as large as those of kernels that are not at hand.
#include "base/system_pages.hpp"

#include <gtest/gtest.h>

#include "base/random.hpp"

namespace cairn {
namespace {

constexpr uint64_t kHuge = uint64_t{2} << 20;

class SystemPages : public testing::TestWithParam<uint64_t> {};

INSTANTIATE_TEST_SUITE_P(Kernels, SystemPages, testing::Values(4096, 16384, 65536),
                         [](const auto& of) { return std::to_string(of.param / 1024) + "KiB"; });

TEST(SystemPage, IsAPowerOfTwoOfAtLeast4KiB) {
  EXPECT_GE(system_page_bytes(), 4096u);
  EXPECT_EQ(system_page_bytes() & (system_page_bytes() - 1), 0u);
}

TEST_P(SystemPages, RoundTheLeastWayToAMultiple) {
  const uint64_t page = GetParam();
  for (const uint64_t at : {uint64_t{0}, uint64_t{1}, page - 1, page, page + 1, 7 * page + 5, kHuge - 1,
                            uint64_t{0x7FFF'FFFF'0000} + 3}) {
    EXPECT_EQ(page_down(at, page) % page, 0u);
    EXPECT_EQ(page_up(at, page) % page, 0u);
    EXPECT_LE(page_down(at, page), at);
    EXPECT_LT(at - page_down(at, page), page);
    EXPECT_GE(page_up(at, page), at);
    EXPECT_LT(page_up(at, page) - at, page);
  }
}

// Ranges next to each other: without the pages that they share nothing is in two of them, with them nothing
// is left out.
TEST_P(SystemPages, NeighboursShareTheirEndsOrNot) {
  const uint64_t page = GetParam();
  Random random(page);
  uint64_t begin = 3 * page + 100, inner_end = 0, outer_end = page_down(begin, page);
  for (int i = 0; i < 200; ++i) {
    const uint64_t end = begin + 1 + random.next() % (3 * page);
    const PageRange inner = pages_of(begin, end, page, false, false),
                    outer = pages_of(begin, end, page, true, true);
    if (inner != PageRange{}) {
      EXPECT_GE(inner.begin, begin);
      EXPECT_LE(inner.end, end);
      EXPECT_GE(inner.begin, inner_end);
      EXPECT_EQ((inner.end - inner.begin) % page, 0u);
      inner_end = inner.end;
    } else {
      EXPECT_LT(end - begin, 2 * page);
    }
    EXPECT_LE(outer.begin, begin);
    EXPECT_GE(outer.end, end);
    EXPECT_LE(outer.begin, outer_end);
    EXPECT_LE(outer.end - outer.begin, page_up(end - begin, page) + page);
    outer_end = outer.end;
    begin = end;
  }
  EXPECT_EQ(pages_of(page + 1, 2 * page - 1, page, false, false), PageRange{});
  EXPECT_EQ(pages_of(page, page, page, true, true), PageRange{});
}

// As MappedFile lays a file onto huge pages: what is given back before and behind is whole pages, and stays
// in what was reserved.
TEST_P(SystemPages, APlaceBeginsWhereAHugePageMay) {
  const uint64_t page = GetParam();
  for (const uint64_t at : {uint64_t{0x7F00'0000'0000}, uint64_t{0x7F00'0000'0000} + page,
                            uint64_t{0x7F00'0000'0000} + kHuge - page}) {
    for (const uint64_t size : {kHuge, kHuge + 1, 5 * kHuge - 1}) {
      const uint64_t reserved = page_up(size, page) + kHuge;
      const PageRange place = aligned_place(at, size, kHuge, page);
      EXPECT_EQ(place.begin % kHuge, 0u);
      EXPECT_GE(place.begin, at);
      EXPECT_EQ((place.begin - at) % page, 0u);
      EXPECT_EQ(place.end % page, 0u);
      EXPECT_GE(place.end - place.begin, size);
      EXPECT_LE(place.end, at + reserved);
    }
  }
}

}  // namespace
}  // namespace cairn
