// Blocks in memory: growing, shrinking, and files that are not what they were.
#include "resident/set.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <thread>

#include "base/error.hpp"
#include "resident/fixture.hpp"

namespace cairn::resident {
namespace {

using ::testing::HasSubstr;

class ResidentSet : public StackTest {
 protected:
  // What groups hold must follow from the first `blocks` blocks alone.
  static void expect_prefix(const Set& set, size_t blocks) {
    const stack::Layout& layout = set.layout();
    std::map<std::pair<uint32_t, uint32_t>, uint8_t> levels;
    for (size_t i = 0; i < blocks; ++i)
      levels[{layout.blocks[i].matrix, layout.blocks[i].group}] = layout.blocks[i].level;
    for (const auto& [place, level] : levels) {
      const Matrix* matrix = set.find(layout.matrices[place.first].name);
      ASSERT_EQ(matrix->groups[place.second].level, level) << "group " << place.second;
    }
  }
  // Every block in use has the file's bytes.
  static void expect_content(const Set& set, const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    const stack::Layout& layout = set.layout();
    for (const stack::Block& block : layout.blocks) {
      const Group& group = set.find(layout.matrices[block.matrix].name)->groups[block.group];
      if (block.level > group.planes && block.level != group.level) continue;
      std::vector<char> bytes(block.bytes);
      file.seekg(static_cast<std::streamoff>(block.offset));
      file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
      ASSERT_EQ(std::memcmp(bytes.data(), group.blocks[block.level - 1], block.bytes), 0);
    }
  }
  // Pages of the arena that are in memory, by the system's own count.
  static size_t resident_pages(const Set& set) {
    const Matrix* first = set.find(set.layout().matrices[0].name);
    auto* begin = const_cast<std::byte*>(first->groups[0].blocks[0]) -
                  (set.layout().blocks[0].offset - set.layout().blocks_begin);
    const size_t bytes = set.layout().end_of(set.layout().blocks.size()) - set.layout().blocks_begin;
    std::vector<unsigned char> in(pages(bytes) / page_bytes());
    EXPECT_EQ(mincore(begin, bytes, in.data()), 0);
    return static_cast<size_t>(std::count_if(in.begin(), in.end(), [](unsigned char c) { return c & 1; }));
  }
};

TEST_F(ResidentSet, BeginsWithTheBaseAndGrowsToAll) {
  Set set{gguf::File(stack_path())};
  const stack::Layout& layout = set.layout();
  expect_prefix(set, layout.base_blocks);
  EXPECT_EQ(set.status().blocks, layout.base_blocks);
  EXPECT_NEAR(set.status().bits, 1.0, 0.6);
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  const Pass pass(&set);
  expect_prefix(set, layout.blocks.size());
  expect_content(set, stack_path());
  EXPECT_TRUE(set.status().problems.empty());
}

TEST_F(ResidentSet, EveryLimitHoldsItsPrefixAndNoPageMore) {
  Set set{gguf::File(stack_path())};
  const stack::Layout& layout = set.layout();
  const uint64_t all = set.status().block_bytes, base = set.status().base_bytes;
  for (const double share : {0.9, 0.3, 0.31, 0.7, 0.0, 1.0, 0.5}) {
    const auto limit = static_cast<uint64_t>(static_cast<double>(all) * share);
    set.set_limit(limit);
    set.wait_until_read();
    set.wait_until_released();
    const size_t blocks = std::max(layout.base_blocks, layout.blocks_within(layout.blocks_begin + limit));
    EXPECT_EQ(set.status().blocks, blocks);
    {
      const Pass pass(&set);
      expect_prefix(set, blocks);
      expect_content(set, stack_path());
    }
    const uint64_t bytes = resident_pages(set) * page_bytes();
    EXPECT_LE(bytes, std::max(limit, base) + page_bytes()) << share;
    EXPECT_EQ(bytes, set.resident_bytes()) << share;
  }
}

TEST_F(ResidentSet, ReadsNothingBeyondTheLimit) {
  Set set{gguf::File(stack_path())};
  const uint64_t limit = set.status().block_bytes / 2;
  set.set_limit(limit);
  set.wait_until_read();
  EXPECT_LE(set.status().bytes_read, limit);
  EXPECT_GE(set.status().bytes_read, limit - 64 * 1024);
}

TEST_F(ResidentSet, LevelsStayWithinAPassButAtBoundaries) {
  Set set{gguf::File(stack_path())};
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  set.begin_pass();
  expect_prefix(set, set.layout().blocks.size());
  set.set_limit(0);
  expect_prefix(set, set.layout().blocks.size());  // still in use
  expect_content(set, stack_path());
  set.boundary();
  expect_prefix(set, set.layout().base_blocks);
  set.end_pass();
  set.wait_until_released();
  EXPECT_EQ(set.resident_bytes(), pages(set.status().base_bytes));
}

TEST_F(ResidentSet, AChangeThatComesInsideAPassIsMadeAtItsEnd) {
  Set set{gguf::File(stack_path())};
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  set.begin_pass();
  set.set_limit(0);
  set.end_pass();  // without a boundary
  set.wait_until_released();
  expect_prefix(set, set.layout().base_blocks);
}

// One thread computes (it reads every byte in use), others change the limit all the time.
TEST_F(ResidentSet, ManyThreadsMoveTheLimitWhileOneReads) {
  Set set{gguf::File(stack_path())};
  std::atomic<bool> stop{false};
  std::vector<std::thread> movers;
  for (unsigned seed : {1u, 2u}) {
    movers.emplace_back([&, seed] {
      std::mt19937 random(seed);
      while (!stop) {
        set.set_limit(random() % (set.status().block_bytes + 1));
        std::this_thread::yield();
      }
    });
  }
  for (int pass = 0; pass < 40; ++pass) {
    const Pass held(&set);
    for (int step = 0; step < 3; ++step) {
      set.boundary();
      expect_content(set, stack_path());
    }
  }
  stop = true;
  for (std::thread& mover : movers) mover.join();
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  const Pass pass(&set);
  expect_prefix(set, set.layout().blocks.size());
}

TEST_F(ResidentSet, ExactRowsComeLastAndGoFirst) {
  PlainStack options = small();
  options.exact = true;
  const std::string path = make(options, "exact.gguf");
  Set set{gguf::File(path)};
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  {
    const Pass pass(&set);
    const Group& group = set.find(set.layout().matrices[0].name)->groups[0];
    EXPECT_EQ(group.level, stack::kPlanes + 1);
    EXPECT_EQ(group.planes, 7);
    expect_content(set, path);
  }
  set.set_limit(set.status().block_bytes / 10);
  set.wait_until_released();
  const Pass pass(&set);
  EXPECT_LE(set.find(set.layout().matrices[0].name)->groups[0].level, 7);
}

TEST_F(ResidentSet, AFlippedBitIsNamedAndLeftOutWithWhatDependsOnIt) {
  const std::string path = copy("flipped.gguf");
  const stack::Layout layout = stack::read_layout(gguf::File(path));
  const size_t bad = find_block(layout, 1, 0, 3);
  flip(path, layout.blocks[bad].offset + layout.blocks[bad].bytes / 2);
  Set set{gguf::File(path)};
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  const Pass pass(&set);
  const Status status = set.status();
  ASSERT_EQ(status.problems.size(), 1u);
  EXPECT_THAT(status.problems[0], HasSubstr("flipped.gguf"));
  EXPECT_THAT(status.problems[0], HasSubstr("level 3 of group 0 of " + layout.matrices[1].name));
  EXPECT_EQ(set.find(layout.matrices[1].name)->groups[0].level,
            2);  // levels 4 to 7 were read, and are not used
  EXPECT_EQ(set.find(layout.matrices[1].name)->groups[1].level, 7);
  EXPECT_EQ(set.find(layout.matrices[0].name)->groups[0].level, 7);
}

TEST_F(ResidentSet, TheSameProblemIsSaidOnce) {
  const std::string path = copy("twice.gguf");
  const stack::Layout layout = stack::read_layout(gguf::File(path));
  flip(path, layout.blocks.back().offset);
  Set set{gguf::File(path)};
  for (int i = 0; i < 3; ++i) {
    set.set_limit(UINT64_MAX);
    set.wait_until_read();
    set.set_limit(0);
    set.wait_until_released();
  }
  EXPECT_EQ(set.status().problems.size(), 1u);
}

TEST_F(ResidentSet, AWrongBaseIsRefused) {
  const std::string path = copy("base.gguf");
  const stack::Layout layout = stack::read_layout(gguf::File(path));
  flip(path, layout.blocks[2].offset + 5);
  cairn::testing::expect_error(ErrorCode::format, "block 2 (level 1", [&] { Set{gguf::File(path)}; });
}

TEST_F(ResidentSet, AFileCutInsideABlockServesTheWholeOnesBeforeIt) {
  const std::string path = copy("cut.gguf");
  const stack::Layout layout = stack::read_layout(gguf::File(path));
  const size_t cut = layout.base_blocks + 5;
  std::filesystem::resize_file(path, layout.blocks[cut].offset + layout.blocks[cut].bytes / 2);
  Set set{gguf::File(path)};
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  EXPECT_EQ(set.status().blocks, cut);
  EXPECT_TRUE(set.status().problems.empty());
  const Pass pass(&set);
  expect_prefix(set, cut);
}

// As `cairn pull` leaves it, and goes on: the same file grows, and is renamed at the end.
TEST_F(ResidentSet, AFileThatIsStillArrivingImproves) {
  const std::string path = copy("arriving.gguf.pull.partial"), whole = path + ".whole";
  std::filesystem::copy_file(path, whole);
  const stack::Layout layout = stack::read_layout(gguf::File(path));
  const size_t cut = layout.base_blocks + 2;
  std::filesystem::resize_file(path, layout.blocks[cut].offset + 1);
  Set set{gguf::File(path)};
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  EXPECT_EQ(set.status().blocks, cut);
  {
    std::ifstream rest(whole, std::ios::binary);
    rest.seekg(static_cast<std::streamoff>(layout.blocks[cut].offset + 1));
    std::ofstream(path, std::ios::binary | std::ios::app) << rest.rdbuf();
  }
  std::filesystem::rename(path, whole);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (set.status().blocks < layout.blocks.size() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(set.status().blocks, layout.blocks.size());
  EXPECT_TRUE(set.status().problems.empty());
  const Pass pass(&set);
  expect_prefix(set, layout.blocks.size());
}

// No SIGBUS: nothing is mapped. What was read stays in use, and the next growth says what is wrong.
TEST_F(ResidentSet, AFileThatShrinksWhileOpenStopsGrowingWithALine) {
  const std::string path = copy("shrinks.gguf");
  Set set{gguf::File(path)};
  const stack::Layout& layout = set.layout();
  set.set_limit(set.status().block_bytes / 2);
  set.wait_until_read();
  const size_t half = set.status().blocks;
  std::filesystem::resize_file(path, layout.blocks_begin);
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  EXPECT_EQ(set.status().blocks, half);
  ASSERT_EQ(set.status().problems.size(), 1u);
  EXPECT_THAT(set.status().problems[0], HasSubstr("the file ends there now"));
  const Pass pass(&set);
  expect_prefix(set, half);
  // The bytes are still those of the original.
  expect_content(set, stack_path());
}

// Reads through any descriptor of a file fail (with EISDIR), as on a disk that is broken, until it is put
// back.
class BrokenDisk {
 public:
  explicit BrokenDisk(const std::string& path) {
    const int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      if (std::filesystem::read_symlink(entry.path(), gone) != path) continue;
      const int descriptor = std::stoi(entry.path().filename());
      whole_.emplace_back(descriptor, dup(descriptor));
      dup2(folder, descriptor);
    }
    close(folder);
  }
  ~BrokenDisk() {
    for (const auto& [descriptor, whole] : whole_) {
      dup2(whole, descriptor);
      close(whole);
    }
  }
  size_t descriptors() const { return whole_.size(); }

 private:
  std::vector<std::pair<int, int>> whole_;
};

TEST_F(ResidentSet, ADiskThatFailsWhileReadingAheadIsToldAndTriedAgain) {
  Set set{gguf::File(stack_path())};
  set.set_limit(set.status().block_bytes / 2);
  set.wait_until_read();
  const size_t half = set.status().blocks;
  {
    const BrokenDisk broken(std::filesystem::canonical(stack_path()));
    ASSERT_GE(broken.descriptors(), 1u);
    set.set_limit(UINT64_MAX);
    set.wait_until_read();
    EXPECT_EQ(set.status().blocks, half);
    ASSERT_EQ(set.status().problems.size(), 1u);
    EXPECT_THAT(set.status().problems[0], AllOf(HasSubstr("cannot read byte"), HasSubstr("Is a directory")));
    const Pass pass(&set);  // tokens go on with what is there
    expect_prefix(set, half);
    expect_content(set, stack_path());
  }
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  EXPECT_EQ(set.status().blocks, set.layout().blocks.size());
  const Pass pass(&set);
  expect_content(set, stack_path());
}

TEST_F(ResidentSet, AFileThatVanishesGoesOnGrowing) {
  const std::string path = copy("vanishes.gguf");
  Set set{gguf::File(path)};
  std::filesystem::remove(path);
  set.set_limit(UINT64_MAX);
  set.wait_until_read();
  EXPECT_EQ(set.status().blocks, set.layout().blocks.size());
  EXPECT_TRUE(set.status().problems.empty());
}

TEST_F(ResidentSet, TwoSetsOnOneFileDoNotDisturbEachOther) {
  const gguf::File file(stack_path());
  Set a(file), b(file);
  a.set_limit(UINT64_MAX);
  a.wait_until_read();
  b.set_limit(b.status().block_bytes / 2);
  b.wait_until_read();
  a.set_limit(0);
  a.wait_until_released();
  const Pass pass_a(&a), pass_b(&b);
  expect_prefix(a, a.layout().base_blocks);
  expect_prefix(b, b.status().blocks);
  expect_content(b, stack_path());
}

}  // namespace
}  // namespace cairn::resident
