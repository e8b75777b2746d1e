// Real runs on tiny models: what an accelerator computes, in whatever order, is what the CPU computes.
#include "offload/engine.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/error.hpp"
#include "base/expect_error.hpp"
#include "engine/one_sequence.hpp"
#include "graph/golden_models.hpp"
#include "offload/book_device.hpp"

namespace cairn::offload {
namespace {

using quantize::Outliers;
using quantize::ScaleKind;
using quantize::Scheme;
using quantize::Treatment;

Scheme scheme_of(const gguf::File& file, const Treatment& treatment) {
  Scheme scheme;
  scheme.layers.resize(graph::read_hyper_parameters(file).layers);
  for (auto& layer : scheme.layers) layer.fill(treatment);
  return scheme;
}

PrefillOptions options_of(uint32_t chunk = 32) {
  PrefillOptions options;
  options.engine = {.context = 64, .threads = 2, .chunk = chunk};
  options.everything = true;
  return options;
}

// An engine with the sequence that all of a test's runs are of.
class OneRun {
 public:
  explicit OneRun(std::unique_ptr<PrefillEngine> made) : engine(made.get()), one_(std::move(made)) {}
  void operator()(std::span<const int32_t> tokens, uint32_t position, engine::Logits wanted, float* logits,
                  const engine::Cancelled& cancelled = {}) {
    one_.run(tokens, position, wanted, logits, cancelled);
  }
  uint32_t length() const { return one_.length(); }
  PrefillEngine* operator->() const { return engine; }
  PrefillEngine* const engine;

 private:
  engine::OneSequence one_;
};

std::vector<float> run(OneRun& one, std::span<const int32_t> tokens, uint32_t position = 0,
                       const engine::Cancelled& cancelled = {}) {
  std::vector<float> logits(tokens.size() * one->model().parameters.vocabulary);
  one(tokens, position, engine::Logits::all, logits.data(), cancelled);
  return logits;
}

double relative_error(std::span<const float> expected, std::span<const float> actual) {
  double error = 0, power = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double e = static_cast<double>(expected[i]), d = static_cast<double>(actual[i]) - e;
    error += d * d, power += e * e;
  }
  return std::sqrt(error / power);
}

class RealRun : public ::testing::TestWithParam<const char*> {
 protected:
  std::vector<float> in_float() const {
    engine::OneSequence one(cpu::make_engine(
        file_, {.context = 64, .threads = 1, .chunk = 64, .precision = engine::Precision::f32}));
    std::vector<float> logits(golden_.tokens.size() * golden_.vocabulary);
    one.run(golden_.tokens, 0, engine::Logits::all, logits.data());
    return logits;
  }
  double error(const Treatment& treatment, uint32_t float_tokens = 0) const {
    Scheme scheme = scheme_of(file_, treatment);
    scheme.float_tokens = float_tokens;
    OneRun runner(make_prefill_engine(file_, scheme, options_of()));
    return relative_error(in_float(), run(runner, golden_.tokens));
  }

