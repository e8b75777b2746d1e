// On the real library and on Qualcomm's emulator. These tests exist where both are installed (./quickstart.sh
// --npu) when ctest starts.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>

#include "base/expect_error.hpp"
#include "base/sanitized.hpp"
#include "base/temporary_folder.hpp"
#include "engine/one_sequence.hpp"
#include "graph/golden_models.hpp"
#include "offload/compile_model.hpp"
#include "offload/engine.hpp"
#include "offload/onnx/library.hpp"
#include "openvino_graphs.hpp"
#include "quantize/make_scheme.hpp"

namespace cairn::offload {
namespace {

using cairn::testing::error_of;
using cairn::testing::expect_error;
using cairn::testing::ScopedVariable;
using cairn::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What is off by rounding a sum to float once.
constexpr double kRounding = 1e-6;

// Files may not grow beyond this while it lives, as on a disk that is full.
class SmallFiles {
 public:
  explicit SmallFiles(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit small = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~SmallFiles() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  SmallFiles(const SmallFiles&) = delete;
  SmallFiles& operator=(const SmallFiles&) = delete;

 private:
  void (*handler_)(int);
  rlimit before_ = {};
};

// The parameter: nothing, where the tests can run.
class RealOnnx : public ::testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Accelerator> make(const std::string& device, const std::string& cache = "",
                                    const std::function<void(AcceleratorOptions&)>& change = {}) {
    AcceleratorOptions options{.threads = 2, .cache_folder = cache};
    options.notice = [this](const std::string& line) { notices_.push_back(line); };
    if (change) change(options);
    return make_accelerator(device, options);
  }
  static std::string library() { return onnx::Library::open()->path(); }
  // The stand-in before the real library, from here on. Under a path of its own, since a path is opened once.
  void stand_in(const std::string& mode) {
    const std::string setting = fmt::format("{}:{}", mode, library());
    std::filesystem::create_symlink(CAIRN_FAKE_ONNXRUNTIME, stand_in_ / "libonnxruntime.so");
    mode_.emplace("CAIRN_FAKE_ONNXRUNTIME", setting.c_str());
    chosen_.emplace("CAIRN_ONNXRUNTIME", stand_in_.path().c_str());
  }

  std::vector<std::string> notices_;

