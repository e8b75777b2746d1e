#include "measure/simulate.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <tuple>

#include "base/expect_error.hpp"
#include "graph/model_shapes.hpp"

namespace cairn::measure {
namespace {

using offload::Event;
using offload::Policy;
using offload::Processor;
using offload::Stage;
using offload::TaskKind;
using offload::Timeline;

SimulateResult on_phone(uint32_t prompt, Stage stage, Policy policy,
                        const std::string& shape = "qwen1.5-1.8b", double prune = 0.85) {
  return simulate_prefill(
      {.shape = shape, .prompt = prompt, .stage = stage, .policy = policy, .prune = prune});
}

TEST(SimulatedPrefill, AnswersAlike) {
  const auto a = on_phone(700, Stage::outliers, Policy::look_ahead);
  const auto b = on_phone(700, Stage::outliers, Policy::look_ahead);
  ASSERT_EQ(a.run.timeline.events.size(), b.run.timeline.events.size());
  for (size_t i = 0; i < a.run.timeline.events.size(); ++i) {
    EXPECT_EQ(a.run.timeline.events[i].begin, b.run.timeline.events[i].begin);
    EXPECT_EQ(a.run.timeline.events[i].chunk, b.run.timeline.events[i].chunk);
    EXPECT_EQ(a.run.timeline.events[i].kind, b.run.timeline.events[i].kind);
  }
}

// Figure 19: 25 → 37 → 395 → 569 tokens a second; every ratio within a quarter, whether the third bar is
// taken to overlap or not.
TEST(SimulatedPrefill, HasThePapersStages) {
  const double naive = on_phone(512, Stage::naive, Policy::overlap).tokens_per_second;
  const double chunks = on_phone(512, Stage::chunks, Policy::overlap).tokens_per_second;
  const double best = on_phone(512, Stage::outliers, Policy::out_of_order).tokens_per_second;
  const auto within = [](double ratio, double paper) {
    EXPECT_GT(ratio, 0.75 * paper);
    EXPECT_LT(ratio, 1.25 * paper);
  };
  within(chunks / naive, 37.0 / 25);
  for (Policy policy : {Policy::in_order, Policy::overlap}) {
    const double outliers = on_phone(512, Stage::outliers, policy).tokens_per_second;
    within(outliers / chunks, 395.0 / 37);
    within(best / outliers, 569.0 / 395);
  }
}

TEST(SimulatedPrefill, LeavesTheNpuHardlyIdle) {
  const auto overlap = on_phone(512, Stage::outliers, Policy::overlap);
  const auto max_c = on_phone(512, Stage::outliers, Policy::out_of_order);
  const auto look_ahead = on_phone(512, Stage::outliers, Policy::look_ahead);
  EXPECT_GT(overlap.run.timeline.bubble(Processor::npu), 0.1);
  EXPECT_LE(max_c.run.timeline.bubble(Processor::npu), 0.007);
  EXPECT_LE(look_ahead.run.timeline.bubble(Processor::npu), 0.007);
  EXPECT_GT(on_phone(1024, Stage::outliers, Policy::look_ahead).tokens_per_second, 1106);
}

TEST(SimulatedPrefill, RunsEveryShapeStageAndPolicy) {
  for (const graph::ModelShape& shape : graph::model_shapes()) {
    if (shape.experts != 0 || shape.delta_heads != 0) {
      cairn::testing::expect_error(
          ErrorCode::unsupported, shape.experts != 0 ? "mixture" : "recurrent state",
          [&] { on_phone(300, Stage::outliers, Policy::out_of_order, std::string(shape.name)); });
      continue;
    }
    for (Stage stage : {Stage::naive, Stage::chunks, Stage::outliers})
      for (Policy policy : {Policy::in_order, Policy::overlap, Policy::out_of_order, Policy::look_ahead}) {
        const auto result = on_phone(300, stage, policy, std::string(shape.name));
        const Timeline& t = result.run.timeline;
        std::set<std::tuple<uint32_t, uint32_t, TaskKind>> kinds;
        bool prepared = false;
        for (const Event& e : t.events) {
          EXPECT_TRUE(kinds.emplace(e.chunk, e.layer, e.kind).second);
          prepared |= e.kind == TaskKind::prepare;
        }
        EXPECT_EQ(prepared, stage == Stage::naive);
        EXPECT_EQ(result.shadow_inputs > 0, stage == Stage::outliers);
        EXPECT_GE(t.events.size(), result.plan.lengths.size() * shape.layers * 6);
        EXPECT_GT(result.tokens_per_second, 0);
        EXPECT_DOUBLE_EQ(result.tokens_per_second * result.makespan, 300);
      }
  }
}

TEST(SimulatedPrefill, RefusesWhatCannotBe) {
  const auto refuses = [](const std::string& part, const SimulateOptions& options) {
    cairn::testing::expect_error(ErrorCode::invalid_argument, part, [&] { simulate_prefill(options); });
  };
  refuses("'pixel'", {.device = "pixel"});
  refuses("'gpt'", {.shape = "gpt"});
  refuses("0 tokens", {.prompt = 0});
  refuses("1 to 32768", {.prompt = 32769});
  refuses("16 tokens", {.chunk = 16});
  refuses("1.5", {.prune = 1.5});
  refuses("nan", {.prune = std::numeric_limits<double>::quiet_NaN()});
  cairn::testing::expect_error(ErrorCode::invalid_argument, "outliers", [] { offload::parse_stage("last"); });
}

TEST(SimulatedPrefill, IsFasterWithLessShadowWork) {
  double before = 1e9;
  for (double prune : {0.0, 0.5, 0.85, 1.0}) {
    const double makespan = on_phone(512, Stage::outliers, Policy::in_order, "qwen1.5-1.8b", prune).makespan;
    EXPECT_LT(makespan, before);
    before = makespan;
  }
}

}  // namespace
}  // namespace cairn::measure