  gguf::File file_{graph::golden_model_path(GetParam())};
  graph::Golden golden_{GetParam()};
};

TEST_P(RealRun, FloatProductsAreTheFloatModel) {
  // Keys and values round to f16, the head's weights to 8 bits: ±127 steps for a largest of about 2.1 times
  // the root mean square in 32 random numbers, 2.1 / 127 / √12 = 4.8e-3.
  EXPECT_LT(error({.float_product = true}), 8e-3);
}

TEST_P(RealRun, ScalesATokenComeClose) {
  EXPECT_LT(error({}), 0.08);
  EXPECT_LT(error({.rotate = true}), 0.08);
  EXPECT_LT(error({.rotate = true}, 3), 0.08);
}

TEST_P(RealRun, ShadowExecutionMakesGoodWhatClampingLoses) {
  // A scale so small that half of all activations are outliers.
  const Treatment clamp{.scale_kind = ScaleKind::fixed, .scale = 0.004f};
  Treatment shadow = clamp;
  shadow.outliers = Outliers::shadow;
  EXPECT_GT(error(clamp), 0.1);
  EXPECT_LT(error(shadow), 0.02);
  shadow.hot = {0, 1, 5};
  EXPECT_LT(error(shadow), 0.02);
  shadow.rotate = true;
  EXPECT_LT(error(shadow), 0.02);
}

TEST_P(RealRun, MixedDecompositionComesClose) {
  const Treatment mixed{.outliers = Outliers::mixed, .threshold = 0.5f};
  EXPECT_LT(error(mixed), 0.05);
}

TEST_P(RealRun, DivisorsCancelOut) {
  Treatment smooth{};
  const auto p = graph::read_hyper_parameters(file_);
  Scheme scheme = scheme_of(file_, smooth);
  for (auto& layer : scheme.layers) {
    const uint32_t widths[] = {p.embedding, p.heads * p.head_size, p.embedding, p.ffn};
    for (size_t i = 0; i < quantize::kInputs; ++i) {
      layer[i].divisors.resize(widths[i]);
      for (uint32_t k = 0; k < widths[i]; ++k) layer[i].divisors[k] = 0.5f + static_cast<float>(k % 7) / 4;
    }
  }
  OneRun runner(make_prefill_engine(file_, scheme, options_of()));
  EXPECT_LT(relative_error(in_float(), run(runner, golden_.tokens)), 0.15);
}

TEST_P(RealRun, EveryOrderGivesTheSameBits) {
  Treatment shadow{.scale_kind = ScaleKind::fixed, .scale = 0.01f, .outliers = Outliers::shadow};
  const Scheme scheme = scheme_of(file_, shadow);
  std::vector<float> first;
  for (const Policy policy : {Policy::in_order, Policy::overlap, Policy::out_of_order, Policy::look_ahead}) {
    for (const bool concurrent : {false, true}) {
      PrefillOptions options = options_of(16);
      options.policy = policy;
      options.concurrent = concurrent;
      OneRun runner(make_prefill_engine(file_, scheme, options));
      const std::vector<float> logits = run(runner, golden_.tokens);
      if (first.empty()) first = logits;
      EXPECT_EQ(first, logits) << name(policy) << (concurrent ? ", concurrent" : "");
      EXPECT_EQ(runner->timeline().events.size() % runner->model().layers.size(), 0u);
    }
  }
}

TEST_P(RealRun, ADeviceOfRowsGivesTheSameAnswer) {
  const Scheme scheme = scheme_of(file_, {.rotate = true});
  OneRun cpu(make_prefill_engine(file_, scheme, options_of()));
  PrefillOptions options = options_of();
  options.device = book_device(1 << 20);
  OneRun book(make_prefill_engine(file_, scheme, options));
  EXPECT_LT(relative_error(run(cpu, golden_.tokens), run(book, golden_.tokens)), 1e-5);
  EXPECT_FALSE(book->statistics().fell_back);
}

TEST_P(RealRun, AFailingDeviceFallsBackOnce) {
  const Scheme scheme = scheme_of(file_, {.rotate = true});
  OneRun cpu(make_prefill_engine(file_, scheme, options_of(16)));
  PrefillOptions options = options_of(16);
  std::vector<std::string> warnings;
  options.warn = [&](const std::string& line) { warnings.push_back(line); };
  options.device = book_device(5);
  OneRun book(make_prefill_engine(file_, scheme, options));
  EXPECT_LT(relative_error(run(cpu, golden_.tokens), run(book, golden_.tokens)), 1e-5);
  EXPECT_LT(relative_error(run(cpu, golden_.tokens), run(book, golden_.tokens)), 1e-5);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], ::testing::AllOf(::testing::HasSubstr("device book"),
                                            ::testing::HasSubstr("unplugged"), ::testing::HasSubstr("CPU")));
  EXPECT_TRUE(book->statistics().fell_back);
}

INSTANTIATE_TEST_SUITE_P(Models, RealRun,
                         ::testing::Values("llama", "gemma3", "phi2", "qwen2", "qwen3", "phi3", "phi3_long",
                                           "mistral3", "smollm3", "olmo2", "glm4", "exaone4_window",
                                           "granite"),
                         [](const auto& which) { return std::string(which.param); });

class PrefillRun : public ::testing::Test {
 protected:
  OneRun runner(const PrefillOptions& options = options_of(16)) const {
    return OneRun(make_prefill_engine(file_, scheme_of(file_, {.rotate = true}), options));
  }
  gguf::File file_{graph::golden_model_path("llama")};
  graph::Golden golden_{"llama"};
};

