#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.hpp"
#include "base/temporary_folder.hpp"
#include "offload/openvino/accelerator.hpp"
#include "offload/openvino/device.hpp"
#include "offload/openvino/library.hpp"
#include "offload/runtime_library.hpp"
#include "openvino_graphs.hpp"

namespace cairn::offload {
namespace {

using openvino::WeightPlacement;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::ScopedVariable;
using testing::TemporaryFolder;

// The error's text; fails the test where there is none or it is of another kind.
template <class Action>
std::string error_of(ErrorCode code, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    EXPECT_THAT(error.what(), Not(HasSubstr("\n")));
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

class FakeOpenvino : public ::testing::Test {
 protected:
  std::unique_ptr<Accelerator> make(const std::string& device, const std::string& cache = "") {
    AcceleratorOptions options;
    options.cache_folder = cache;
    options.notice = [this](const std::string& line) { notices.push_back(line); };
    return make_openvino_accelerator(device, options);
  }
  std::vector<std::string> notices;
  ScopedVariable library_{"CAIRN_OPENVINO", CAIRN_FAKE_OPENVINO};
};

TEST(Openvino, AbsentIsOneLineThatSaysHowToInstallIt) {
  const TemporaryFolder empty;
  const ScopedVariable none("CAIRN_OPENVINO", nullptr), cache("XDG_CACHE_HOME", empty.path().c_str());
  // Where the system has OpenVINO, it may be found: then there is no error to see.
  bool found = true;
  for (const AcceleratorInfo& info : openvino::list_devices()) {
    if (info.name == "openvino:CPU") found = info.available;
    if (!info.available && info.name == "openvino:CPU") {
      EXPECT_THAT(info.detail, HasSubstr("quickstart.sh --openvino"));
    }
  }
  if (!found) {
    EXPECT_THAT(error_of(ErrorCode::not_found, [] { make_openvino_accelerator("CPU", {}); }),
                HasSubstr("quickstart.sh --openvino"));
  }
}

TEST(Openvino, AFolderWithoutItIsNamed) {
  const TemporaryFolder empty;
  const ScopedVariable chosen("CAIRN_OPENVINO", empty.path().c_str());
  const std::string text = error_of(ErrorCode::not_found, [] { make_openvino_accelerator("CPU", {}); });
  EXPECT_THAT(text, HasSubstr(empty.path()));
  const std::vector<AcceleratorInfo> list = openvino::list_devices();
  ASSERT_EQ(list.size(), 3U);
  for (const AcceleratorInfo& info : list) {
    EXPECT_FALSE(info.available);
    EXPECT_EQ(info.detail, text);
  }
}

TEST(Openvino, AFileThatIsNoLibraryIsRefused) {
  const TemporaryFolder folder;
  testing::write_file(folder / "libopenvino_c.so.2641", "not a library");
  const ScopedVariable chosen("CAIRN_OPENVINO", folder.path().c_str());
  EXPECT_THAT(error_of(ErrorCode::not_found, [] { make_openvino_accelerator("CPU", {}); }),
              HasSubstr("libopenvino_c.so.2641"));
}

TEST(Openvino, ItsMessagesBecomeOneLine) {
  EXPECT_EQ(one_line("Exception from a.cpp:1:\nException from b.cpp:2:\nNo backend\n  here\n\n"),
            "No backend here");
  EXPECT_EQ(one_line("\n"), "no reason given");
  EXPECT_LT(one_line(std::string(5000, 'x')).size(), 500U);
}

TEST_F(FakeOpenvino, IsFoundInAFolderLikeTheWheels) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "openvino/libs");
  std::filesystem::create_symlink(CAIRN_FAKE_OPENVINO, folder / "openvino/libs/libopenvino_c.so.2641");
  const ScopedVariable chosen("CAIRN_OPENVINO", folder.path().c_str());
  EXPECT_EQ(make("CPU")->traits().name, "openvino:CPU");
}

TEST_F(FakeOpenvino, IsFoundInCairnsOwnFolder) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "cairn/openvino/openvino/libs");
  std::filesystem::create_symlink(CAIRN_FAKE_OPENVINO,
                                  folder / "cairn/openvino/openvino/libs/libopenvino_c.so.2641");
  const ScopedVariable none("CAIRN_OPENVINO", nullptr), cache("XDG_CACHE_HOME", folder.path().c_str());
  EXPECT_EQ(make("CPU")->traits().name, "openvino:CPU");
}

TEST_F(FakeOpenvino, AnotherVersionIsRefused) {
  const TemporaryFolder folder;  // a path not opened before: a library is checked once
  std::filesystem::create_symlink(CAIRN_FAKE_OPENVINO, folder / "libopenvino_c.so");
  const ScopedVariable chosen("CAIRN_OPENVINO", folder.path().c_str());
  const ScopedVariable version("FAKE_OPENVINO_VERSION", "2024.6.0-17404");
  const std::string text = error_of(ErrorCode::unsupported, [&] { make("CPU"); });
  EXPECT_THAT(text, HasSubstr("2024.6.0-17404"));
  EXPECT_THAT(text, HasSubstr("2025.1 or newer"));
}

TEST_F(FakeOpenvino, AnotherAbiIsRefused) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink(CAIRN_FAKE_OPENVINO, folder / "libopenvino_c.so");
  const ScopedVariable chosen("CAIRN_OPENVINO", folder.path().c_str());
  const ScopedVariable types("FAKE_OPENVINO_TYPES", "1");
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { make("CPU"); }), HasSubstr("element types"));
}

