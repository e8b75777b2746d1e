// libtorch's gradients beside cairn's own and beside differences of the loss. These tests exist where
// libcairn_torch.so was built.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "base/expect_error.hpp"
#include "base/own_library.hpp"
#include "measure/evaluate.hpp"
#include "stack/restore.hpp"
#include "stack/small_stack.hpp"
#include "stack/tune.hpp"

namespace cairn::stack {
namespace {

std::vector<TuneOn> devices() {
  if (!cairn::testing::was_built("libcairn_torch.so")) return {};
  return {TuneOn::torch};
}

class TorchTuner : public SmallStack, public ::testing::WithParamInterface<TuneOn> {
 protected:
  void SetUp() override { cairn::testing::look_beside_the_program(); }
  // A stack of the small model and tuners of it.
  struct Tuned {
    explicit Tuned(const std::string& stack)
        : model(llm::Model::load(path("model.gguf"))),
          graph(graph::load(model->file())),
          reader(stack),
          layout(reader.layout()),
          windows(measure::evaluation_windows(*model->tokenizer(), text_, 64, 3)) {}
    ScaleTuner tuner(TuneOn on) const {
      TuneOptions options;
      options.steps = 10;
      options.batch = 2;
      options.on = on;
      const BlockSource read = [this](size_t i, std::span<std::byte> out) { reader.read(i, out); };
      return {model->file(), graph, layout, read, windows, options, 2};
    }
    std::shared_ptr<const llm::Model> model;
    graph::Model graph;
    Reader reader;
    const Layout& layout;
    std::vector<std::vector<text::Token>> windows;
  };
  // A state's numbers: changes, means, squares, [parameter] each.
  static std::vector<float> numbers(const ScaleTuner& tuner) {
    const std::vector<std::byte> state = tuner.state();
    std::vector<float> values((state.size() - sizeof(uint32_t)) / sizeof(float));
    std::memcpy(values.data(), state.data() + sizeof(uint32_t), values.size() * sizeof(float));
    return values;
  }
};

TEST_P(TorchTuner, SlopesAreThoseOfTheOpListsOwn) {
  encode("stack.gguf", options());
  const Tuned tuned(path("stack.gguf"));
  ScaleTuner own = tuned.tuner(TuneOn::cpu), torch = tuned.tuner(GetParam());
  for (const double bits : {2.0, 3.0, 5.5})
    EXPECT_NEAR(own.measure(bits, 2), torch.measure(bits, 2), 1e-4 * own.measure(bits, 2)) << bits;
  for (int step = 0; step < 3; ++step) {
    const double distance = own.advance({});
    EXPECT_NEAR(torch.advance({}), distance, 1e-3 * distance);
    const std::vector<float> expected = numbers(own), got = numbers(torch);
    ASSERT_EQ(expected.size(), got.size());
    double error = 0, size = 0;
    for (size_t i = expected.size() / 3; i < expected.size() * 2 / 3; ++i) {  // the means of the slopes
      error += std::pow(static_cast<double>(expected[i]) - static_cast<double>(got[i]), 2);
      size += std::pow(static_cast<double>(expected[i]), 2);
    }
    EXPECT_GT(size, 0);
    EXPECT_LT(std::sqrt(error / size), 1e-3) << "step " << step;
  }
}

TEST_P(TorchTuner, SlopesOfTheVocabularyAreThoseOfTheDistance) {
  EncodeOptions all = options();
  all.embeddings = Embeddings::planes;
  all.exact = true;
  encode("whole.gguf", all);
  const Tuned tuned(path("whole.gguf"));
  ASSERT_THAT(tuned.layout.matrices.back().name, ::testing::AnyOf("token_embd.weight", "output.weight"));
  ScaleTuner tuner = tuned.tuner(GetParam());
  const std::vector<std::byte> before = tuner.state();
  tuner.advance({});  // of 2 bits
  const std::vector<float> after = numbers(tuner);
  const size_t parameters = after.size() / 3;
  size_t vocabulary = parameters - size_t{tuned.layout.matrices.back().rows} * kPlanes, steepest = vocabulary;
  for (size_t i = vocabulary; i < parameters; ++i) {
    if (std::abs(after[parameters + i]) > std::abs(after[parameters + steepest])) steepest = i;
  }
  EXPECT_NE(after[parameters + steepest], 0);
  // The distance at 2 bits moves as that slope says when this one scale changes.
  const auto distance = [&](float change) {
    std::vector<std::byte> state = before;
    std::memcpy(state.data() + sizeof(uint32_t) + steepest * sizeof(float), &change, sizeof change);
    tuner.restore(state);
    return tuner.advance({});
  };
  const double slope = static_cast<double>(after[parameters + steepest]) / (1 - 0.9);
  EXPECT_NEAR((distance(0.05f) - distance(-0.05f)) / 0.1, slope, 0.05 * std::abs(slope));
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TorchTuner);
INSTANTIATE_TEST_SUITE_P(Libtorch, TorchTuner, ::testing::ValuesIn(devices()),
                         [](const auto&) { return "Cpu"; });

TEST_F(SmallStack, ALibraryThatIsNotThereIsNamed) {
  setenv("CAIRN_LIB", "/nowhere", 1);
  EncodeOptions cuda = options();
  cuda.tune.steps = 1;
  cuda.tune.on = TuneOn::cuda;
  cairn::testing::expect_error(ErrorCode::not_found, "libcairn_torch.so is not there",
                               [&] { encode("none.gguf", cuda); });
}

TEST_F(SmallStack, ALibraryOfAnotherBuildIsRefusedOrWithoutUse) {
  const auto put = [&](const std::string& which) {
    std::filesystem::remove(path("libcairn_torch.so"));
    std::filesystem::create_symlink(std::string(CAIRN_FAKE_PLUGINS) + "/libfake_plugin_" + which + ".so",
                                    path("libcairn_torch.so"));
  };
  const cairn::testing::ScopedVariable lib("CAIRN_LIB",
                                           std::filesystem::path(path("x")).parent_path().c_str());
  EncodeOptions tuned = options();
  tuned.tune.steps = 1;
  tuned.tune.on = TuneOn::torch;
  put("size");
  cairn::testing::expect_error(ErrorCode::unsupported, "its cairn_torch has",
                               [&] { encode("none.gguf", tuned); });
  put("build");
  cairn::testing::expect_error(ErrorCode::unsupported, "it is of build", [&] { encode("none.gguf", tuned); });
  EXPECT_FALSE(std::filesystem::exists(path("none.gguf")));
  // Chosen by itself, the CPU goes on in its place.
  tuned.tune.on = TuneOn::automatic;
  ::testing::internal::CaptureStderr();
  encode("cpu.gguf", tuned);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr("tuning on the CPU"));
}

}  // namespace
}  // namespace cairn::stack
