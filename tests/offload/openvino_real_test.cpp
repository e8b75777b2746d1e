// On the real library. These tests exist where it is installed (./quickstart.sh --openvino) when ctest
// starts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "base/sanitized.hpp"
#include "base/temporary_folder.hpp"
#include "offload/openvino/accelerator.hpp"
#include "offload/openvino/device.hpp"
#include "openvino_graphs.hpp"

namespace cairn::offload {
namespace {

using openvino::WeightPlacement;

class RealOpenvino : public ::testing::TestWithParam<WeightPlacement> {
 protected:
  std::unique_ptr<Accelerator> make(const std::string& cache = "") {
    AcceleratorOptions options;
    options.threads = 2;
    options.cache_folder = cache;
    options.notice = [this](const std::string& line) { notices.push_back(line); };
    return make_openvino_accelerator("CPU", options, GetParam());
  }
  std::vector<std::string> notices;
};

// int8 sums are rounded to float once: 6e-8. Where int8 is not exact the products are summed in float, with
// scales that OpenVINO may fold into compiled-in weights: a rounding for each of up to 2,048 products.
constexpr double kRounding = 1e-6, kFloatRounding = 2e-5;

TEST_P(RealOpenvino, ProductsEqualSumsOfIntegers) {
  const auto accelerator = make();
  for (const Int8Graph& graph :
       {random_graph(1, 256, 576, {576, 192, 192}), random_graph(2, 256, 1536, {576}),
        random_graph(3, 32, 640, {1024, 256, 256}), random_graph(4, 1, 64, {16}),
        random_graph(5, 33, 70, {17, 5}), extreme_graph(6, 2048, {96, 7}),
        extreme_graph(7, 576, {1536, 1536})}) {
    const auto compiled = accelerator->compile(graph);
    EXPECT_LT(worst_error(*compiled, graph), notices.empty() ? kRounding : kFloatRounding) << graph.name;
  }
  EXPECT_THAT(notices, ::testing::Each(::testing::HasSubstr("multiplying in float")));
}

TEST_P(RealOpenvino, GraphsOfOneShapeKeepTheirOwnWeights) {
  const auto accelerator = make();
  const Int8Graph a = random_graph(1, 64, 128, {96, 32}), b = random_graph(2, 64, 128, {96, 32});
  const auto graph_a = accelerator->compile(a), graph_b = accelerator->compile(b);
  for (int round = 0; round < 3; ++round) {
    EXPECT_LT(worst_error(*graph_a, a), kRounding);
    EXPECT_LT(worst_error(*graph_b, b), kRounding);
  }
}

TEST_P(RealOpenvino, BlobsComeBackAndOnesFromElsewhereDoNot) {
  const testing::TemporaryFolder folder;
  const Int8Graph graph = random_graph(1, 64, 128, {96, 32});
  EXPECT_LT(worst_error(*make(folder.path())->compile(graph), graph), kRounding);
  const auto second = make(folder.path());
  const auto compiled = second->compile(graph);
  EXPECT_EQ(second->cached_graphs(), 1U);
  EXPECT_LT(worst_error(*compiled, graph), kRounding);

  AcceleratorOptions options;  // the blob was made for two threads
  options.threads = 1;
  options.cache_folder = folder.path();
  const auto other = make_openvino_accelerator("CPU", options, GetParam());
  EXPECT_LT(worst_error(*other->compile(graph), graph), kRounding);
  EXPECT_EQ(other->cached_graphs(), 0U);
  const auto third = make(folder.path());
  third->compile(graph);
  EXPECT_EQ(third->cached_graphs(), 1U) << "both are kept";
}

// OpenVINO's libraries do not run under sanitizers (dlopen with RTLD_DEEPBIND; their own threads).
std::vector<WeightPlacement> placements() {
  if (testing::kSanitized || !openvino::list_devices().at(0).available) return {};
  return {WeightPlacement::inputs, WeightPlacement::constants};
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(RealOpenvino);
INSTANTIATE_TEST_SUITE_P(Weights, RealOpenvino, ::testing::ValuesIn(placements()), [](const auto& placement) {
  return placement.param == WeightPlacement::inputs ? "Inputs" : "Constants";
});

}  // namespace
}  // namespace cairn::offload