TEST_F(PrefillRun, AnyLengthGivesTheLogitsOfTheWhole) {
  OneRun whole = runner();
  const std::vector<float> expected = run(whole, golden_.tokens);
  for (const size_t length : {1u, 2u, 15u, 16u, 17u, 31u, 32u}) {
    const auto tokens = std::span(golden_.tokens).first(length);
    OneRun r = runner();
    const std::vector<float> logits = run(r, tokens);
    // Another cut rounds other keys together, and int8 makes steps of what differs.
    EXPECT_LT(relative_error(std::span(expected).first(logits.size()), logits), 0.03) << length;
    // The last row alone goes through the head of decode.
    std::vector<float> last(golden_.vocabulary);
    r(tokens, 0, engine::Logits::last, last.data());
    EXPECT_LT(relative_error(std::span(logits).last(last.size()), last), 0.02) << length;
  }
}

TEST_F(PrefillRun, DecodeGoesOnFromTheSameCache) {
  PrefillOptions options = options_of(16);
  options.everything = false;
  OneRun r = runner(options);
  OneRun one = runner();
  const auto all = run(one, golden_.tokens);
  std::vector<float> logits(golden_.vocabulary);
  r(std::span(golden_.tokens).first(20), 0, engine::Logits::last, logits.data());
  for (uint32_t i = 20; i < 24; ++i)
    r(std::span(golden_.tokens).subspan(i, 1), i, engine::Logits::last, logits.data());
  EXPECT_EQ(r.length(), 24u);
  EXPECT_LT(relative_error(std::span(all).subspan(23 * golden_.vocabulary, golden_.vocabulary), logits), 0.1);
}

// What `--keep-prefix` does: a block of one sequence, behind another; told apart by what computed it.
TEST_F(PrefillRun, BlocksGoOnInAnotherSequence) {
  PrefillOptions options = options_of();
  options.engine.context = 192;
  OneRun r = runner(options);
  std::vector<int32_t> tokens;
  while (tokens.size() < 150) tokens.insert(tokens.end(), golden_.tokens.begin(), golden_.tokens.end());
  tokens.resize(150);
  const size_t vocabulary = golden_.vocabulary;
  const std::vector<float> whole = run(r, tokens);

  const engine::Blocks blocks = r->blocks();
  ASSERT_GT(blocks.positions, 0u);
  ASSERT_LE(2 * blocks.positions, tokens.size());
  const auto first = r->make_sequence(), second = r->make_sequence();
  r->step({first.get(), tokens});
  std::vector<std::byte> block(blocks.bytes);
  for (const uint32_t index : {0u, 1u}) {
    ASSERT_TRUE(first->read_block(index, block));
    r->append_block(*second, block);
  }
  const size_t begin = 2 * blocks.positions;
  std::vector<float> rest((tokens.size() - begin) * vocabulary);
  r->step({second.get(), std::span(tokens).subspan(begin), engine::Logits::all, rest.data()});
  EXPECT_LT(relative_error(std::span(whole).subspan(begin * vocabulary), rest), 1e-6);

  OneRun other(make_prefill_engine(file_, scheme_of(file_, {.rotate = false}), options));
  EXPECT_NE(other->blocks().format, blocks.format);
  EXPECT_NE(cpu::make_engine(file_, options.engine)->blocks().format, blocks.format);
}

// The activation's time is in that of gate and up, on the phone's NPU, wherever the answer's was computed.
TEST_F(PrefillRun, SimulatedTimelinesHaveTheActivationOnce) {
  PrefillOptions options = options_of(16);
  options.device = "simulated:snapdragon-8gen3";
  const Scheme scheme =
      scheme_of(file_, {.scale_kind = ScaleKind::fixed, .scale = 0.004f, .outliers = Outliers::shadow});
  OneRun r(make_prefill_engine(file_, scheme, options));
  run(r, golden_.tokens);
  size_t downs = 0, gates = 0;
  for (const Event& event : r->timeline().events) {
    EXPECT_NE(event.kind, TaskKind::ffn_middle);
    downs += event.kind == TaskKind::ffn_down ? 1 : 0;
    gates += event.kind == TaskKind::ffn ? 1 : 0;
  }
  EXPECT_GT(downs, 0u) << "the feed-forward part is cut";
  EXPECT_EQ(downs, gates);
}

