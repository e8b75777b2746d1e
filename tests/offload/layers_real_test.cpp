// Whole layers on Qualcomm's emulator, of every family that has tiny models, against what transformers says
// of them. These tests exist where ONNX Runtime and the plug-in are installed (./quickstart.sh --npu).
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "base/expect_error.hpp"
#include "base/sanitized.hpp"
#include "base/temporary_folder.hpp"
#include "engine/one_sequence.hpp"
#include "graph/golden_models.hpp"
#include "offload/compile_model.hpp"
#include "offload/engine.hpp"
#include "offload/onnx/device.hpp"
#include "quantize/make_scheme.hpp"

namespace cairn::offload {
namespace {

using cairn::testing::error_of;
using cairn::testing::expect_error;
using cairn::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// qnn, whose layers fail after so many runs: "lost:3".
class LostDevice final : public Accelerator {
 public:
  LostDevice(int runs, const AcceleratorOptions& options)
      : left_(runs), real_(make_accelerator("qnn", options)) {}
  const AcceleratorTraits& traits() const override { return real_->traits(); }
  std::unique_ptr<AcceleratorGraph> compile(const Int8Graph& graph) override { return real_->compile(graph); }
  std::unique_ptr<AcceleratorLayer> compile_layer(const LayerGraph& layer) override {
    return std::make_unique<Layer>(real_->compile_layer(layer), left_);
  }
  uint64_t weight_bytes() const override { return real_->weight_bytes(); }
  double compile_seconds() const override { return 0; }
  uint32_t cached_graphs() const override { return 0; }

 private:
  struct Layer final : AcceleratorLayer {
    Layer(std::unique_ptr<AcceleratorLayer> made, int& counter) : real(std::move(made)), left(counter) {}
    void run(const LayerValues& values) override {
      if (left-- == 0) fail(ErrorCode::io, "lost: unplugged");
      real->run(values);
    }
    std::unique_ptr<AcceleratorLayer> real;
    int& left;
  };
  int left_;
  std::unique_ptr<Accelerator> real_;
};

void add_lost_device() {
  add_accelerators({.name = "lost",
                    .names = {},
                    .list = [] { return std::vector<AcceleratorInfo>(); },
                    .traits = [](const std::string&) { return accelerator_traits("qnn"); },
                    .make =
                        [](const std::string& runs, const AcceleratorOptions& options) {
                          return std::make_unique<LostDevice>(std::stoi(runs), options);
                        }});
}

class RealLayers : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<PrefillEngine> make(const std::string& model, NpuForm form,
                                      const std::string& device = "qnn", uint32_t chunk = 32,
                                      const std::string& cache = "", const std::string& bundle = "") {
    const gguf::File file(graph::golden_model_path(model));
    PrefillOptions options;
    options.engine = {.context = graph::kGoldenContext, .threads = 2, .chunk = chunk};
    options.device = device;
    options.everything = true;
    options.form = form;
    options.accelerator.cache_folder = cache;
    options.accelerator.bundle = bundle;
    options.warn = options.accelerator.notice = [this](const std::string& line) { notices_.push_back(line); };
    const size_t layers = graph::read_hyper_parameters(file).layers;
    return make_prefill_engine(file, quantize::make_scheme(layers, {}), options);
  }
  // Of the golden tokens; the first `before` of them in a slice of their own.
  std::vector<float> logits(std::unique_ptr<PrefillEngine> made, const graph::Golden& golden,
                            size_t before = 0) {
    const PrefillEngine& engine = *made;
    engine::OneSequence one(std::move(made));
    std::vector<float> result(golden.tokens.size() * golden.vocabulary);
    const std::span<const int32_t> tokens(golden.tokens);
    if (before > 0) one.run(tokens.first(before), 0, engine::Logits::all, result.data());
    one.run(tokens.subspan(before), static_cast<uint32_t>(before), engine::Logits::all,
            result.data() + before * golden.vocabulary);
    statistics_ = engine.statistics();
    return result;
  }
  // At the positions that the golden logits are of: root of the mean of squared errors, in parts of theirs.
  static double error(const graph::Golden& golden, const std::vector<float>& logits) {
    double error = 0, power = 0;
    for (size_t i = 0; i < golden.positions.size(); ++i) {
      for (size_t v = 0; v < golden.vocabulary; ++v) {
        const double expected = static_cast<double>(golden.logits[i * golden.vocabulary + v]);
        const auto at = static_cast<size_t>(golden.positions[i]) * golden.vocabulary + v;
        const double off = static_cast<double>(logits[at]) - expected;
        error += off * off, power += expected * expected;
      }
    }
    return std::sqrt(error / power);
  }