 private:
  TemporaryFolder stand_in_;
  std::optional<ScopedVariable> mode_, chosen_;
};

// The root of the mean of squared errors against exact sums, in parts of the sums' own.
double rms_error(AcceleratorGraph& compiled, const Int8Graph& graph) {
  const uint32_t k = graph.linears[0].k, tokens = graph.tokens;
  std::mt19937 random(3);
  std::vector<int8_t> x(size_t{tokens} * k);
  for (int8_t& value : x) value = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
  double error = 0, power = 0;
  each_output(compiled, graph, x, [&](double result, double sum, double scale, double) {
    error += (result - sum * scale) * (result - sum * scale);
    power += sum * scale * sum * scale;
  });
  return std::sqrt(error / power);
}

TEST_P(RealOnnx, ProductsOnTheCpuEqualSumsOfIntegers) {
  const auto accelerator = make("onnx:CPU");
  for (const Int8Graph& graph : {random_graph(1, 64, 576, {576, 192, 192}), random_graph(2, 33, 70, {17, 5}),
                                 extreme_graph(3, 2048, {96, 7}), random_graph(4, 1, 64, {16})}) {
    EXPECT_LT(worst_error(*accelerator->compile(graph), graph), kRounding) << graph.name;
  }
  EXPECT_THAT(notices_, IsEmpty());
}

// SmolLM2's first layer, whole: the bar is 2e-3, its aim 1e-4.
TEST_P(RealOnnx, ProductsOfALayerAreAsGoodAsExact) {
  const auto accelerator = make("qnn");
  for (const Int8Graph& graph : {random_graph(1, 32, 576, {576, 192, 192}), random_graph(2, 32, 576, {576}),
                                 random_graph(3, 32, 576, {1536, 1536}), random_graph(4, 32, 1536, {576})}) {
    EXPECT_LT(rms_error(*accelerator->compile(graph), graph), 6e-5) << graph.name;
  }
  EXPECT_EQ(accelerator->recomputed_outputs(), 0U);
}

TEST_P(RealOnnx, EveryChipMultiplies) {
  const Int8Graph graph = random_graph(1, 32, 256, {64, 32});
  for (const onnx::Chip& chip : onnx::chips()) {
    const auto accelerator = make(fmt::format("qnn:{}", chip.name));
    EXPECT_LT(rms_error(*accelerator->compile(graph), graph), 2e-3) << chip.name;
  }
}

// Sums at their extremes are five times what 16 bits have room for, in most rows and tokens.
TEST_P(RealOnnx, WhatIsBeyondTheRangeIsComputedExactlyAndTold) {
  const auto accelerator = make("qnn");
  const Int8Graph graph = extreme_graph(1, 256, {32});
  EXPECT_LT(worst_error(*accelerator->compile(graph), graph), 1e-4);
  EXPECT_GT(accelerator->recomputed_outputs(), 0U);
  EXPECT_THAT(notices_, ElementsAre(HasSubstr("beyond the device's range")));
}

TEST_P(RealOnnx, FourBitsAreHalfTheSizeAndLessExact) {
  const Int8Graph graph = random_graph(1, 32, 256, {256});
  const auto eight = make("qnn"), four = make("qnn", "", [](AcceleratorOptions&o) { o.weight_bits = 4; });
  const double error = rms_error(*four->compile(graph), graph);
  EXPECT_GT(error, 0.02);  // even values rounded to 15 steps: 1 / √12 of a step of 18, values of 73
  EXPECT_LT(error, 0.09);
  eight->compile(graph);
  EXPECT_EQ(four->weight_bytes() * 2, eight->weight_bytes());
  expect_error(ErrorCode::unsupported, "4-bit weights are for qnn",
               [&] { make("onnx:CPU", "", [](AcceleratorOptions& o) { o.weight_bits = 4; }); });
}

TEST_P(RealOnnx, CompiledGraphsComeBackAndDamagedOnesAreReplaced) {
  const TemporaryFolder cache;
  const Int8Graph graph = random_graph(1, 32, 128, {64, 32});
  const auto first = make("qnn", cache.path());
  const double error = rms_error(*first->compile(graph), graph);
  EXPECT_EQ(first->cached_graphs(), 0U);
  ASSERT_EQ(cache.entries(), 1U) << "nothing unfinished stays";
  const auto second = make("qnn", cache.path());
  EXPECT_EQ(rms_error(*second->compile(graph), graph), error) << "bit by bit the same";
  EXPECT_EQ(second->cached_graphs(), 1U);
  const auto other_chip = make("qnn:snapdragon-8gen2", cache.path());
  other_chip->compile(graph);
  EXPECT_EQ(other_chip->cached_graphs(), 0U);
  EXPECT_EQ(cache.entries(), 2U);
  EXPECT_THAT(notices_, IsEmpty());

  for (const auto& entry : std::filesystem::directory_iterator(cache.path())) {
    std::string bytes = cairn::testing::read_file(entry.path());
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
    cairn::testing::write_file(entry.path(), bytes);
  }
  const auto third = make("qnn", cache.path());
  EXPECT_EQ(rms_error(*third->compile(graph), graph), error);
  EXPECT_EQ(third->cached_graphs(), 0U);
  EXPECT_THAT(notices_, ElementsAre(::testing::AllOf(HasSubstr("checksum"), HasSubstr("compiled anew"))));
  const auto fourth = make("qnn", cache.path());
  fourth->compile(graph);
  EXPECT_EQ(fourth->cached_graphs(), 1U);
}

TEST_P(RealOnnx, ACacheThatCannotBeWrittenCostsTheNextStartAlone) {
  const TemporaryFolder cache;
  const Int8Graph graph = random_graph(1, 32, 128, {64, 32});
  {
    const SmallFiles full(1000);
    EXPECT_LT(rms_error(*make("qnn", cache.path())->compile(graph), graph), 4e-4);
  }
  EXPECT_THAT(notices_, ElementsAre(HasSubstr("the next start will not be faster")));
  EXPECT_EQ(cache.entries(), 0U);
}

TEST_P(RealOnnx, AProviderThatIsNotHereIsToldWithThoseThatAre) {
  const Error error = error_of([&] { make("onnx:VitisAI"); });
  EXPECT_EQ(error.code(), ErrorCode::not_found);
  EXPECT_THAT(error.what(), HasSubstr("CPU:CPU"));
  EXPECT_THAT(error.what(), HasSubstr("CAIRN_ONNX_PLUGINS"));
}

// A plug-in of another version does not register; here: one that is no plug-in.
TEST_P(RealOnnx, APluginThatDoesNotFitIsNamed) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink(library(), folder / "libonnxruntime.so");
  std::filesystem::create_symlink(CAIRN_FAKE_OPENVINO, folder / "libonnxruntime_providers_vitisai.so");
  const ScopedVariable chosen("CAIRN_ONNXRUNTIME", folder.path().c_str());
  const Error error = error_of([&] { make("onnx:vitisai"); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_THAT(error.what(), HasSubstr("libonnxruntime_providers_vitisai.so"));
  bool listed = false;
  for (const AcceleratorInfo& info : list_accelerators())
    listed = listed || (info.name == "onnx:vitisai" && !info.available && !info.detail.empty());
  EXPECT_TRUE(listed);
}

TEST_P(RealOnnx, PluginsAreNamedByTheEnvironment) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink(library(), folder / "libonnxruntime.so");
  const ScopedVariable chosen("CAIRN_ONNXRUNTIME", folder.path().c_str());
  {
    const ScopedVariable wrong("CAIRN_ONNX_PLUGINS", "nonsense");
    expect_error(ErrorCode::invalid_argument, "nonsense is not NAME=FILE", [&] { make("onnx:CPU"); });
  }
  const ScopedVariable gone("CAIRN_ONNX_PLUGINS", "Mine=/nowhere/mine.so");
  expect_error(ErrorCode::unsupported, "/nowhere/mine.so: no such file", [&] { make("onnx:Mine"); });
}

// A tiny llama, whole, through an engine.
class RealOnnxModel : public RealOnnx {
 protected:
  quantize::Scheme scheme(bool rotate = true) const {
    quantize::Scheme made;
    made.name = rotate ? "rotation" : "token";
    made.layers.resize(graph::read_hyper_parameters(file_).layers);
    for (auto& layer : made.layers) layer.fill({.rotate = rotate});
    return made;
  }
  std::vector<float> logits(const std::string& device, const std::string& bundle = "", bool rotate = true) {
    PrefillOptions options;
    options.engine = {.context = 64, .threads = 2, .chunk = bundle.empty() ? 32u : 0u};
    options.device = device;
    options.everything = true;
    options.accelerator.bundle = bundle;
    options.warn = options.accelerator.notice = [this](const std::string& line) { notices_.push_back(line); };
    auto made = make_prefill_engine(file_, scheme(rotate), options);
    const PrefillEngine& engine = *made;
    engine::OneSequence one(std::move(made));
    std::vector<float> result(golden_.tokens.size() * golden_.vocabulary);
    one.run(golden_.tokens, 0, engine::Logits::all, result.data());
    statistics_ = engine.statistics();
    return result;
  }
  onnx::Bundle compile(const std::string& folder, const std::vector<uint32_t>& lengths, bool separate,
                       const engine::Cancelled& cancelled = {}) {
    return compile_model(
        file_, scheme(), lengths, {.folder = folder, .chip = "snapdragon-8gen3", .separate = separate},
        [](size_t, size_t) {}, cancelled);
  }
  static double distance(std::span<const float> expected, std::span<const float> actual) {
    double error = 0, power = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      const double e = static_cast<double>(expected[i]), d = static_cast<double>(actual[i]) - e;
      error += d * d, power += e * e;
    }
    return std::sqrt(error / power);
  }
  gguf::File file_{graph::golden_model_path("llama")};
  graph::Golden golden_{"llama"};
  PrefillStatistics statistics_;
};

TEST_P(RealOnnxModel, AnswersAsOnTheCpu) {
  const std::vector<float> cpu = logits("cpu");
  EXPECT_LT(distance(cpu, logits("onnx:CPU")), 1e-4);
  EXPECT_THAT(notices_, IsEmpty());
  EXPECT_LT(distance(cpu, logits("qnn")), 0.05) << "a step of 16 bits decides how 8 are rounded";
}

TEST_P(RealOnnxModel, ABundleStartsWithoutACompilerAndGivesTheSameBits) {
  const TemporaryFolder folder;
  const onnx::Bundle bundle = compile(folder / "b", {32}, true);
  EXPECT_EQ(bundle.graphs.size(), graph::read_hyper_parameters(file_).layers * quantize::kInputs);
  EXPECT_EQ(folder.entries(), 1U);
  EXPECT_EQ(logits("qnn", folder / "b"), logits("qnn"));
  EXPECT_EQ(statistics_.cached_graphs, 0U);
  EXPECT_EQ(statistics_.graphs, bundle.graphs.size());
}

TEST_P(RealOnnxModel, ABundleOfAnotherChipModelOrLibraryIsRefused) {
  const TemporaryFolder folder;
  const std::string path = folder / "b";
  compile(path, {32}, true);
  expect_error(ErrorCode::unsupported, "is for snapdragon-8gen3",
               [&] { logits("qnn:snapdragon-8gen2", path); });
  expect_error(ErrorCode::unsupported, "--bundle is for qnn", [&] { logits("onnx:CPU", path); });
  const Error other = error_of([&] { logits("qnn", path, false); });
  EXPECT_EQ(other.code(), ErrorCode::unsupported);
  EXPECT_THAT(other.what(), HasSubstr("it was made of llama.gguf (rotation)"));

  onnx::Bundle bundle = onnx::Bundle::read(path);
  bundle.fingerprint = "onnxruntime 1.99.0\n" + bundle.fingerprint.substr(bundle.fingerprint.find("qnn"));
  bundle.write();
  expect_error(ErrorCode::unsupported, "another library", [&] { logits("qnn", path); });
}

TEST_P(RealOnnxModel, ABundleWhoseGraphWasChangedIsRefused) {
  const TemporaryFolder folder;
  const onnx::Bundle bundle = compile(folder / "b", {32}, true);
  const std::string file = folder / "b" + "/" + bundle.graphs[3].file;
  std::string bytes = cairn::testing::read_file(file);
  bytes[100] = static_cast<char>(bytes[100] ^ 1);
  cairn::testing::write_file(file, bytes);
  expect_error(ErrorCode::format, bundle.graphs[3].file, [&] { logits("qnn", folder / "b"); });
}

// What the emulator cannot load, a phone can: here, that it is whole, and that a second length costs little.
TEST_P(RealOnnxModel, SharedBundlesHaveTheirWeightsOnce) {
  const TemporaryFolder folder;
  const onnx::Bundle one = compile(folder / "one", {64}, false),
                     two = compile(folder / "two", {32, 64}, false);
  EXPECT_EQ(two.graphs.size(), 2 * one.graphs.size());
  EXPECT_THAT(two.chunk_lengths(), ElementsAre(32, 64));
  EXPECT_EQ(onnx::Bundle::read(folder / "two").context_sum, two.context_sum);
  const Error error = error_of([&] { logits("qnn", folder / "two"); });
  EXPECT_THAT(error.what(), HasSubstr("cannot be loaded into qnn"));
}

TEST_P(RealOnnxModel, AStackIsRefusedByName) {
  const TemporaryFolder folder;
  const gguf::File stack(std::string(CAIRN_TEST_DATA) + "/stack_six_planes.gguf");
  expect_error(ErrorCode::unsupported, "stack_six_planes.gguf is a stack", [&] {
    compile_model(stack, scheme(), {32}, {.folder = folder / "b", .chip = "qcs6490"}, [](size_t, size_t) {},
                  {});
  });
  EXPECT_EQ(folder.entries(), 0U);
}

TEST_P(RealOnnxModel, AnInterruptedCompilationLeavesNothing) {
  const TemporaryFolder folder;
  int asked = 0;
  expect_error(ErrorCode::cancelled, "",
               [&] { compile(folder / "b", {32}, true, [&] { return ++asked > 3; }); });
  EXPECT_EQ(folder.entries(), 0U);
  std::filesystem::create_directory(folder / "b");
  expect_error(ErrorCode::invalid_argument, "is there already", [&] { compile(folder / "b", {32}, true); });
}

TEST_P(RealOnnxModel, AFullDiskLeavesNothing) {
  for (const bool separate : {true, false}) {
    const TemporaryFolder folder;
    {
      const SmallFiles limit(8000);
      const Error error = error_of([&] { compile(folder / "b", {32}, separate); });
      EXPECT_THAT(error.what(), ::testing::Not(HasSubstr("\n")));
    }
    EXPECT_EQ(folder.entries(), 0U) << separate;
  }
}

TEST_P(RealOnnxModel, ADeviceLostInMidPromptIsReplacedByTheCpu) {
  const std::vector<float> cpu = logits("cpu");
  stand_in("5");
  EXPECT_LT(distance(cpu, logits("onnx:CPU")), 1e-4);
  EXPECT_THAT(notices_, ElementsAre(HasSubstr("the device is gone; the CPU goes on")));
  EXPECT_TRUE(statistics_.fell_back);
}

TEST_P(RealOnnxModel, AProductThatTheDeviceRefusesIsTheCpus) {
  const std::vector<float> cpu = logits("cpu");
  stand_in("blk.1.down");
  EXPECT_LT(distance(cpu, logits("onnx:CPU")), 0.08) << "one product more in float";
  EXPECT_THAT(notices_, ElementsAre(::testing::AllOf(HasSubstr("blk.1.down"), HasSubstr("no such operation"),
                                                     HasSubstr("1 of 12 products"))));
}

TEST_P(RealOnnxModel, ADeviceThatRefusesEverythingIsAnError) {
  stand_in("blk.");
  expect_error(ErrorCode::unsupported, "refuses graph blk.0.qkv", [&] { logits("onnx:CPU"); });
}

// Vendors' libraries do not run under sanitizers.
std::vector<bool> here() {
  if (testing::kSanitized) return {};
  for (const AcceleratorInfo& info : onnx::list_devices()) {
    if (info.name == "qnn" && info.available) return {true};
  }
  return {};
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RealOnnx);
INSTANTIATE_TEST_SUITE_P(Npu, RealOnnx, ::testing::ValuesIn(here()), [](const auto&) { return "Here"; });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RealOnnxModel);
INSTANTIATE_TEST_SUITE_P(Npu, RealOnnxModel, ::testing::ValuesIn(here()), [](const auto&) { return "Here"; });

}  // namespace
}  // namespace cairn::offload