TEST_F(FakeOpenvino, DevicesAreListedWithTheReasonOfThoseMissing) {
  const std::vector<AcceleratorInfo> list = openvino::list_devices();
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0].name, "openvino:CPU");
  EXPECT_TRUE(list[0].available);
  EXPECT_EQ(list[1].name, "openvino:NPU");
  EXPECT_THAT(list[1].detail, HasSubstr("driver 7"));
  EXPECT_EQ(list[2].name, "openvino:GPU");
  EXPECT_FALSE(list[2].available);
  EXPECT_EQ(list[2].detail, "libOpenCL.so.1: cannot open shared object file");
  EXPECT_THAT(error_of(ErrorCode::not_found, [&] { make("GPU"); }), HasSubstr("libOpenCL"));
  EXPECT_THAT(error_of(ErrorCode::invalid_argument, [&] { make("TPU"); }), HasSubstr("CPU, GPU, NPU"));
}

TEST_F(FakeOpenvino, ALibraryThatDoesNotStartIsListedSo) {
  const ScopedVariable fails("FAKE_OPENVINO_FAIL", "start");
  for (const AcceleratorInfo& info : openvino::list_devices())
    EXPECT_THAT(info.detail, HasSubstr("no plug-ins"));
  error_of(ErrorCode::io, [&] { make("CPU"); });
}

TEST_F(FakeOpenvino, ProductsEqualBruteForce) {
  for (const std::string device : {"CPU", "NPU"}) {
    const auto accelerator = make(device);
    EXPECT_EQ(accelerator->traits().layout, ActivationLayout::rows);
    uint64_t bytes = 0;
    for (const Int8Graph& graph : {random_graph(1, 5, 24, {8, 3}), random_graph(2, 5, 24, {8, 3}),
                                   random_graph(3, 7, 64, {16}), extreme_graph(4, 33, {9, 2, 2})}) {
      EXPECT_LT(worst_error(*accelerator->compile(graph), graph), 1e-6) << device << " " << graph.name;
      for (const Int8Linear& linear : graph.linears)
        bytes += uint64_t{linear.rows} * linear.k + 4 * linear.rows;
    }
    EXPECT_GE(accelerator->weight_bytes(), bytes);
    EXPECT_GT(accelerator->compile_seconds(), 0);
    EXPECT_EQ(accelerator->cached_graphs(), 0U);
  }
  EXPECT_THAT(notices, IsEmpty());
}

TEST_F(FakeOpenvino, OneCopyOfWeightsServesEveryChunkLength) {
  const auto accelerator = make("CPU");
  const auto a = accelerator->compile(random_graph(1, 5, 24, {8, 3}));
  const uint64_t bytes = accelerator->weight_bytes();
  const Int8Graph longer = random_graph(1, 50, 24, {8, 3});
  EXPECT_LT(worst_error(*accelerator->compile(longer), longer), 1e-6);
  EXPECT_EQ(accelerator->weight_bytes(), bytes);
}

TEST_F(FakeOpenvino, InexactInt8BecomesFloatOnTheCpuAndAnErrorElsewhere) {
  const ScopedVariable halves("FAKE_OPENVINO_HALVES", "1");
  const Int8Graph graph = random_graph(1, 5, 24, {8, 3});
  const auto accelerator = make("CPU");
  EXPECT_LT(worst_error(*accelerator->compile(graph), graph), 1e-6);
  ASSERT_EQ(notices.size(), 1U);
  EXPECT_THAT(notices[0], HasSubstr("multiplying in float"));
  accelerator->compile(random_graph(2, 9, 24, {8, 3}));
  EXPECT_EQ(notices.size(), 1U) << "said once";
  const auto npu = make("NPU");
  EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { npu->compile(graph); }),
              HasSubstr("products are off by"));
}

TEST_F(FakeOpenvino, FailuresNameDeviceAndGraphWithItsReason) {
  const Int8Graph graph = random_graph(1, 5, 24, {8, 3});
  const auto accelerator = make("NPU");
  {
    const ScopedVariable fails("FAKE_OPENVINO_FAIL", "compile");
    EXPECT_EQ(error_of(ErrorCode::unsupported, [&] { accelerator->compile(graph); }),
              "openvino:NPU refuses graph blk.1.test of 5 tokens: Check 'tokens' failed: no such shape here");
  }
  {
    const ScopedVariable fails("FAKE_OPENVINO_FAIL", "memory");
    EXPECT_THAT(error_of(ErrorCode::out_of_memory, [&] { accelerator->compile(graph); }),
                HasSubstr("bad_alloc"));
  }
  const auto compiled = accelerator->compile(graph);
  {
    const ScopedVariable fails("FAKE_OPENVINO_FAIL", "infer");
    EXPECT_EQ(error_of(ErrorCode::io, [&] { worst_error(*compiled, graph); }),
              "openvino:NPU, graph blk.1.test: failed: device lost");
  }
  EXPECT_LT(worst_error(*compiled, graph), 1e-6) << "works again";
}

TEST_F(FakeOpenvino, GraphsThatContradictThemselvesAreRefused) {
  const auto accelerator = make("CPU");
  Int8Graph graph = random_graph(1, 5, 24, {8, 3});
  graph.linears[1].k = 25;
  error_of(ErrorCode::invalid_argument, [&] { accelerator->compile(graph); });
  graph = random_graph(1, 0, 24, {8});
  error_of(ErrorCode::invalid_argument, [&] { accelerator->compile(graph); });
  graph = random_graph(1, 5, 24, {8});
  graph.linears[0].rows = 200'000'000;
  error_of(ErrorCode::invalid_argument, [&] { accelerator->compile(graph); });
  graph.linears.clear();
  error_of(ErrorCode::invalid_argument, [&] { accelerator->compile(graph); });
}

}  // namespace
}  // namespace cairn::offload