  std::vector<std::string> notices_;
  PrefillStatistics statistics_;
};

// What is refused, with a word of the reason.
const std::map<std::string, std::string>& refused() {
  static const std::map<std::string, std::string> all = {
      {"phi2", "norm_layer"},
      {"phi2_split", "norm_layer"},
      {"mistral3",
       "attention with a temperature is not in whole layers on a device: --npu-form products does"}};
  return all;
}

TEST_P(RealLayers, AreAsExactAsTheirForm) {
  const std::string model = GetParam();
  const graph::Golden golden(model);
  if (const auto found = refused().find(model); found != refused().end()) {
    expect_error(ErrorCode::unsupported, found->second.c_str(), [&] { make(model, NpuForm::layers_fp16); });
    return;
  }
  EXPECT_LT(error(golden, logits(make(model, NpuForm::layers_fp16), golden)), 1e-2) << "the head is int8";
  EXPECT_EQ(statistics_.crossings %
                graph::read_hyper_parameters(gguf::File(graph::golden_model_path(model))).layers,
            0U);
  if (std::set<std::string>{"llama", "gemma3", "qwen2", "phi3"}.contains(model)) {
    EXPECT_LT(error(golden, logits(make(model, NpuForm::layers_a16), golden)), 4e-2) << "int8 weights";
  }
  EXPECT_THAT(notices_, IsEmpty());
}

class RealLayersOnce : public RealLayers {};

// Slices that begin where they like, in chunks that are padded.
TEST_P(RealLayersOnce, GoOnWhereASequenceStands) {
  const graph::Golden golden("gemma3");
  const auto whole = logits(make("gemma3", NpuForm::layers_fp16, "qnn", 64), golden);
  const auto parts = logits(make("gemma3", NpuForm::layers_fp16, "qnn", 16), golden, 13);
  double off = 0, power = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    off += std::pow(static_cast<double>(whole[i] - parts[i]), 2);
    power += std::pow(static_cast<double>(whole[i]), 2);
  }
  EXPECT_LT(std::sqrt(off / power), 5e-3);
}

TEST_P(RealLayersOnce, ComeOutOfTheCache) {
  const TemporaryFolder cache;
  const graph::Golden golden("llama");
  const auto first = logits(make("llama", NpuForm::layers_a16, "qnn", 64, cache.path()), golden);
  EXPECT_EQ(statistics_.cached_graphs, 0U);
  EXPECT_EQ(logits(make("llama", NpuForm::layers_a16, "qnn", 64, cache.path()), golden), first);
  EXPECT_EQ(statistics_.cached_graphs, statistics_.graphs);
  logits(make("llama", NpuForm::layers_fp16, "qnn", 64, cache.path()), golden);
  EXPECT_EQ(statistics_.cached_graphs, 0U) << "another form";
}

