// One file, one memory: a stack prefilled on a matrix engine, decoded on the CPU, and resized meanwhile.
#include "stacks.hpp"

namespace cairn::offload {
namespace {

class StackOn : public Stacks, public ::testing::WithParamInterface<Device> {
 protected:
  void SetUp() override {
    if (GetParam().openvino != nullptr) library_.emplace("CAIRN_OPENVINO", GetParam().openvino);
    book_device(0);
    add_inside();
  }

  // OpenVINO says so where its products are not, for want of instructions.
  bool exact() const { return lines_.empty() || lines_[0].find("multiplying in float") == std::string::npos; }

 private:
  std::optional<ScopedVariable> library_;
};

// To the bit, where the device multiplies exactly: the engine rounds where it does.
TEST_P(StackOn, IsPrefilledAsTheEngineDoes) {
  const auto tokens = some_tokens(80);
  OneSequence reference = own(GetParam().copies ? cut(stack(), 7) : stack());
  const auto expected = in_chunks(reference, tokens);
  PrefillOptions options = options_of(GetParam().device);
  if (GetParam().copies) options.npu_bits = 7;
  OneSequence device = prefill(stack(), options);
  EXPECT_TRUE(device.engine->elastic());
  const auto logits = last_logits(device, tokens);
  EXPECT_LE(distance(expected, logits), exact() ? 0 : 0.02);
  if (exact()) {
    EXPECT_THAT(lines_, IsEmpty());
  }
  std::vector<float> all(tokens.size() * expected.size());
  device.run(tokens, 0, Logits::all, all.data());
  EXPECT_LT(distance(expected, std::span(all).last(expected.size())), 0.02);
}

// What a copy is made of does not depend on what is in memory, and is what the prefix of the file holds.
TEST_P(StackOn, TakesThePlanesThatItIsToTake) {
  const auto tokens = some_tokens(80);
  OneSequence small = own(cut(stack(), 3)), whole = own(stack());
  const auto at_3 = in_chunks(small, tokens), at_7 = in_chunks(whole, tokens);
  ASSERT_GT(distance(at_7, at_3), 0.05);
  PrefillOptions options = options_of(GetParam().device);
  if (GetParam().copies) options.npu_bits = 3;
  OneSequence device = prefill(GetParam().copies ? stack() : cut(stack(), 3), options);
  const auto logits = last_logits(device, tokens);
  EXPECT_LE(distance(at_3, logits), exact() ? 0 : 0.03);
}

// All three at once: prefill on the device, decode on the CPU, the memory resized between and within.
TEST_P(StackOn, IsResizedBetweenAndWithinPrompts) {
  const auto tokens = some_tokens(208);
  OneSequence device = prefill(stack(), options_of(GetParam().device));
  const auto whole = last_logits(device, tokens);
  const std::vector<float> decoded = [&] {
    std::vector<float> logits(device.vocabulary());
    const std::vector<int32_t> one = {5};
    device.run(one, 208, Logits::last, logits.data());
    return logits;
  }();
  const engine::MemoryStatus before = device.engine->memory();
  EXPECT_EQ(before.device > 0, GetParam().copies);

  // Between: decode is at the smaller size.
  const auto least = [&] { return device.engine->memory().least + kMiB; };
  device.engine->set_memory(least());
  device.engine->set_memory(least());  // the stand-in's copy has taken more than it has told
  const std::vector<int32_t> one = {5};
  std::vector<float> smaller(device.vocabulary());
  device.run(one, 208, Logits::last, smaller.data());
  EXPECT_LT(device.engine->memory().bits, before.bits - 1);
  EXPECT_GT(distance(decoded, smaller), 0.01);
  EXPECT_LE(resident_memory(), device.engine->memory().budget + 2 * kMiB);
  const auto low = last_logits(device, tokens);
  EXPECT_GT(distance(whole, low), 0.01);
  for (const float x : low) ASSERT_TRUE(std::isfinite(x));

  // Within: a prompt that begins with all of it.
  device.engine->set_memory(0);
  for (int i = 0; i < 500 && device.engine->memory().bits < before.bits; ++i) last_logits(device, one);
  const auto again = last_logits(device, tokens);
  int asked = 0;
  const auto mixed = last_logits(device, tokens, [&] {
    if (++asked == 40) device.engine->set_memory(least());
    return false;
  });
  ASSERT_GT(asked, 40);
  EXPECT_LT(device.engine->memory().bits, before.bits - 1);
  EXPECT_GT(distance(again, mixed), 1e-4);
  for (const float x : mixed) ASSERT_TRUE(std::isfinite(x));
}

INSTANTIATE_TEST_SUITE_P(Devices, StackOn,
                         ::testing::Values(Device{"cpu", "cpu", false},
                                           Device{"OpenvinoCpu", "openvino:CPU", false},
                                           Device{"OpenvinoNpu", "openvino:NPU", true},
                                           Device{"Book", "book:1000000", true}),
                         [](const auto& row) { return std::string(row.param.name); });

// Where the packages are, when ctest starts.
std::vector<Device> installed() {
  if (cairn::testing::kSanitized || !openvino::list_devices().at(0).available) return {};
  return {{"RealOpenvinoCpu", "openvino:CPU", false, nullptr},
          {"RealOpenvinoCpuInside", "inside:CPU", true, nullptr}};
}
INSTANTIATE_TEST_SUITE_P(Installed, StackOn, ::testing::ValuesIn(installed()),
                         [](const auto& row) { return std::string(row.param.name); });

// A device fails in the middle of a prompt: what is in memory takes its place.
class LostDevice : public Stacks, public ::testing::WithParamInterface<const char*> {};

TEST_P(LostDevice, IsToldOnce) {
  const ScopedVariable library("CAIRN_OPENVINO", kFake);
  const auto tokens = some_tokens(80);
  OneSequence reference = own(stack());
  const auto expected = in_chunks(reference, tokens);
  const bool book = GetParam() == std::string("book");
  OneSequence device = prefill(stack(), options_of(book ? book_device(5) : GetParam()));
  if (!book) last_logits(device, tokens);  // graphs are tried when they are compiled
  std::optional<ScopedVariable> broken;
  if (!book) broken.emplace("FAKE_OPENVINO_FAIL", "infer");
  EXPECT_EQ(distance(expected, last_logits(device, tokens)), 0);
  EXPECT_EQ(distance(expected, last_logits(device, tokens)), 0);
  ASSERT_EQ(lines_.size(), 1U) << ::testing::PrintToString(lines_);
  EXPECT_THAT(lines_[0], HasSubstr("the CPU goes on in its place"));
  EXPECT_EQ(device.engine->memory().device, 0U);
}

INSTANTIATE_TEST_SUITE_P(Devices, LostDevice, ::testing::Values("openvino:CPU", "openvino:NPU", "book"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::erase(name, ':');
                           return name;
                         });

// On Qualcomm's emulator, where that is (./quickstart.sh --npu).
class StackOnQnn : public Stacks, public ::testing::WithParamInterface<const char*> {};

// All three papers at once: int8 prefill in chunks on a phone's NPU, from a stack, whose decode on the CPU
// goes on in whatever memory is left.
TEST_P(StackOnQnn, PrefillsDecodesAndGivesItsCopyBack) {
  const auto tokens = some_tokens(70);
  const std::vector<int32_t> one = {5};
  PrefillOptions options = options_of(GetParam());
  options.npu_bits = 4;
  OneSequence device = prefill(stack(), options), four = own(cut(stack(), 4));
  EXPECT_LT(distance(last_logits(four, tokens), last_logits(device, tokens)), 0.05);
  const uint64_t copy = device.engine->memory().device;
  EXPECT_GE(copy, 2 * 256 * (3 * 1024 + 2 * 256 + 2 * 128));
  std::vector<float> after(device.vocabulary()), expected(device.vocabulary());
  device.run(one, 70, Logits::last, after.data());
  four.run(one, 70, Logits::last, expected.data());
  EXPECT_LT(distance(expected, after), 0.2) << "keys of 4 bits, this token of all";

  const engine::MemoryStatus full = device.engine->memory();
  for (int i = 0; i < 2; ++i)  // what the vendor's library takes is told a little later
    device.engine->set_memory(device.engine->memory().least + kMiB);
  EXPECT_LT(device.engine->memory().bits, full.bits);
  const auto low = last_logits(device, tokens);
  EXPECT_EQ(device.engine->memory().device, 0U);
  ASSERT_EQ(lines_.size(), 1U) << ::testing::PrintToString(lines_);
  last_logits(device, tokens);
  EXPECT_EQ(lines_.size(), 1U) << "told once";
  for (const float x : low) ASSERT_TRUE(std::isfinite(x));
}

// Vendors' libraries do not run under sanitizers.
std::vector<const char*> emulators() {
  if (cairn::testing::kSanitized) return {};
  for (const AcceleratorInfo& info : list_accelerators()) {
    if (info.name == "qnn" && info.available) return {"qnn"};
  }
  return {};
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StackOnQnn);
INSTANTIATE_TEST_SUITE_P(Npu, StackOnQnn, ::testing::ValuesIn(emulators()),
                         [](const auto& name) { return std::string(name.param); });

class StackCopies : public Stacks {
  const ScopedVariable library_{"CAIRN_OPENVINO", kFake};
};

TEST_F(StackCopies, CountInTheBudgetAndAreGivenBack) {
  const auto tokens = some_tokens(80);
  OneSequence device = prefill(stack(), options_of("openvino:NPU"));
  last_logits(device, tokens);
  const engine::MemoryStatus full = device.engine->memory();
  const uint64_t weights = 2 * 256 * (3 * 1024 + 2 * 256 + 2 * 128);
  EXPECT_GT(full.device, weights);

  // With room for the blocks that it is made of it stays, and blocks go.
  device.engine->set_memory(full.process + full.device - kMiB / 4);
  last_logits(device, tokens);
  EXPECT_THAT(lines_, IsEmpty());
  EXPECT_GT(device.engine->memory().device, weights);

  // A budget that the copy could not be in is taken, for the copy can go.
  const uint64_t least = device.engine->memory().least;
  EXPECT_LT(least, full.process);
  device.engine->set_memory(least + 2 * kMiB);
  last_logits(device, tokens);
  last_logits(device, tokens);
  EXPECT_THAT(lines_, ::testing::ElementsAre(AllOf(HasSubstr("openvino:NPU: its copy of the weights ("),
                                                   HasSubstr("is given back"), HasSubstr("CPU prefills"))));
  EXPECT_EQ(device.engine->memory().device, 0U);
  EXPECT_LE(resident_memory(), device.engine->memory().budget + 2 * kMiB);
}

TEST_F(StackCopies, AreGivenBackWithinAPrompt) {
  const auto tokens = some_tokens(208);
  OneSequence device = prefill(stack(), options_of("openvino:NPU"));
  last_logits(device, tokens);
  int asked = 0;
  const auto logits = last_logits(device, tokens, [&] {
    if (++asked == 40) device.engine->set_memory(device.engine->memory().least + kMiB);
    return false;
  });
  ASSERT_GT(asked, 40);
  EXPECT_EQ(device.length(), 208U);
  for (const float x : logits) ASSERT_TRUE(std::isfinite(x));
  ASSERT_EQ(lines_.size(), 1U) << ::testing::PrintToString(lines_);
  EXPECT_THAT(lines_[0], HasSubstr("is given back"));
  EXPECT_EQ(device.engine->memory().device, 0U);
  // The CPU has read the prompt from its begin: with what is in memory, as ever from here on.
  device.engine->set_memory(0);
  const std::vector<int32_t> one = {5};
  for (int i = 0; i < 500 && device.engine->memory().stack < device.engine->memory().stack_all; ++i)
    last_logits(device, one);
  OneSequence reference = own(stack());
  EXPECT_EQ(distance(in_chunks(reference, tokens), last_logits(device, tokens)), 0);
}

TEST_F(StackCopies, ABudgetThatIsTooSmallSaysWhatWouldDo) {
  const auto tokens = some_tokens(80);
  OneSequence device = prefill(stack(), options_of("openvino:NPU"));
  last_logits(device, some_tokens(5));  // as decode does: what that touches is no part of what follows
  device.engine->set_memory(device.engine->memory().least + 2 * kMiB);
  const auto refused = [&] { last_logits(device, tokens); };
  expect_error(ErrorCode::out_of_memory, "has no room for openvino:NPU's copy of the weights (", refused);
  expect_error(ErrorCode::out_of_memory, "--prefill cpu holds no copy", refused);
  device.engine->set_memory(0);  // and then it has
  last_logits(device, tokens);
  EXPECT_GT(device.engine->memory().device, 0U);
  EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(StackCopies, ABlockThatIsNotWhatItWasIsLeftOut) {
  const gguf::File file(stack());
  const stack::Layout layout = stack::read_layout(file);
  const auto tokens = some_tokens(40);
  OneSequence whole = prefill(stack(), options_of("openvino:NPU"));
  const auto expected = last_logits(whole, tokens);
  const std::string path = folder_ / "wrong.gguf";
  std::filesystem::copy_file(stack(), path);
  {
    std::fstream bytes(path, std::ios::in | std::ios::out | std::ios::binary);
    size_t last = layout.base_blocks;  // of those that the copy is made of
    while (layout.bits(last + 2) <= kUsualNpuBits) ++last;
    bytes.seekp(static_cast<std::streamoff>(layout.blocks[last].offset + 170));
    bytes << "another plane";
  }
  OneSequence device = prefill(path, options_of("openvino:NPU"));
  EXPECT_LT(distance(expected, last_logits(device, tokens)), 0.3);
  ASSERT_EQ(lines_.size(), 1U) << ::testing::PrintToString(lines_);
  EXPECT_THAT(lines_[0], AllOf(HasSubstr("wrong.gguf"), HasSubstr("its checksum is wrong"),
                               HasSubstr("the device does without it")));
}

TEST_F(StackCopies, BitsThatMakeNoSenseAreRefused) {
  const auto refused = [&](const std::string& path, const std::string& device, double bits,
                           const std::string& part) {
    PrefillOptions options = options_of(device);
    options.npu_bits = bits;
    expect_error(ErrorCode::invalid_argument, part, [&] { prefill(path, options); });
  };
  refused(stack(), "openvino:NPU", 0.5, "0.5 bits of a stack for the device: not 1 to 8");
  refused(stack(), "openvino:NPU", 8.1, "8.1 bits");
  refused(stack(), "openvino:NPU", std::nan(""), "not 1 to 8");
  refused(folder_ / "model.gguf", "openvino:NPU", 4, "model.gguf: is no stack");
  refused(stack(), "cpu", 4, "cpu takes as many bits of a stack as are in memory");
}

}  // namespace
}  // namespace cairn::offload
