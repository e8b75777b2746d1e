// What there is of onnx: devices without ONNX Runtime: finding it, bundles, graphs in files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"
#include "offload/compile_model.hpp"
#include "offload/onnx/accelerator.hpp"
#include "offload/onnx/bundle.hpp"
#include "offload/onnx/chips.hpp"
#include "offload/onnx/device.hpp"
#include "offload/registry.hpp"
#include "openvino_graphs.hpp"

namespace cairn::offload::onnx {
namespace {

using cairn::testing::error_of;
using cairn::testing::expect_error;
using cairn::testing::ScopedVariable;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;
using ::testing::HasSubstr;

TEST(Onnx, AbsentIsOneLineThatSaysHowToInstallIt) {
  const TemporaryFolder empty;
  const ScopedVariable none("CAIRN_ONNXRUNTIME", nullptr), cache("XDG_CACHE_HOME", empty.path().c_str());
  bool found = false;  // a system that has it may find it
  for (const AcceleratorInfo& info : list_devices()) found = found || info.available;
  if (found) return;
  for (const char* name : {"qnn", "onnx:CPU", "qnn:snapdragon-8gen2"})
    expect_error(ErrorCode::not_found, "quickstart.sh --npu", [&] { offload::make_accelerator(name, {}); });
  EXPECT_THAT(list_devices().front().detail, HasSubstr("quickstart.sh --npu"));
}

TEST(Onnx, AFolderWithoutItIsNamed) {
  const TemporaryFolder empty;
  const ScopedVariable chosen("CAIRN_ONNXRUNTIME", empty.path().c_str());
  expect_error(ErrorCode::not_found, empty.path(), [] { open_device("CPU", 1); });
}

TEST(Onnx, AnOldOneIsRefusedByItsVersion) {
  const ScopedVariable chosen("CAIRN_ONNXRUNTIME", CAIRN_FAKE_ONNXRUNTIME),
      old("CAIRN_FAKE_ONNXRUNTIME", "old");
  expect_error(ErrorCode::unsupported, "is ONNX Runtime 1.15.1; cairn needs 1.22 or newer",
               [] { open_device("CPU", 1); });
}

TEST(Onnx, AnotherLibraryIsRefused) {
  const ScopedVariable chosen("CAIRN_ONNXRUNTIME", CAIRN_FAKE_OPENVINO);
  expect_error(ErrorCode::unsupported, "not a library of ONNX Runtime", [] { open_device("CPU", 1); });
}

TEST(Onnx, AnUnknownChipIsToldTheList) {
  for (const char* name : {"qnn:pixel-9", "onnx:QNN:pixel-9"}) {
    const Error error = error_of([&] { accelerator_traits(name); });
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    for (const Chip& chip : chips()) EXPECT_THAT(error.what(), HasSubstr(std::string(chip.name)));
  }
  expect_error(ErrorCode::invalid_argument, "onnx:CPU", [] { accelerator_traits("onnx"); });
  EXPECT_EQ(accelerator_traits("qnn:qcs6490").name, "qnn:qcs6490");
}

// Against the definition, in double.
TEST(Onnx, RangesAreThreeNormsOrTheLargestSumPossible) {
  const std::vector<int8_t> values = {127, -127, 3, 0, -50, 1, 1, -1, 90, 17};
  for (const uint32_t k : {8u, 10u}) {
    double squares = 0;
    for (uint32_t c = 0; c < k; ++c) squares += static_cast<double>(values[c]) * values[c];
    const double reach = k == 8 ? std::sqrt(8.0) : 3;
    EXPECT_NEAR(sum_range(values.data(), k), reach * 127 * std::sqrt(squares), 0.01);
  }
  const std::vector<int8_t> zeros(8);
  EXPECT_GT(sum_range(zeros.data(), 8), 0) << "it is divided by";
}

TEST(Onnx, ModelsHaveTheirFormsFactors) {
  const Int8Graph graph = random_graph(3, 8, 64, {16, 5});
  for (const Form form : {Form::integers, Form::steps, Form::floats}) {
    const WrittenModel written = write_model(graph, form, WeightBits::eight);
    ASSERT_EQ(written.outputs.size(), 2U);
    ASSERT_EQ(written.outputs[1].factors.size(), 5U);
    std::vector<int8_t> row(64);
    float scale = 0;
    graph.linears[1].fill(4, 1, row.data(), &scale);
    const float factor = written.outputs[1].factors[4];
    if (form == Form::integers) {
      EXPECT_EQ(factor, scale);
    }
    if (form == Form::floats) {
      EXPECT_EQ(factor, 1.0f);
    }
    if (form == Form::steps) {
      EXPECT_NEAR(factor, scale * sum_range(row.data(), 64) / 32767, 1e-9);
    }
  }
  const size_t eight = write_model(graph, Form::steps, WeightBits::eight).bytes.size();
  EXPECT_LT(write_model(graph, Form::steps, WeightBits::four).bytes.size(), eight - 64 * 21 / 2 + 64);
}

// LLaMA-2-7B: 32 layers of four matrices of 4,096² and three of 11,008 · 4,096.
TEST(Onnx, WhatNoContextHoldsIsToldWithItsSize) {
  constexpr uint64_t kWeights = 32 * (4 * 4096 * 4096 + uint64_t{3} * 11008 * 4096);
  const Error error = error_of([&] { check_context("llama.gguf", kWeights, 8, true); });
  EXPECT_EQ(error.code(), ErrorCode::unsupported);
  EXPECT_THAT(error.what(), ::testing::AllOf(HasSubstr("llama.gguf"), HasSubstr("6.03 GiB"),
                                             HasSubstr("--separate"), HasSubstr("--bits 4")));
  check_context("llama.gguf", kWeights, 4, true);
  check_context("qwen.gguf", 1'310'000'000, 16, false);
  const Error larger = error_of([&] { check_context("70b.gguf", 10 * kWeights, 8, true); });
  EXPECT_THAT(larger.what(), ::testing::Not(HasSubstr("--bits 4")));
}

class KeptGraphs : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  const std::string path_ = folder_ / "a.graph";
  const Int8Graph graph_ = random_graph(1, 32, 64, {16, 8});
  const std::vector<OutputScale> scales_ = {{std::vector<float>(16, 0.5f)}, {std::vector<float>(8, 0.25f)}};
  const std::string identity_ = graph_identity(graph_, "library 1\n", WeightBits::eight);
};

TEST_F(KeptGraphs, ComeBackAsTheyWere) {
  const std::string model = "a compiled context";
  write_kept(path_, identity_, scales_, std::as_bytes(std::span(model)));
  std::string why;
  const auto kept = read_kept(path_, identity_, graph_, &why);
  ASSERT_TRUE(kept) << why;
  EXPECT_EQ(kept->scales[0].factors, scales_[0].factors);
  EXPECT_EQ(kept->scales[1].factors, scales_[1].factors);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(kept->model.data()), kept->model.size()), model);
}

