// Stacks made from a small model: what is in them, and what becomes of damaged ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "base/expect_error.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"
#include "stack/curve.hpp"
#include "stack/encode.hpp"
#include "stack/restore.hpp"
#include "stack/size.hpp"
#include "stack/small_stack.hpp"
#include "stack/verify.hpp"

namespace cairn::stack {
namespace {

using ::testing::HasSubstr;

using cairn::testing::error_of;
using cairn::testing::write_file;

class StackFile : public SmallStack {
 protected:
  static void SetUpTestSuite() {
    SmallStack::SetUpTestSuite();
    encode("stack.gguf", options());
  }
  static EncodeOptions options() {
    EncodeOptions options = SmallStack::options();
    options.exact = true;
    return options;
  }
};

TEST_F(StackFile, RestoresMoreWithEveryLevelAndAtTheEndTheSource) {
  const Reader reader(path("stack.gguf"));
  const gguf::File model(path("model.gguf"));
  const Layout& layout = reader.layout();
  EXPECT_EQ(layout.matrices.size(), 14u);
  EXPECT_EQ(layout.base_blocks * (kPlanes + 1), layout.blocks.size());
  ThreadPool pool(2);
  const uint32_t matrix = 5;
  const gguf::Tensor& tensor = model.tensor(layout.matrices[matrix].name);
  std::vector<float> source(tensor.elements());
  kernels::kernel_set(kernels::default_target())
      .encoding(tensor.encoding)
      .dequantize(tensor.data.data(), source.size(), source.data());
  double before = 0;
  for (const float w : source) before += static_cast<double>(w) * static_cast<double>(w);
  const double whole = before;
  for (const double share : {0.0, 0.25, 0.5, 1.0}) {
    const size_t optional = layout.blocks.size() - layout.base_blocks;
    const size_t count = layout.base_blocks + static_cast<size_t>(share * static_cast<double>(optional));
    const std::vector<float> restored = reader.restore(matrix, count, pool);
    double error = 0;
    for (size_t i = 0; i < source.size(); ++i) {
      const double e = static_cast<double>(source[i] - restored[i]);
      error += e * e;
    }
    EXPECT_LT(error, before) << share;
    before = error;
  }
  EXPECT_EQ(before, 0) << "the last level is the source";
  EXPECT_GT(whole, 0);
}

TEST_F(StackFile, SaysWhatItHolds) {
  const Reader reader(path("stack.gguf"));
  const Layout& layout = reader.layout();
  for (const Block& block : layout.blocks) EXPECT_EQ(block.offset % kBlockAlignment, 0u);
  for (size_t i = layout.base_blocks; i < layout.blocks.size(); ++i)
    ASSERT_LE(layout.blocks[i].loss, layout.blocks[i - 1].loss * 1.000001f);
  EXPECT_EQ(layout.file_bytes, std::filesystem::file_size(path("stack.gguf")));
  EXPECT_EQ(layout.blocks_within(layout.base_bytes), layout.base_blocks);
  EXPECT_EQ(layout.blocks_within(layout.file_bytes), layout.blocks.size());
  const auto json = to_json(layout);
  EXPECT_EQ(json["linear_bytes"], layout.linear_bytes(layout.blocks.size()));
  EXPECT_EQ(json["steps"], layout.blocks.size() - layout.base_blocks);
  EXPECT_GE(json["curve"].size(), 10u);
  EXPECT_THAT(describe(layout), HasSubstr("14 matrices"));
  EXPECT_THAT(curve_html(layout, "a <b>"), ::testing::AllOf(HasSubstr("a &lt;b&gt;"), HasSubstr("<svg")));
}

TEST_F(StackFile, APrefixIsTheSameModel) {
  const Reader reader(path("stack.gguf"));
  const size_t count = blocks_for_bits(reader, 4);
  write_prefix(reader, count, path("four.gguf"));
  const Reader four(path("four.gguf"));
  EXPECT_EQ(four.layout().blocks.size(), count);
  EXPECT_LE(four.layout().bits(count), 4.0);
  EXPECT_GT(reader.layout().bits(count + 1), 4.0);
  EXPECT_TRUE(verify(four).bad.empty());
  ThreadPool pool(2);
  EXPECT_EQ(four.restore(2, count, pool), reader.restore(2, count, pool));
  // Cut anywhere past the base it still opens, with the whole blocks before the cut.
  const std::string bytes = content("stack.gguf");
  for (const size_t extra : {size_t{0}, size_t{1}, size_t{5000}, size_t{100'000}}) {
    write_file(path("cut.gguf"), bytes.substr(0, reader.layout().base_bytes + extra));
    const Reader cut(path("cut.gguf"));
    EXPECT_EQ(cut.present(), reader.layout().blocks_within(reader.layout().base_bytes + extra));
    EXPECT_EQ(cut.restore(3, cut.present(), pool), reader.restore(3, cut.present(), pool));
  }
}

TEST_F(StackFile, ACutInTheBaseTellsHowMuchIsMissing) {
  const std::string bytes = content("stack.gguf");
  const uint64_t base = Reader(path("stack.gguf")).layout().base_bytes;
  for (const uint64_t length : {uint64_t{100}, uint64_t{5000}, base - 5000, base - 513}) {
    write_file(path("short.gguf"), bytes.substr(0, length));
    EXPECT_THAT(
        error_of([&] { Reader reader(path("short.gguf")); }).what(),
        HasSubstr(fmt::format("{} of {} bytes are there, {} are missing", length, base, base - length)));
  }
}

TEST_F(StackFile, AFlippedBitIsNamed) {
  std::string bytes = content("stack.gguf");
  const Layout layout = Reader(path("stack.gguf")).layout();
  const size_t index = layout.base_blocks + 3;
  bytes[layout.blocks[index].offset + 70] = static_cast<char>(bytes[layout.blocks[index].offset + 70] ^ 4);
  write_file(path("flipped.gguf"), bytes);
  const Verification found = verify(Reader(path("flipped.gguf")));
  ASSERT_EQ(found.bad.size(), 1u);
  EXPECT_EQ(found.bad[0].block, index);
  EXPECT_EQ(found.bad[0].without, kPlanes + 1 - layout.blocks[index].level);
  EXPECT_THAT(found.bad[0].reason,
              ::testing::AllOf(HasSubstr(fmt::format("block {}", index)), HasSubstr("checksum"),
                               HasSubstr(layout.matrices[layout.blocks[index].matrix].name)));
}

// Changes one entry of an order's level array in place.
void set_level(std::string& bytes, size_t entry, char level) {
  const std::string key = "cairn.stack.order.level";
  bytes[bytes.find(key) + key.size() + 4 + 4 + 8 + entry] = level;
}

TEST_F(StackFile, AnOrderThatRepeatsOrSkipsALevelIsRefused) {
  const std::string bytes = as_version_1(content("stack.gguf"));
  const Layout layout = Reader(path("stack.gguf")).layout();
  size_t second = layout.base_blocks;
  while (layout.blocks[second].level != 2) ++second;
  const auto with = [&](size_t entry, char level) {
    std::string changed = bytes;
    set_level(changed, entry, level);
    write_file(path("order.gguf"), changed);
    return std::string(error_of([&] { Reader reader(path("order.gguf")); }).what());
  };
  EXPECT_THAT(with(second, 1), HasSubstr("repeats"));
  EXPECT_THAT(with(second, 3), HasSubstr("skips level 2"));
  EXPECT_THAT(with(second, 9), HasSubstr("levels are 1 to 8"));
  EXPECT_THAT(with(0, 2), HasSubstr("skips level 1"));
}

TEST_F(StackFile, PlanesAndTablesThatCannotBeAreRefused) {
  ASSERT_EQ(gguf::File(path("stack.gguf")).integer("cairn.stack.version"), 4u);
  EXPECT_EQ(Reader(path("stack.gguf")).layout().planes(), 7);
  const std::string bytes = as_version_1(content("stack.gguf"));
  const auto with = [&](const std::string& key, size_t behind, int value) {
    std::string changed = bytes;
    changed[changed.find(key) + key.size() + behind] = static_cast<char>(value);
    write_file(path("planes.gguf"), changed);
    return std::string(error_of([&] { Reader reader(path("planes.gguf")); }).what());
  };
  const std::string planes = "cairn.stack.planes", tables = "cairn.stack.tables";
  constexpr size_t kValue = 4, kElements = 4 + 4 + 8;  // kinds and a length stand before them
  EXPECT_THAT(with(planes, kValue, 9),
              HasSubstr("planes.gguf: a stack of 9 planes is not supported (1 to 7 are)"));
  EXPECT_THAT(with(planes, kValue, 0), HasSubstr("a stack of 0 planes is not supported"));
  EXPECT_THAT(with(planes, kValue, 6),
              HasSubstr("metadata: 'cairn.stack.tables' has 254 elements, expected 126 of 6 planes"));
  EXPECT_THAT(with(tables, kElements + 3, -128), HasSubstr("holds -128, beyond -127 to 127"));
  EXPECT_THAT(
      with(tables, kElements + table_offset(7), 5),
      HasSubstr("'cairn.stack.tables': of 7 bits, 5 of code 0 is not 127 of code 127 with the other sign"));
  EXPECT_THAT(with("cairn.stack.version", kValue, 3), HasSubstr("header is damaged"));
}

TEST_F(StackFile, SizesThatCannotBeAreRefused) {
  const Reader reader(path("stack.gguf"));
  EXPECT_THAT(error_of([&] { blocks_for_size(reader, 1000); }).what(), HasSubstr("less than the base's"));
  EXPECT_THAT(error_of([&] { blocks_for_bits(reader, 0.5); }).what(), HasSubstr("less than the base's"));
  EXPECT_THAT(error_of([&] { blocks_for_bits(reader, 90); }).what(), HasSubstr("more than the"));
  EXPECT_EQ(blocks_for_size(reader, uint64_t{1} << 40), reader.layout().blocks.size());
}

TEST_F(StackFile, AStackOfAStackIsRefused) {
  const auto model = llm::Model::load(path("stack.gguf"));
  EXPECT_THAT(error_of([&] { encode_stack(*model, text_, options(), path("twice.gguf")); }).what(),
              HasSubstr("is a stack already"));
}

// A key of the order's prefix that is no array of it counts like any other of the stack's.
TEST_F(StackFile, AScalarAmongTheOrdersKeysIsNoEntry) {
  const uint64_t before = read_layout(gguf::File(path("stack.gguf"))).linear_bytes(1);
  std::string bytes = content("stack.gguf");
  const std::string key = "llama.context_length", other = "cairn.stack.order.no";
  ASSERT_EQ(key.size(), other.size());
  bytes.replace(bytes.find(key), key.size(), other);
  const std::string version = "cairn.stack.version";  // the first has no checksum of the header
  bytes[bytes.find(version) + version.size() + sizeof(uint32_t)] = 1;
  write_file(path("scalar.gguf"), bytes);
  const Layout layout = read_layout(gguf::File(path("scalar.gguf")));
  EXPECT_EQ(layout.linear_bytes(1), before + other.size() + 4 + sizeof(uint32_t));
}

TEST_F(StackFile, AnotherProgramsUnfinishedFileIsLeftAlone) {
  write_file(path("new.gguf.partial"), "GGUF, as a pull of an earlier version left it");
  write_file(path("new.gguf.pull.partial"), "GGUF, the beginning of a download");
  encode("new.gguf", options());
  EXPECT_EQ(content("new.gguf.partial"), "GGUF, as a pull of an earlier version left it");
  EXPECT_EQ(content("new.gguf.pull.partial"), "GGUF, the beginning of a download");

  write_file(path("other.gguf.stack.partial"), "the notes of somebody");
  EXPECT_THAT(error_of([&] { encode("other.gguf", options()); }).what(),
              HasSubstr("other.gguf.stack.partial: is no unfinished stack, and is left alone"));
  EXPECT_EQ(content("other.gguf.stack.partial"), "the notes of somebody");
  std::filesystem::remove(path("other.gguf.stack.partial"));
}

TEST_F(StackFile, AnInterruptedRunGoesOnToTheSameFile) {
  int steps = 0;
  const auto stop = [&](std::string_view stage, uint64_t done, uint64_t) {
    if (stage == "codes" && done == 3 && ++steps == 1) fail(ErrorCode::cancelled, "interrupted");
  };
  EXPECT_THAT(error_of([&] { encode("again.gguf", options(), stop); }).what(), HasSubstr("interrupted"));
  EXPECT_FALSE(std::filesystem::exists(path("again.gguf")));
  {  // a crash left half a record
    std::ofstream partial(path("again.gguf.stack.partial"), std::ios::binary | std::ios::app);
    partial << "half a record of some matrix";
  }
  const EncodeReport report = encode("again.gguf", options(), stop);
  EXPECT_EQ(report.resumed, 3u);
  EXPECT_FALSE(std::filesystem::exists(path("again.gguf.stack.partial")));
  EXPECT_TRUE(content("again.gguf") == content("stack.gguf"));
  // What was done with other options is not taken over.
  steps = 0;
  EXPECT_THAT(error_of([&] { encode("other.gguf", options(), stop); }).what(), HasSubstr("interrupted"));
  EncodeOptions other = options();
  other.fit.sweeps = 0;
  EXPECT_EQ(encode("other.gguf", other).resumed, 0u);
}

TEST_F(StackFile, LayersInTurnsGiveTheSameFile) {
  EncodeOptions tight = options();
  tight.moment_bytes = 1;
  encode("tight.gguf", tight);
  EXPECT_TRUE(content("tight.gguf") == content("stack.gguf"));
}

TEST_F(StackFile, AvdIsLevelByLevel) {
  EncodeOptions avd = options();
  avd.codec = Codec::avd;
  avd.avd.levels = 3;
  encode("avd.gguf", avd);
  const Reader reader(path("avd.gguf"));
  ASSERT_EQ(reader.layout().blocks.size(), 42u);
  for (size_t i = 0; i < 42; ++i) EXPECT_EQ(reader.layout().blocks[i].level, i / 14 + 1);
  ThreadPool pool(2);
  write_restored(reader, 28, path("restored.gguf"), pool);
  const gguf::File restored(path("restored.gguf"));
  EXPECT_EQ(restored.tensor(reader.layout().matrices[0].name).encoding, Encoding::f16);
  EXPECT_FALSE(is_stack(restored));
}

}  // namespace
}  // namespace cairn::stack
