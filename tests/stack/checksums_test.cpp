// Damage anywhere in a stack is found, by verify and by what runs it; stacks without checksums still load.
#include <gmock/gmock.h>

#include <filesystem>
#include <random>

#include "base/expect_error.hpp"
#include "resident/set.hpp"
#include "stack/restore.hpp"
#include "stack/size.hpp"
#include "stack/small_stack.hpp"
#include "stack/verify.hpp"

namespace cairn::stack {
namespace {

using cairn::testing::error_of;
using cairn::testing::write_file;
using ::testing::HasSubstr;

class Checksums : public SmallStack {
 protected:
  static void SetUpTestSuite() {
    SmallStack::SetUpTestSuite();
    encode("stack.gguf", options());
  }

  static std::string flipped(const std::string& bytes, uint64_t bit) {
    std::string changed = bytes;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    write_file(path("flipped.gguf"), changed);
    return path("flipped.gguf");
  }
  static bool sound(const std::string& path) {
    try {
      const Verification found = verify(Reader(path));
      return found.bad.empty() && found.bad_tensors.empty();
    } catch (const Error&) {
      return false;
    }
  }
  static size_t undetected(const std::string& bytes, uint64_t first_byte, uint64_t end, int bits) {
    std::mt19937_64 random(13);
    std::uniform_int_distribution<uint64_t> bit(first_byte * 8, end * 8 - 1);
    size_t missed = 0;
    for (int i = 0; i < bits; ++i) {
      const uint64_t at = bit(random);
      if (!sound(flipped(bytes, at))) continue;
      ++missed;
      ADD_FAILURE() << "bit " << at % 8 << " of byte " << at / 8;
    }
    return missed;
  }
};

TEST_F(Checksums, AThousandFlippedBitsAreFound) {
  const std::string bytes = content("stack.gguf");
  ASSERT_TRUE(sound(path("stack.gguf")));
  EXPECT_EQ(undetected(bytes, 0, bytes.size(), 1000), 0u);
  // The keys that say whether there are checksums, where most of the file's bits are not.
  EXPECT_EQ(undetected(bytes, 0, 120, 300), 0u);
  const size_t version = bytes.find("cairn.stack.version");
  EXPECT_EQ(undetected(bytes, version - 8, version + 40, 300), 0u);
}

TEST_F(Checksums, PrefixesKeepThem) {
  const Reader reader(path("stack.gguf"));
  write_prefix(reader, blocks_for_bits(reader, 3), path("three.gguf"));
  ASSERT_TRUE(sound(path("three.gguf")));
  const std::string three = content("three.gguf");
  EXPECT_EQ(undetected(three, 0, three.size(), 100), 0u);
  // Cut by whoever copies files: what is there is checked.
  const std::string cut = content("stack.gguf").substr(0, reader.layout().base_bytes + 5000);
  write_file(path("cut.gguf"), cut);
  ASSERT_TRUE(sound(path("cut.gguf")));
  const uint64_t there = reader.layout().end_of(reader.layout().blocks_within(cut.size()));
  EXPECT_EQ(undetected(cut, 0, there, 100), 0u);
}

TEST_F(Checksums, NobodyRunsOrTrimsDamage) {
  const std::string bytes = content("stack.gguf");
  const gguf::File file(path("stack.gguf"));
  const gguf::Tensor& embedding = file.tensor("token_embd.weight");
  const size_t at = bytes.find(std::string(reinterpret_cast<const char*>(embedding.data.data()),
                                           std::min<size_t>(embedding.data.size(), 256)));
  ASSERT_NE(at, std::string::npos);
  const std::string damaged = flipped(bytes, (at + 77) * 8 + 3);
  EXPECT_EQ(verify(Reader(damaged)).bad_tensors, std::vector<std::string>{"token_embd.weight"});
  const std::string reason = "tensor 'token_embd.weight' is damaged";
  EXPECT_THAT(error_of([&] { resident::Set set{gguf::File(damaged)}; }).what(), HasSubstr(reason));
  EXPECT_THAT(error_of([&] { write_prefix(Reader(damaged), 14, path("t.gguf")); }).what(), HasSubstr(reason));
  ThreadPool pool(1);
  EXPECT_THAT(error_of([&] { write_restored(Reader(damaged), 14, path("t.gguf"), pool); }).what(),
              HasSubstr(reason));
  EXPECT_FALSE(std::filesystem::exists(path("t.gguf")));
  EXPECT_THAT(error_of([&] { gguf::File changed(flipped(bytes, bytes.find("general.architecture") * 8)); }).what(),
              HasSubstr("header is damaged"));
}

TEST_F(Checksums, OldStacksLoadAndGetThemWhenTheyAreTrimmed) {
  const Reader whole(path("stack.gguf"));
  write_file(path("old.gguf"), as_version_1(content("stack.gguf")));
  const Reader old(path("old.gguf"));
  const Verification found = verify(old);
  EXPECT_TRUE(found.old);
  EXPECT_TRUE(found.bad.empty());
  EXPECT_FALSE(verify(whole).old);
  resident::Set set(old.file());
  ThreadPool pool(1);
  EXPECT_EQ(old.restore(0, 14, pool), whole.restore(0, 14, pool));
  // Its header grows: the size asked for still holds.
  for (const double share : {0.6, 0.8, 1.0}) {
    const auto size = static_cast<uint64_t>(share * static_cast<double>(old.layout().file_bytes));
    write_prefix(old, blocks_for_size(old, size), path("new.gguf"));
    EXPECT_LE(std::filesystem::file_size(path("new.gguf")), size);
    EXPECT_FALSE(verify(Reader(path("new.gguf"))).old);
  }
}

}  // namespace
}  // namespace cairn::stack