TEST_F(KeptGraphs, AreOfOneModelShapeLibraryAndWidth) {
  write_kept(path_, identity_, scales_, {});
  Int8Graph other_key = graph_, other_tokens = graph_, other_rows = graph_;
  other_key.key = 2;
  other_tokens.tokens = 64;
  other_rows.linears[1].rows = 9;
  std::string why;
  for (const Int8Graph* other : {&other_key, &other_tokens, &other_rows}) {
    EXPECT_FALSE(read_kept(path_, graph_identity(*other, "library 1\n", WeightBits::eight), *other, &why));
    EXPECT_THAT(why, HasSubstr(path_));
  }
  EXPECT_FALSE(read_kept(path_, graph_identity(graph_, "library 2\n", WeightBits::eight), graph_, &why));
  EXPECT_FALSE(read_kept(path_, graph_identity(graph_, "library 1\n", WeightBits::four), graph_, &why));
}

TEST_F(KeptGraphs, ThatLackFactorsAreRefused) {
  write_kept(path_, identity_, {scales_[0]}, {});
  std::string why;
  EXPECT_FALSE(read_kept(path_, identity_, graph_, &why));
  EXPECT_THAT(why, HasSubstr("not a compiled graph"));
}

class Bundles : public ::testing::Test {
 protected:
  Bundles() {
    write_file(folder_ / "0001.graph", "graph");
    bundle_.folder = folder_.path();
    bundle_.model = "m.gguf";
    bundle_.chip = "snapdragon-8gen3";
    bundle_.fingerprint = "library\n";
    bundle_.graphs = {{"blk.0.qkv", 0xfedcba9876543210, 256, "0001.graph", 5, 100, 20}};
  }
  void replace(const std::string& from, const std::string& to) {
    const std::string path = folder_ / "manifest.json";
    std::string text = cairn::testing::read_file(path);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    write_file(path, text.replace(at, from.size(), to));
  }
  TemporaryFolder folder_;
  Bundle bundle_;
};