TEST_P(RealLayersOnce, StartFromABundleOfTheirFormAndContext) {
  const TemporaryFolder folder;
  const gguf::File file(graph::golden_model_path("llama"));
  const graph::Golden golden("llama");
  const auto compile = [&](const std::string& name, uint32_t context) {
    return compile_model(file, {}, {32},
                         {.folder = folder / name,
                          .chip = "snapdragon-8gen3",
                          .separate = true,
                          .form = NpuForm::layers_a16,
                          .context = context},
                         [](size_t, size_t) {}, {});
  };
  const onnx::Bundle bundle = compile("b", graph::kGoldenContext);
  const uint32_t layers = graph::read_hyper_parameters(file).layers;
  EXPECT_EQ(bundle.graphs.size(), 2 * layers);
  EXPECT_EQ(onnx::Bundle::read(folder / "b").chunk(32).graphs, layers) << "a chunk behind others";
  const auto from = [&](const std::string& name, NpuForm form) {
    return logits(make("llama", form, "qnn", 32, "", folder / name), golden);
  };
  EXPECT_EQ(from("b", NpuForm::layers_a16), logits(make("llama", NpuForm::layers_a16), golden))
      << "bit by bit";
  expect_error(ErrorCode::unsupported, "has no blk.0 behind 0 positions (layers-fp16) of 32 tokens",
               [&] { from("b", NpuForm::layers_fp16); });
  expect_error(ErrorCode::unsupported, "it was made of llama.gguf (layers-a16)",
               [&] { from("b", NpuForm::products); });
  compile("longer", 2 * graph::kGoldenContext);
  expect_error(ErrorCode::unsupported, "has no blk.0 behind 64 positions (layers-a16)",
               [&] { from("longer", NpuForm::layers_a16); });
}

TEST_P(RealLayersOnce, ADeviceLostInMidPromptIsReplacedByTheCpuInFloat) {
  add_lost_device();
  const graph::Golden golden("llama");
  const size_t layers = graph::read_hyper_parameters(gguf::File(graph::golden_model_path("llama"))).layers;
  EXPECT_LT(error(golden, logits(make("llama", NpuForm::layers_fp16, fmt::format("lost:{}", layers + 1), 16),
                                 golden)),
            1e-2);
  EXPECT_THAT(notices_, ElementsAre(HasSubstr("lost: unplugged; the CPU goes on in its place, in float")));
  EXPECT_TRUE(statistics_.fell_back);
}

TEST_P(RealLayersOnce, AreForQnnAloneAndForKeysOf16Bits) {
  expect_error(ErrorCode::unsupported, "cpu takes products alone",
               [&] { logits(make("llama", NpuForm::layers_fp16, "cpu"), graph::Golden("llama")); });
  expect_error(ErrorCode::unsupported, "onnx:CPU takes products alone",
               [&] { logits(make("llama", NpuForm::layers_fp16, "onnx:CPU"), graph::Golden("llama")); });
  expect_error(ErrorCode::unsupported, "recurrent state", [&] { make("lfm2", NpuForm::layers_fp16); });
  const gguf::File file(graph::golden_model_path("llama"));
  PrefillOptions options;
  options.form = NpuForm::layers_fp16;
  options.engine = {.context = 64, .kv = engine::KvType::i8};
  expect_error(ErrorCode::invalid_argument, "--kv f16",
               [&] { make_prefill_engine(file, quantize::make_scheme(2, {}), options); });
}

// Vendors' libraries do not run under sanitizers.
std::vector<const char*> here() {
  if (testing::kSanitized) return {};
  for (const AcceleratorInfo& info : onnx::list_devices()) {
    if (info.name == "qnn" && info.available) return {graph::kDenseModels.begin(), graph::kDenseModels.end()};
  }
  return {};
}
std::vector<const char*> one_if_here() {
  return here().empty() ? std::vector<const char*>() : std::vector<const char*>{"Here"};
}

const auto name_of = [](const auto& info) { return std::string(info.param); };
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RealLayers);
INSTANTIATE_TEST_SUITE_P(Npu, RealLayers, ::testing::ValuesIn(here()), name_of);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RealLayersOnce);
INSTANTIATE_TEST_SUITE_P(Npu, RealLayersOnce, ::testing::ValuesIn(one_if_here()), name_of);

}  // namespace
}  // namespace cairn::offload