TEST_F(PrefillRun, RefusesWhatDoesNotFit) {
  OneRun r = runner();
  std::vector<float> logits(golden_.vocabulary);
  const std::vector<int32_t> many(65, 1);
  testing::expect_error(ErrorCode::invalid_argument, "64",
                        [&] { r(many, 0, engine::Logits::last, logits.data()); });
  Scheme other = scheme_of(file_, {});
  other.layers.emplace_back();
  testing::expect_error(ErrorCode::invalid_argument, "layers", [&] { r->set_scheme(other); });
  Scheme wrong = scheme_of(file_, {.scale_kind = ScaleKind::fixed});
  testing::expect_error(ErrorCode::invalid_argument, "positive", [&] { r->set_scheme(wrong); });
  wrong = scheme_of(file_, {});
  wrong.layers[0][1].divisors = {1.0f};
  testing::expect_error(ErrorCode::invalid_argument, "divisors", [&] { r->set_scheme(wrong); });
}

TEST_F(PrefillRun, ADeviceThatRefusesTheChunkSaysSo) {
  PrefillOptions options = options_of();
  options.engine.context = 256;
  options.engine.chunk = 128;
  options.device = book_device(1);
  OneRun r = runner(options);
  std::vector<float> logits(golden_.vocabulary);
  testing::expect_error(ErrorCode::unsupported, "no chunk of 128",
                        [&] { r(golden_.tokens, 0, engine::Logits::last, logits.data()); });
}

TEST_F(PrefillRun, AModelFileCutMeanwhileIsAnError) {
  const std::string copy = ::testing::TempDir() + "cairn-cut-" + std::to_string(getpid()) + ".gguf";
  std::filesystem::copy_file(file_.path(), copy, std::filesystem::copy_options::overwrite_existing);
  const gguf::File file(copy);
  OneRun cut(make_prefill_engine(file, scheme_of(file, {.rotate = true}), options_of(16)));
  run(cut, golden_.tokens);
  const uintmax_t bytes = std::filesystem::file_size(copy);
  std::filesystem::resize_file(copy, bytes - 1);
  testing::expect_error(ErrorCode::io, fmt::format("{}: was cut to {} bytes", copy, bytes - 1),
                        [&] { run(cut, golden_.tokens); });
  std::filesystem::remove(copy);
}

TEST_F(PrefillRun, AnotherSchemeTakesOver) {
  OneRun r = runner();
  const std::vector<float> before = run(r, golden_.tokens);
  r->set_scheme(scheme_of(file_, {.float_product = true}));
  const std::vector<float> in_float = run(r, golden_.tokens);
  EXPECT_NE(before, in_float);
  r->set_scheme(scheme_of(file_, {.rotate = true}));
  EXPECT_EQ(before, run(r, golden_.tokens));
}

TEST_F(PrefillRun, CancelledPassesLeaveTheCacheAsItWas) {
  for (const bool concurrent : {false, true}) {
    PrefillOptions options = options_of(16);
    options.concurrent = concurrent;
    OneRun r = runner(options);
    const std::vector<float> whole = run(r, golden_.tokens);
    for (const int stop : {1, 5, 11}) {
      int asked = 0;
      testing::expect_error(ErrorCode::cancelled, "interrupted", [&] {
        run(r, std::span(golden_.tokens).subspan(16), 16, [&] { return ++asked == stop; });
      });
      EXPECT_EQ(r.length(), 16u);
      EXPECT_EQ(run(r, golden_.tokens), whole) << stop;
    }
  }
}

// Whatever a pass that broke off has set aside, the float products of the next add none of it.
TEST_F(PrefillRun, CancelledPassesLeaveNoSumsToTheNext) {
  Scheme scheme =
      scheme_of(file_, {.scale_kind = ScaleKind::fixed, .scale = 0.004f, .outliers = Outliers::shadow});
  scheme.layers.front().fill({.float_product = true});
  OneRun r(make_prefill_engine(file_, scheme, options_of(16)));
  const std::vector<float> whole = run(r, golden_.tokens);
  int asked = 0;
  run(r, golden_.tokens, 0, [&] { return ++asked < 0; });
  const int tasks = asked;
  ASSERT_GT(tasks, 10);
  for (int stop = 1; stop <= tasks; ++stop) {
    asked = 0;
    testing::expect_error(ErrorCode::cancelled, "interrupted",
                          [&] { run(r, golden_.tokens, 0, [&] { return ++asked == stop; }); });
    EXPECT_EQ(run(r, golden_.tokens), whole) << stop << " of " << tasks;
  }
}

}  // namespace
}  // namespace cairn::offload