TEST_F(Bundles, ComeBackAsTheyWere) {
  bundle_.write();
  const Bundle read = Bundle::read(folder_.path());
  EXPECT_EQ(read.model, bundle_.model);
  EXPECT_EQ(read.chip, bundle_.chip);
  EXPECT_EQ(read.fingerprint, bundle_.fingerprint);
  EXPECT_EQ(read.bytes(), 5U);
  EXPECT_THAT(read.chunk_lengths(), ::testing::ElementsAre(256));
  EXPECT_EQ(read.chunk(256).graphs, 1U);
  EXPECT_EQ(read.chunk(256).in, 100U);
  EXPECT_EQ(read.chunk(256).out, 20U);
  EXPECT_EQ(read.chunk(64).graphs, 0U);
  ASSERT_NE(read.find(0xfedcba9876543210, 256), nullptr);
  EXPECT_EQ(read.find(0xfedcba9876543210, 64), nullptr);
  EXPECT_EQ(read.find(1, 256), nullptr);
}

TEST_F(Bundles, WithoutAManifestAreNone) {
  expect_error(ErrorCode::not_found, folder_.path(), [&] { Bundle::read(folder_.path()); });
}

TEST_F(Bundles, DamagedManifestsAreNamed) {
  const std::vector<std::pair<std::string, std::string>> damages = {
      {"{", "["},
      {"\"graphs\"", "\"grafs\""},
      {"\"key\": \"fe", "\"key\": \"zz"},
      {"\"0001.graph\"", "\"../../etc/passwd\""},
      {"\"tokens\": 256", "\"tokens\": \"many\""},
  };
  for (const auto& [from, to] : damages) {
    bundle_.write();
    replace(from, to);
    expect_error(ErrorCode::format, folder_ / "manifest.json", [&] { Bundle::read(folder_.path()); });
  }
  bundle_.write();
  replace("\"cairn_bundle\": 2", "\"cairn_bundle\": 1");
  expect_error(ErrorCode::unsupported, "of version 1", [&] { Bundle::read(folder_.path()); });
}

TEST_F(Bundles, FilesThatAreCutOrGoneAreNamed) {
  bundle_.write();
  write_file(folder_ / "0001.graph", "grap");
  expect_error(ErrorCode::format, "0001.graph has 4 bytes where 5", [&] { Bundle::read(folder_.path()); });
  std::filesystem::remove(folder_ / "0001.graph");
  expect_error(ErrorCode::format, "0001.graph", [&] { Bundle::read(folder_.path()); });
}

TEST_F(Bundles, AChangedContextIsSeen) {
  bundle_.context = "c.bin";
  bundle_.context_bytes = 4;
  bundle_.context_sum = 1;  // no sum of these bytes
  write_file(folder_ / "c.bin", "abcd");
  bundle_.write();
  expect_error(ErrorCode::format, "c.bin was changed", [&] { Bundle::read(folder_.path()); });
}

}  // namespace
}  // namespace cairn::offload::onnx
