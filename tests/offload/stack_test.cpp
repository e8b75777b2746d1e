// One file, one memory: a stack prefilled on a matrix engine, decoded on the CPU, and resized meanwhile.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>

#include "backends/cpu/engine.hpp"
#include "base/expect_error.hpp"
#include "base/memory_pressure.hpp"
#include "base/sanitized.hpp"
#include "base/temporary_folder.hpp"
#include "engine/one_sequence.hpp"
#include "formats/small_llama.hpp"
#include "graph/golden_models.hpp"
#include "offload/book_device.hpp"
#include "offload/engine.hpp"
#include "offload/openvino/accelerator.hpp"
#include "offload/openvino/device.hpp"
#include "quantize/make_scheme.hpp"
#include "resident/plain_stack.hpp"

namespace cairn::offload {
namespace {

using cairn::testing::expect_error;
using cairn::testing::ScopedVariable;
using cairn::testing::TemporaryFolder;
using engine::Logits;
using engine::OneSequence;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMiB = 1 << 20;

double distance(std::span<const float> expected, std::span<const float> actual) {
  double error = 0, power = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double e = static_cast<double>(expected[i]), d = static_cast<double>(actual[i]) - e;
    error += d * d, power += e * e;
  }
  return std::sqrt(error / power);
}

std::vector<int32_t> some_tokens(size_t count, int32_t vocabulary = 40) {
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>(3 + i * 7 % size_t(vocabulary - 3));
  return tokens;
}

std::vector<float> last_logits(OneSequence& run, const std::vector<int32_t>& tokens,
                               const engine::Cancelled& cancelled = {}) {
  std::vector<float> logits(run.vocabulary());
  run.run(tokens, 0, Logits::last, logits.data(), cancelled);
  return logits;
}

constexpr const char* kFake = CAIRN_FAKE_OPENVINO;

// In slices of a device's chunks: attention rounds keys that are read together.
constexpr uint32_t kChunk = 32;
std::vector<float> in_chunks(OneSequence& run, const std::vector<int32_t>& tokens) {
  std::vector<float> logits(run.vocabulary());
  for (size_t begin = 0; begin < tokens.size(); begin += kChunk) {
    const size_t count = std::min<size_t>(kChunk, tokens.size() - begin);
    run.run(std::span(tokens).subspan(begin, count), static_cast<uint32_t>(begin), Logits::last,
            logits.data());
  }
  return logits;
}

// A device, and whether it compiles a copy of the stack. A new matrix engine is a row at the end.
struct Device {
  const char* name;
  const char* device;
  bool copies;
  const char* openvino = kFake;  // the library; null: the one that is installed
};
void PrintTo(const Device& device, std::ostream* out) {
  *out << device.device;
}

// "inside:CPU": OpenVINO's CPU as a device that compiles weights in.
void add_inside() {
  const auto traits = [](const std::string& device) {
    AcceleratorTraits all = accelerator_traits("openvino:" + device);
    all.takes_moving_weights = false;
    return all;
  };
  add_accelerators({.name = "inside",
                    .names = {},
                    .list = [] { return std::vector<AcceleratorInfo>{}; },
                    .traits = traits,
                    .make =
                        [](const std::string& device, const AcceleratorOptions& options) {
                          return make_openvino_accelerator(device, options,
                                                           openvino::WeightPlacement::constants);
                        }});
}

class Stacks : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  std::vector<std::string> lines_;

  // 2 MB of planes: what a process's memory does besides is little against them.
  std::string stack() {
    const std::string path = folder_ / "stack.gguf", model = folder_ / "model.gguf";
    if (std::filesystem::exists(path)) return path;
    cairn::testing::write_small_llama(model,
                                      {.embedding = 256, .ffn = 1024, .vocabulary = 64, .tokenizer = false});
    resident::write_plain_stack(model, path, {.rows_per_group = 48, .embeddings = false, .random = true});
    return path;
  }
  // The file's first blocks, so many bits a weight of them.
  static std::string cut(const std::string& whole, double bits) {
    const std::string path = fmt::format("{}-{}", whole, bits);
    if (std::filesystem::exists(path)) return path;
    std::filesystem::copy_file(whole, path);
    const stack::Layout layout = stack::read_layout(gguf::File(whole));
    size_t blocks = layout.base_blocks;
    while (blocks < layout.blocks.size() && layout.bits(blocks + 1) <= bits) ++blocks;
    std::filesystem::resize_file(path, layout.end_of(blocks));
    return path;
  }
  PrefillOptions options_of(const std::string& device) {
    PrefillOptions options;
    options.engine = {.context = 256, .threads = 2, .chunk = kChunk};
    options.device = device;
    options.warn = options.accelerator.notice = [this](const std::string& line) { lines_.push_back(line); };
    return options;
  }
  static quantize::Scheme scheme_of(const gguf::File& file, quantize::Method method) {
    return quantize::make_scheme(graph::read_hyper_parameters(file).layers, {.method = method});
  }
  static OneSequence prefill(const std::string& path, const PrefillOptions& options,
                             quantize::Method method = quantize::Method::rotation) {
    const gguf::File file(path);
    return OneSequence(make_prefill_engine(file, scheme_of(file, method), options));
  }
  static OneSequence own(const std::string& path, engine::Precision precision = engine::Precision::standard) {
    return OneSequence(cpu::make_engine(
        gguf::File(path), {.context = 256, .threads = 1, .chunk = 256, .precision = precision}));
  }
};

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
  if (exact()) EXPECT_THAT(lines_, IsEmpty());
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

