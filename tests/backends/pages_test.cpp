// What pages of keys and values weigh, and that they go back to the system.
#include "backends/cpu/pages.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <vector>

namespace cairn::cpu {
namespace {

using kernels::KvFormat;

TEST(Pages, FourBitsWeighUpToThreeTenthsOfF16) {
  for (const uint32_t head_size : {32u, 64u, 80u, 96u, 128u, 256u}) {
    for (const uint32_t heads : {1u, 2u, 8u}) {
      graph::Model model;
      model.parameters.kv_heads = heads;
      model.parameters.head_size = head_size;
      const auto bytes = [&](KvFormat format) {
        return static_cast<double>(PageLayout(model, format).bytes());
      };
      EXPECT_LE(bytes(KvFormat::q4), 0.3 * bytes(KvFormat::f16)) << heads << " heads of " << head_size;
    }
  }
}

// Bytes of [begin, begin + bytes) that are in memory, in whole pages of the system.
size_t resident(const std::byte* begin, size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t first = reinterpret_cast<size_t>(begin) / page * page;
  std::vector<unsigned char> in((bytes + page - 1) / page);
  EXPECT_EQ(mincore(reinterpret_cast<void*>(first), in.size() * page, in.data()), 0);
  size_t count = 0;
  for (const unsigned char flags : in) count += flags & 1U;
  return count * page;
}

// Neighbours share a page of the system where theirs end: it goes back with the last of them.
void expect_that_they_go_back(size_t system_page) {
  for (const size_t size : {size_t{320}, size_t{4096}, size_t{9216}, size_t{20480}}) {
    const auto pool = std::make_shared<PagePool>(size, 0, system_page);
    constexpr size_t kCount = 40;
    std::vector<Page> pages;
    for (size_t i = 0; i < kCount; ++i) pages.push_back(pool->take());
    const std::byte* first = pages.front().get();
    for (size_t i = 0; i < kCount; ++i) ASSERT_EQ(pages[i].get(), first + i * size);
    if (system_page == system_page_bytes()) {  // a touch brings no more
      EXPECT_GE(resident(first, kCount * size), kCount * size);
    }
    EXPECT_EQ(pool->bytes(), kCount * size);
    // What is kept keeps its bytes.
    for (size_t i = 0; i < kCount; ++i) {
      for (size_t at = 0; at < size; ++at) pages[i].get()[at] = static_cast<std::byte>(i + 1);
    }
    for (size_t i = 0; i < kCount; i += 2) pages[i].reset();
    for (size_t i = 1; i < kCount; i += 2) {
      EXPECT_EQ(pages[i].get()[0], static_cast<std::byte>(i + 1));
      EXPECT_EQ(pages[i].get()[size - 1], static_cast<std::byte>(i + 1));
    }
    pages.clear();
    EXPECT_EQ(pool->bytes(), 0u);
    EXPECT_EQ(resident(first, kCount * size), 0u) << size;
  }
}

TEST(Pages, GoBackToTheSystemWhateverTheirSize) {
  expect_that_they_go_back(system_page_bytes());
}

// What goes back of larger pages is whole ones of this system too.
TEST(Pages, GoBackToASystemOfLargerPages) {
  for (const size_t page : {size_t{16} << 10, size_t{64} << 10}) {
    if (page > system_page_bytes()) expect_that_they_go_back(page);
  }
}

TEST(Pages, AFewStayForTheNextText) {
  constexpr size_t kSize = 8192, kCount = 40, kSpare = 10;
  const auto pool = std::make_shared<PagePool>(kSize, kSpare * kSize);
  for (int round = 0; round < 3; ++round) {
    std::vector<Page> pages;
    for (size_t i = 0; i < kCount; ++i) pages.push_back(pool->take());
    const std::byte* first = std::min_element(pages.begin(), pages.end(), [](const Page& a, const Page& b) {
                               return a.get() < b.get();
                             })->get();
    EXPECT_EQ(resident(first, kCount * kSize), kCount * kSize);
    EXPECT_EQ(pool->bytes(), kCount * kSize);
    pages.clear();
    EXPECT_EQ(pool->bytes(), 0u);
    EXPECT_EQ(resident(first, kCount * kSize), kSpare * kSize);
    // A shorter text takes no others.
    for (size_t i = 0; i < kSpare; ++i) pages.push_back(pool->take());
    EXPECT_EQ(resident(first, kCount * kSize), kSpare * kSize);
  }
}

}  // namespace
}  // namespace cairn::cpu
