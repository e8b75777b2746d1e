// Mixtures of experts: how a router chooses, and that nothing but the chosen experts is read.
#include "backends/cpu/experts.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "backends/cpu/expert_pages.hpp"
#include "base/expect_error.hpp"
#include "base/memory_pressure.hpp"
#include "base/temporary_folder.hpp"
#include "engine/one_sequence.hpp"
#include "formats/gguf_writer.hpp"
#include "graph/golden_models.hpp"
#include "graph/model_file.hpp"
#include "graph/reference_interpreter.hpp"
#include "kernels/kernels.hpp"

namespace cairn::cpu {
namespace {

using engine::Logits;
using engine::OneSequence;
using testing::expect_error;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr const char* kModel = "qwen3moe";  // eight experts, three for each token

BoundOp routing(uint32_t experts, uint32_t used, bool normalise, float factor = 1) {
  BoundOp bound;
  graph::Op& op =
      bound.op = {.kind = graph::OpKind::route, .input = graph::Slot::router, .output = graph::Slot::router};
  op.experts = experts, op.used = used, op.normalise = normalise, op.factor = factor;
  return bound;
}

// Groups of two, the choice biased, weights times a factor each: by brute force.
TEST(Route, ChoosesFromTheBestGroups) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  for (int round = 0; round < 300; ++round) {
    constexpr uint32_t kExperts = 12, kGroups = 4, kSize = kExperts / kGroups, kBest = 2, kUsed = 4;
    const bool sigmoid = round % 2 == 0, biased = round % 3 != 0, normalise = round % 5 != 0;
    BoundOp bound = routing(kExperts, kUsed, normalise, 2.0F);
    bound.op.groups = kGroups, bound.op.groups_used = kBest;
    if (sigmoid) bound.op.activation = graph::Activation::sigmoid;
    std::vector<float> scores(kExperts), bias(kExperts), factors(kExperts);
    for (float& x : scores) x = normal(random);
    for (float& x : bias) x = 0.3F * normal(random);
    for (float& x : factors) x = 1 + 0.1F * normal(random);
    if (biased) bound.bias = bias.data();
    bound.weight = &factors;
    std::vector<double> parts, marks;
    double all = 0;
    for (const float x : scores) {
      const auto score = static_cast<double>(x);
      parts.push_back(sigmoid ? 1 / (1 + std::exp(-score)) : std::exp(score));
      all += parts.back();
    }
    for (uint32_t e = 0; e < kExperts; ++e)
      marks.push_back((sigmoid ? parts[e] : parts[e] / all) + (biased ? static_cast<double>(bias[e]) : 0));
    const auto group_mark = [&](uint32_t group) {
      std::vector<double> own(marks.begin() + group * kSize, marks.begin() + (group + 1) * kSize);
      std::sort(own.rbegin(), own.rend());
      return sigmoid ? own[0] + own[1] : own[0];
    };
    const auto better_groups = [&](uint32_t group) {
      uint32_t count = 0;
      for (uint32_t g = 0; g < kGroups; ++g) count += group_mark(g) > group_mark(group) ? 1 : 0;
      return count;
    };
    std::vector<uint32_t> expected;
    for (uint32_t e = 0; e < kExperts; ++e) {
      uint32_t better = 0;
      for (uint32_t f = 0; f < kExperts; ++f)
        better += better_groups(f / kSize) < kBest && marks[f] > marks[e] ? 1 : 0;
      if (better_groups(e / kSize) < kBest && better < kUsed) expected.push_back(e);
    }
    double sum = sigmoid ? 1 : all;
    if (normalise) {
      sum = 0;
      for (const uint32_t e : expected) sum += parts[e];
    }
    std::vector<uint32_t> chosen(kUsed);
    ASSERT_TRUE(route(bound, scores.data(), 1, chosen.data()));
    EXPECT_EQ(chosen, expected) << round;
    for (uint32_t e = 0; e < kExperts; ++e) {
      const bool taken = std::count(expected.begin(), expected.end(), e) == 1;
      EXPECT_NEAR(scores[e], taken ? 2 * parts[e] / sum * static_cast<double>(factors[e]) : 0, 1e-6) << round;
    }
  }
}

TEST(Route, WeighsTheLargestScores) {
  std::mt19937 random(1);
  std::uniform_int_distribution<int> score(-6, 6);  // many are equal
  for (int round = 0; round < 200; ++round) {
    constexpr uint32_t kExperts = 12, kStride = 3;
    const uint32_t used = 1 + static_cast<uint32_t>(round) % kExperts;
    const bool normalise = round % 2 == 0;
    std::vector<float> scores(kExperts * kStride, kNaN);
    for (uint32_t e = 0; e < kExperts; ++e) scores[e * kStride] = 0.75F * static_cast<float>(score(random));
    const std::vector<float> before = scores;
    std::vector<uint32_t> chosen(used);
    ASSERT_TRUE(route(routing(kExperts, used, normalise, 2.5F), scores.data(), kStride, chosen.data()));
    EXPECT_TRUE(std::is_sorted(chosen.begin(), chosen.end()));
    const auto is_chosen = [&](uint32_t e) { return std::count(chosen.begin(), chosen.end(), e) == 1; };
    double sum = 0;
    for (uint32_t e = 0; e < kExperts; ++e) {
      uint32_t better = 0;  // as many beat it
      for (uint32_t f = 0; f < kExperts; ++f) {
        const float x = before[f * kStride], y = before[e * kStride];
        if (x > y || (x == y && f < e)) ++better;
      }
      EXPECT_EQ(is_chosen(e), better < used) << e;
      if (!normalise || better < used) sum += std::exp(static_cast<double>(before[e * kStride]));
    }
    for (uint32_t e = 0; e < kExperts; ++e) {
      const double power = std::exp(static_cast<double>(before[e * kStride]));
      EXPECT_NEAR(scores[e * kStride], is_chosen(e) ? 2.5 * power / sum : 0, 1e-6) << e;
      EXPECT_TRUE(std::isnan(scores[e * kStride + 1]));
    }
  }
}

TEST(Route, RefusesWhatIsNoNumber) {
  for (const float bad :
       {kNaN, std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    std::vector<float> scores = {1, 2, bad, 4};
    std::array<uint32_t, 2> chosen{};
    EXPECT_FALSE(route(routing(4, 2, true), scores.data(), 1, chosen.data()));
    EXPECT_EQ(scores[0], 1);
  }
}

TEST(Route, LargeScoresDoNotOverflow) {
  std::vector<float> scores = {-3e38F, 3e38F, 2.9e38F};
  std::array<uint32_t, 2> chosen{};
  ASSERT_TRUE(route(routing(3, 2, true), scores.data(), 1, chosen.data()));
  EXPECT_EQ(scores, (std::vector<float>{0, 1, 0}));
}

class Experts : public ::testing::Test {
 protected:
  // A copy of the model with other bytes in a tensor.
  std::string changed(
      const std::vector<std::pair<std::string, std::function<void(std::span<char>)>>>& changes) {
    const std::string path = folder_ / ("changed" + std::to_string(++copies_) + ".gguf");
    const std::string source = graph::golden_model_path(kModel);
    std::ifstream in(source, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const gguf::File file(source);
    for (const auto& [name, change] : changes) {
      const std::span<const std::byte> data = file.tensor(name).data;
      const size_t at = bytes.find(std::string_view(reinterpret_cast<const char*>(data.data()), data.size()));
      change(std::span(bytes).subspan(at, data.size()));
    }
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  static std::vector<int32_t> tokens(size_t count) {
    std::vector<int32_t> result(count);
    for (size_t i = 0; i < count; ++i) result[i] = static_cast<int32_t>((5 + i * i * 11) % 128);
    return result;
  }
  // All logits, the first 20 tokens as a chunk, the others one by one.
  static std::vector<float> forward(const std::string& path, engine::Precision precision) {
    OneSequence run(make_engine(gguf::File(path), {.context = 64, .threads = 2, .precision = precision}));
    const std::vector<int32_t> text = tokens(26);
    std::vector<float> logits(text.size() * run.vocabulary());
    run.run(std::span(text).first(20), 0, Logits::all, logits.data());
    for (uint32_t i = 20; i < text.size(); ++i)
      run.run({&text[i], 1}, i, Logits::all, logits.data() + i * run.vocabulary());
    return logits;
  }

  const testing::TemporaryFolder folder_;
  int copies_ = 0;
};

void fill(std::span<char> bytes, char value) {
  std::fill(bytes.begin(), bytes.end(), value);
}

// A router of zeros leaves all scores equal: the first experts are everybody's.
TEST_F(Experts, OfEqualScoresTheFirstAreChosen) {
  const auto zero = [](std::span<char> bytes) { fill(bytes, 0); };
  const std::string path =
      changed({{"blk.0.ffn_gate_inp.weight", zero}, {"blk.1.ffn_gate_inp.weight", zero}});
  const gguf::File file(path);
  const std::vector<double> expected = graph::ReferenceInterpreter(file).run(tokens(26));
  const std::vector<float> found = forward(path, engine::Precision::f32);
  for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(found[i], expected[i], 1e-3) << i;
}

TEST_F(Experts, WhoIsNotChosenIsNotRead) {
  const auto zero = [](std::span<char> bytes) { fill(bytes, 0); };
  std::vector<std::pair<std::string, std::function<void(std::span<char>)>>> changes;
  for (const std::string layer : {"blk.0.", "blk.1."})
    changes.emplace_back(layer + "ffn_gate_inp.weight", zero);
  const std::string clean = changed(changes);
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    for (const char* part : {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"}) {
      changes.emplace_back(layer + part, [](std::span<char> bytes) {
        fill(bytes.subspan(bytes.size() / 8 * 3), '\xff');  // NaN in all but the first three
      });
    }
  }
  const std::string poisoned = changed(changes);
  for (const auto precision : {engine::Precision::f32, engine::Precision::standard}) {
    const std::vector<float> expected = forward(clean, precision);
    EXPECT_TRUE(std::all_of(expected.begin(), expected.end(), [](float x) { return std::isfinite(x); }));
    EXPECT_EQ(forward(poisoned, precision), expected);
  }
}

TEST_F(Experts, ARouterWithoutNumbersIsAnError) {
  const std::string path =
      changed({{"blk.1.ffn_gate_inp.weight", [](std::span<char> bytes) {
                  std::memcpy(bytes.data() + bytes.size() - sizeof kNaN, &kNaN, sizeof kNaN);
                }}});
  OneSequence run(make_engine(gguf::File(path), {.context = 64, .threads = 1}));
  const std::vector<int32_t> text = tokens(20);
  const std::string told =
      path + ": layer 1: the scores of the experts for the token at position 0 are no numbers";
  expect_error(ErrorCode::numeric, told, [&] { run.run(text, 0, Logits::none, nullptr); });
  expect_error(ErrorCode::numeric, told,
               [&] { run.run(std::span(text).first(3), 0, Logits::none, nullptr); });
  EXPECT_EQ(run.length(), 0U);
}

// A mixture whose experts are much larger than a page.
class ExpertBudget : public ::testing::Test {
 protected:
  static constexpr uint32_t kWidth = 256, kExperts = 8;

  ExpertBudget() { write(path_, kExperts, kWidth); }

  // fused: an expert's gate and up are one matrix.
  static void write(const std::string& path, uint32_t experts, uint32_t ffn, bool fused = false) {
    gguf::Writer writer;
    writer.set("general.architecture", std::string("qwen3moe"));
    const auto set = [&](const char* key, auto value) { writer.set("qwen3moe." + std::string(key), value); };
    set("block_count", uint32_t{2});
    set("context_length", uint32_t{128});
    set("embedding_length", kWidth);
    set("feed_forward_length", ffn);
    set("attention.head_count", uint32_t{4});
    set("attention.layer_norm_rms_epsilon", 1e-5F);
    set("expert_count", experts);
    set("expert_used_count", uint32_t{2});
    std::vector<std::vector<uint64_t>> shapes;
    const auto add = [&](const std::string& name, const std::vector<uint64_t>& shape) {
      writer.add_tensor(name + ".weight", Encoding::f32, shape);
      shapes.push_back(shape);
    };
    add("token_embd", {kWidth, 128});
    add("output_norm", {kWidth});
    for (const std::string blk : {"blk.0.", "blk.1."}) {
      for (const char* part : {"attn_norm", "ffn_norm"}) add(blk + part, {kWidth});
      for (const char* part : {"attn_q_norm", "attn_k_norm"}) add(blk + part, {kWidth / 4});
      for (const char* part : {"attn_q", "attn_k", "attn_v", "attn_output"})
        add(blk + part, {kWidth, kWidth});
      add(blk + "ffn_gate_inp", {kWidth, experts});
      if (fused) add(blk + "ffn_gate_up_exps", {kWidth, 2 * ffn, experts});
      for (const char* part : {"ffn_gate_exps", "ffn_up_exps"}) {
        if (!fused) add(blk + part, {kWidth, ffn, experts});
      }
      add(blk + "ffn_down_exps", {ffn, kWidth, experts});
    }
    std::mt19937 random(3);
    std::normal_distribution<float> weight(0, 0.08F);
    writer.write(path, [&](size_t tensor, const gguf::Writer::Sink& sink) {
      const std::vector<uint64_t>& shape = shapes[tensor];
      const bool norm = shape.size() == 1;
      std::vector<float> values(
          std::accumulate(shape.begin(), shape.end(), uint64_t{1}, std::multiplies<>()));
      for (float& v : values) v = norm ? 1 + weight(random) : weight(random);
      sink(std::as_bytes(std::span(values)));
    });
  }

  std::vector<float> forward(uint64_t memory, const std::string& path) const {
    OneSequence run(make_engine(
        gguf::File(path),
        {.context = 64, .threads = 1, .chunk = 32, .precision = engine::Precision::f32, .memory = memory}));
    std::vector<int32_t> text(60);
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<int32_t>((5 + i * i * 11) % 128);
    std::vector<float> logits(text.size() * run.vocabulary());
    run.run(std::span(text).first(20), 0, Logits::all, logits.data());
    for (uint32_t i = 20; i < text.size(); ++i)
      run.run({&text[i], 1}, i, Logits::all, logits.data() + i * run.vocabulary());
    return logits;
  }

  std::vector<float> forward(uint64_t memory) const { return forward(memory, path_); }

  const testing::TemporaryFolder folder_;
  const std::string path_ = folder_ / "mixture.gguf";
};

TEST_F(ExpertBudget, LetsGoOfThoseUsedLongestAgo) {
  const gguf::File file(path_);
  const graph::Model model = graph::load(file);
  const Plan plan(file, model, kernels::default_target(), true);
  const uint64_t each = uint64_t{3} * kWidth * kWidth * sizeof(float), all = 2 * kExperts * each;
  const uint64_t before = resident_memory();
  ExpertPages pages(plan, kExperts, before + all / 2);
  EXPECT_EQ(pages.all_bytes(), all);
  EXPECT_EQ(pages.layer_bytes(), all / 2);
  const auto read = [&](uint32_t layer, uint32_t expert) {
    pages.use(layer, expert);
    uint64_t sum = 0;
    for (const char* part : {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}) {
      const auto data = file.tensor(fmt::format("blk.{}.{}.weight", layer, part)).data;
      const auto own = data.subspan(expert * (each / 3), each / 3);
      for (size_t i = 0; i < own.size(); i += 512) sum += static_cast<uint64_t>(own[i]);
    }
    return sum;
  };
  uint64_t sum = 0;
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (uint32_t expert = 0; expert < kExperts; ++expert) sum += read(layer, expert);
  }
  EXPECT_GT(sum, 0U);
  EXPECT_EQ(pages.bytes(), all);
  read(0, 3);  // the last one used
  constexpr uint64_t kSlack = 1 << 20;
  EXPECT_GT(resident_memory() + kSlack, before + all);
  pages.keep_within();
  EXPECT_LE(resident_memory(), before + all / 2 + kSlack);
  EXPECT_GE(pages.bytes(), all / 2 - each - kSlack);
  const uint64_t kept = pages.bytes();
  pages.use(0, 3);
  pages.use(1, kExperts - 1);
  EXPECT_EQ(pages.bytes(), kept);  // they have stayed
  pages.use(0, 0);
  EXPECT_EQ(pages.bytes(), kept + each);  // it had gone
}

// Experts of a page and a quarter: most pages are two experts'.
TEST_F(ExpertBudget, LetsGoOfSharedPagesToo) {
  constexpr uint32_t kMany = 1024, kNarrow = 5;
  const std::string path = folder_ / "narrow.gguf";
  write(path, kMany, kNarrow);
  const gguf::File file(path);
  const graph::Model model = graph::load(file);
  const Plan plan(file, model, kernels::default_target(), true);
  const uint64_t before = resident_memory();
  ExpertPages pages(plan, kMany, 0);
  uint64_t sum = 0;
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (const char* part : {"ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"}) {
      const auto data = file.tensor(fmt::format("blk.{}.{}.weight", layer, part)).data;
      for (size_t i = 0; i < data.size(); i += 512) sum += static_cast<uint64_t>(data[i]);
    }
    for (uint32_t expert = 0; expert < kMany; ++expert) pages.use(layer, expert);
  }
  EXPECT_GT(sum, 0U);
  EXPECT_GT(resident_memory(), before + pages.all_bytes() * 3 / 4);
  pages.keep_within();
  EXPECT_EQ(pages.bytes(), 0U);
  EXPECT_LE(resident_memory(), before + pages.all_bytes() / 8);
}

TEST_F(ExpertBudget, ChangesNoBits) {
  const std::vector<float> expected = forward(0);
  const uint64_t weights = uint64_t{2} * kExperts * 3 * kWidth * kWidth * sizeof(float);
  EXPECT_EQ(forward(resident_memory() + weights / 2 + (uint64_t{16} << 20)), expected);
}

// Gate and up of an expert in one matrix are let go of together.
TEST_F(ExpertBudget, IsOfFusedExpertsToo) {
  const std::string path = folder_ / "fused.gguf";
  write(path, kExperts, kWidth, true);
  const gguf::File file(path);
  const graph::Model model = graph::load(file);
  const Plan plan(file, model, kernels::default_target(), true);
  const uint64_t before = resident_memory();
  ExpertPages pages(plan, kExperts, 0);
  const uint64_t all = uint64_t{2} * kExperts * 3 * kWidth * kWidth * sizeof(float);
  EXPECT_EQ(pages.all_bytes(), all);
  uint64_t sum = 0;
  for (uint32_t layer = 0; layer < 2; ++layer) {
    for (const char* part : {"ffn_gate_up_exps", "ffn_down_exps"}) {
      const auto data = file.tensor(fmt::format("blk.{}.{}.weight", layer, part)).data;
      for (size_t i = 0; i < data.size(); i += 512) sum += static_cast<uint64_t>(data[i]);
    }
    for (uint32_t expert = 0; expert < kExperts; ++expert) pages.use(layer, expert);
  }
  EXPECT_GT(sum, 0U);
  EXPECT_GT(resident_memory(), before + all * 3 / 4);
  pages.keep_within();
  EXPECT_EQ(pages.bytes(), 0U);
  EXPECT_LE(resident_memory(), before + all / 8);
  EXPECT_EQ(forward(resident_memory() + all / 2 + (uint64_t{16} << 20), path), forward(0, path));
}

TEST_F(ExpertBudget, ThatHasNoRoomForALayerIsRefused) {
  expect_error(ErrorCode::out_of_memory,
               path_ + ": a budget of 1.0 MiB is too small: with one layer's experts (6.0 MiB)",
               [&] { forward(uint64_t{1} << 20); });
}

// Granite 4's dense files, and others, name a count of 0.
TEST_F(ExpertBudget, IsNotOfFilesWithoutExperts) {
  graph::ModelFile dense;
  for (const char* key : {"llama.expert_count", "llama.expert_used_count"}) dense.metadata[key] = uint32_t{0};
  std::string warning;
  engine::Options options{.context = 64, .threads = 1, .memory = uint64_t{1} << 20};
  options.warn = [&](const std::string& told) { warning = told; };
  OneSequence run(make_engine(dense.open(), options));
  const std::vector<int32_t> text = {1, 2, 3};
  run.run(text, 0, Logits::none, nullptr);
  EXPECT_NE(warning.find("--memory changes nothing"), std::string::npos) << warning;
}

}  // namespace
}  // namespace cairn::cpu