// Fused q, k and v (phi2), biases, exact rows, planes that are not rotated, forms that want other rows than
// the planes are.
TEST_F(Stacks, EveryFamilyAndFormComesClose) {
  for (const char* family : {"llama", "qwen2", "gemma3", "phi2", "phi2_split"}) {
    for (const auto& [exact, rotate] : {std::pair(false, true), {true, true}, {false, false}}) {
      const std::string path = folder_ / fmt::format("{}-{}-{}.gguf", family, exact, rotate);
      resident::write_plain_stack(
          graph::golden_model_path(family), path,
          {.rows_per_group = 16, .embeddings = false, .exact = exact, .rotate = rotate});
      const auto tokens = some_tokens(60);
      for (const std::string& device : {std::string("cpu"), book_device(1 << 20)}) {
        if (exact && device != "cpu") continue;  // copies are of planes
        OneSequence reference = own(device == "cpu" ? path : cut(path, 8), engine::Precision::f32);
        const auto expected = last_logits(reference, tokens);
        for (const auto method :
             {quantize::Method::rotation, quantize::Method::token, quantize::Method::mixed}) {
          // Columns in float come from what is in memory, which is more.
          if (device != "cpu" && method == quantize::Method::mixed) continue;
          PrefillOptions options = options_of(device);
          options.everything = true;
          if (device != "cpu") options.npu_bits = 8;
          OneSequence run = prefill(path, options, method);
          EXPECT_LT(distance(expected, last_logits(run, tokens)), 0.15)
              << family << " " << exact << rotate << " " << device << " " << quantize::name(method);
        }
      }
    }
  }
}

TEST_F(Stacks, OneScaleATensorIsForOthers) {
  const gguf::File file(stack());
  quantize::Scheme scheme = scheme_of(file, quantize::Method::token);
  scheme.weight_scale = quantize::WeightScale::tensor;
  expect_error(ErrorCode::invalid_argument, "a stack's rows have scales of their own",
               [&] { make_prefill_engine(file, scheme, options_of("cpu")); });
}

// Shadow execution reads the planes while the device computes with them.
TEST_F(Stacks, ShadowExecutionReadsWhatIsInMemory) {
  const gguf::File file(stack());
  quantize::Scheme scheme = scheme_of(file, quantize::Method::token);
  for (auto& layer : scheme.layers)
    layer.fill({.scale_kind = quantize::ScaleKind::fixed,
                .scale = 0.01F,
                .outliers = quantize::Outliers::shadow,
                .hot = {0, 5}});
  const auto tokens = some_tokens(60);
  OneSequence reference = own(stack(), engine::Precision::f32);
  const auto expected = last_logits(reference, tokens);
  OneSequence device(make_prefill_engine(file, scheme, options_of("cpu")));
  EXPECT_LT(distance(expected, last_logits(device, tokens)), 0.1);
  int asked = 0;
  last_logits(device, tokens, [&] {
    if (++asked % 2 == 0) device.engine->set_memory(device.engine->memory().least + kMiB);
    if (++asked % 3 == 0) device.engine->set_memory(0);
    return false;
  });
  device.engine->set_memory(0);
}

TEST_F(Stacks, DraftsWithFewerBits) {
  OneSequence device = prefill(stack(), options_of("cpu"));
  last_logits(device, some_tokens(60));
  const std::vector<int32_t> one = {5};
  std::vector<float> usual(device.vocabulary()), draft(device.vocabulary());
  device.engine->draft(std::vector<engine::Slice>{{device.sequence.get(), one, Logits::last, draft.data()}},
                       2);
  EXPECT_EQ(device.length(), 61U);
  device.run(one, 60, Logits::last, usual.data());
  EXPECT_GT(distance(usual, draft), 0.01);
  for (const float x : draft) ASSERT_TRUE(std::isfinite(x));
}

}  // namespace
}  // namespace cairn::offload
