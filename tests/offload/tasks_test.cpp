#include "offload/tasks.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "base/expect_error.hpp"

namespace cairn::offload {
namespace {

template <class Action>
void refuses(const std::string& part, const Action& action) {
  cairn::testing::expect_error(ErrorCode::invalid_argument, part, action);
}

struct OneSecond final : TaskSeconds {
  double seconds(uint32_t, uint32_t, TaskKind) const override { return 1; }
};

struct Named {
  explicit Named(const TaskGraphShape& shape) : graph(make_task_graph(shape, OneSecond())) {
    for (uint32_t task = 0; task < graph.tasks().size(); ++task) {
      const Task& t = graph.tasks()[task];
      EXPECT_TRUE(numbers.emplace(std::tuple(t.chunk, t.layer, t.kind), task).second) << "twice: " << task;
    }
  }
  std::set<std::tuple<uint32_t, uint32_t, TaskKind>> before(uint32_t chunk, uint32_t layer, TaskKind kind) {
    std::set<std::tuple<uint32_t, uint32_t, TaskKind>> found;
    for (uint32_t p : graph.predecessors(numbers.at({chunk, layer, kind})))
      found.emplace(graph.tasks()[p].chunk, graph.tasks()[p].layer, graph.tasks()[p].kind);
    return found;
  }
  bool has(uint32_t chunk, uint32_t layer, TaskKind kind) { return numbers.contains({chunk, layer, kind}); }
  TaskGraph graph;
  std::map<std::tuple<uint32_t, uint32_t, TaskKind>, uint32_t> numbers;
};

using Set = std::set<std::tuple<uint32_t, uint32_t, TaskKind>>;

TEST(TaskGraph, HasSixSubgraphsALayerWhereOnlyAttentionSeesEarlierChunks) {
  Named g({.chunks = 3, .layers = 2});
  EXPECT_EQ(g.graph.tasks().size(), 3u * 2 * 6);
  // Equation 3 for all but attention, equation 2 for that.
  EXPECT_EQ(g.before(0, 0, TaskKind::attention_input), Set{});
  EXPECT_EQ(g.before(2, 1, TaskKind::attention_input), (Set{{2, 0, TaskKind::ffn}}));
  EXPECT_EQ(g.before(2, 1, TaskKind::qkv), (Set{{2, 1, TaskKind::attention_input}}));
  EXPECT_EQ(g.before(2, 1, TaskKind::attention),
            (Set{{0, 1, TaskKind::qkv}, {1, 1, TaskKind::qkv}, {2, 1, TaskKind::qkv}}));
  EXPECT_EQ(g.before(0, 1, TaskKind::attention), (Set{{0, 1, TaskKind::qkv}}));
  EXPECT_EQ(g.before(1, 0, TaskKind::attention_output), (Set{{1, 0, TaskKind::attention}}));
  EXPECT_EQ(g.before(1, 0, TaskKind::ffn_input), (Set{{1, 0, TaskKind::attention_output}}));
  EXPECT_EQ(g.before(1, 0, TaskKind::ffn), (Set{{1, 0, TaskKind::ffn_input}}));
  for (const Task& task : g.graph.tasks()) {
    const bool int8 =
        task.kind == TaskKind::qkv || task.kind == TaskKind::attention_output || task.kind == TaskKind::ffn;
    EXPECT_EQ(task.processor == Processor::npu, int8) << name(task.kind);
  }
}

TEST(TaskGraph, RunsShadowWorkBesideTheProductsThatItCorrects) {
  Named g({.chunks = 2, .layers = 2, .shadow = {{true, true, true, true}, {false, false, false, false}}});
  EXPECT_EQ(g.before(1, 0, TaskKind::shadow_qkv), (Set{{1, 0, TaskKind::attention_input}}));
  EXPECT_EQ(g.before(1, 0, TaskKind::attention), (Set{{0, 0, TaskKind::qkv},
                                                      {0, 0, TaskKind::shadow_qkv},
                                                      {1, 0, TaskKind::qkv},
                                                      {1, 0, TaskKind::shadow_qkv}}));
  EXPECT_EQ(g.before(1, 0, TaskKind::shadow_attention_output), (Set{{1, 0, TaskKind::attention}}));
  EXPECT_EQ(g.before(1, 0, TaskKind::ffn_input),
            (Set{{1, 0, TaskKind::attention_output}, {1, 0, TaskKind::shadow_attention_output}}));
  EXPECT_EQ(g.before(1, 0, TaskKind::shadow_gate_up), (Set{{1, 0, TaskKind::ffn_input}}));
  const Set gate_up{{1, 0, TaskKind::ffn}, {1, 0, TaskKind::shadow_gate_up}};
  EXPECT_EQ(g.before(1, 0, TaskKind::ffn_down), gate_up);
  EXPECT_EQ(g.before(1, 0, TaskKind::shadow_down), gate_up);
  EXPECT_EQ(g.before(1, 1, TaskKind::attention_input),
            (Set{{1, 0, TaskKind::ffn_down}, {1, 0, TaskKind::shadow_down}}));
  for (const Task& task : g.graph.tasks())
    if (task.kind >= TaskKind::shadow_qkv && task.kind <= TaskKind::shadow_down) {
      EXPECT_EQ(task.processor, Processor::cpu);
      EXPECT_EQ(task.layer, 0u);
    }
  EXPECT_FALSE(g.has(0, 1, TaskKind::ffn_down));
}

TEST(TaskGraph, CutsTheFeedForwardPartForShadowWorkOfEitherInput) {
  Named down({.chunks = 1, .layers = 1, .shadow = {{false, false, false, true}}});
  EXPECT_EQ(down.before(0, 0, TaskKind::ffn_down), (Set{{0, 0, TaskKind::ffn}}));
  EXPECT_EQ(down.before(0, 0, TaskKind::shadow_down), (Set{{0, 0, TaskKind::ffn}}));
  Named gate({.chunks = 1, .layers = 1, .shadow = {{false, false, true, false}}});
  EXPECT_EQ(gate.before(0, 0, TaskKind::ffn_down),
            (Set{{0, 0, TaskKind::ffn}, {0, 0, TaskKind::shadow_gate_up}}));
  EXPECT_FALSE(gate.has(0, 0, TaskKind::shadow_down));
  Named qkv({.chunks = 1, .layers = 1, .shadow = {{true, true, false, false}}});
  EXPECT_FALSE(qkv.has(0, 0, TaskKind::ffn_down));
  Named middle({.chunks = 1, .layers = 1, .shadow = {{false, false, true, true}}, .cpu_middle = true});
  EXPECT_EQ(middle.before(0, 0, TaskKind::ffn_middle),
            (Set{{0, 0, TaskKind::ffn}, {0, 0, TaskKind::shadow_gate_up}}));
  EXPECT_EQ(middle.before(0, 0, TaskKind::ffn_down), (Set{{0, 0, TaskKind::ffn_middle}}));
  EXPECT_EQ(middle.before(0, 0, TaskKind::shadow_down), (Set{{0, 0, TaskKind::ffn_middle}}));
}

TEST(TaskGraph, CutsEveryFeedForwardPartWhereTheDeviceHoldsProductsAlone) {
  Named cut({.chunks = 1,
             .layers = 2,
             .shadow = {{}, {true, false, false, true}},
             .cpu_middle = true,
             .cut = true});
  EXPECT_EQ(cut.before(0, 0, TaskKind::ffn_middle), (Set{{0, 0, TaskKind::ffn}}));
  EXPECT_EQ(cut.before(0, 0, TaskKind::ffn_down), (Set{{0, 0, TaskKind::ffn_middle}}));
  EXPECT_FALSE(cut.has(0, 0, TaskKind::shadow_down));
  EXPECT_EQ(cut.before(0, 1, TaskKind::attention_input), (Set{{0, 0, TaskKind::ffn_down}}));
  EXPECT_EQ(cut.before(0, 1, TaskKind::shadow_down), (Set{{0, 1, TaskKind::ffn_middle}}));
}

TEST(TaskGraph, PreparesBeforeAnythingElseOfAChunk) {
  Named g({.chunks = 2, .layers = 1, .prepare = true});
  EXPECT_EQ(g.before(1, 0, TaskKind::attention_input), (Set{{1, 0, TaskKind::prepare}}));
}

TEST(TaskGraph, RejectsWhatIsNoGraph) {
  TaskGraph cycle;
  for (int i = 0; i < 3; ++i) cycle.add({0, 7, TaskKind::qkv, Processor::npu, 1});
  cycle.depend(1, 0);
  cycle.depend(2, 1);
  cycle.depend(1, 2);
  refuses("cycle", [&] { cycle.finish(); });
  refuses("there are 3", [&] { cycle.depend(3, 0); });
  refuses("there are 3", [&] { cycle.depend(0, 3); });
  TaskGraph self;
  self.add({0, 0, TaskKind::qkv, Processor::npu, 1});
  self.depend(0, 0);
  refuses("cycle", [&] { self.finish(); });
  for (double seconds :
       {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()})
    refuses("attention of layer 3", [&] { self.add({0, 3, TaskKind::attention, Processor::cpu, seconds}); });
  refuses("0 chunks", [&] { make_task_graph({.chunks = 0, .layers = 1}, OneSecond()); });
  refuses("0 layers", [&] { make_task_graph({.chunks = 1, .layers = 0}, OneSecond()); });
  refuses("of 1 layers for a model of 2",
          [&] { make_task_graph({.chunks = 1, .layers = 2, .shadow = {{}}}, OneSecond()); });
  refuses("too many", [&] { make_task_graph({.chunks = 1u << 31, .layers = 1u << 31}, OneSecond()); });
}

}  // namespace
}  // namespace cairn::offload
