#include "offload/policies.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>

#include "base/expect_error.hpp"
#include "offload/random_graphs.hpp"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CAIRN_SLOW_BUILD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CAIRN_SLOW_BUILD 1
#endif
#endif

namespace cairn::offload {
namespace {

using testing::Optimum;
using testing::random_graph;
using testing::random_shape;
using testing::RandomSeconds;
using testing::RegularSeconds;

constexpr std::array<Policy, 5> kAll = {Policy::in_order, Policy::pairs, Policy::overlap,
                                        Policy::out_of_order, Policy::look_ahead};

// Runs of a graph's tasks, by their number.
struct Runs {
  std::vector<double> begin, end;
  double makespan = 0;
};

// Runs `actual` under a scheduler that was started with `expected`, noting every run, and checks that nothing
// runs twice and that a processor is left idle with something to do only while another task is running.
Runs run(const TaskGraph& expected, const TaskGraph& actual, Policy policy) {
  Runs runs{std::vector<double>(actual.tasks().size(), -1), std::vector<double>(actual.tasks().size(), -1)};
  const auto scheduler = make_scheduler(policy);
  scheduler->start(expected);
  const FlatGraph flat(actual);
  runs.makespan = run_virtually(flat, *scheduler, [&](uint32_t task, double begin, double end) {
    EXPECT_EQ(runs.begin[task], -1) << "task " << task << " was handed out twice";
    runs.begin[task] = begin;
    runs.end[task] = end;
  });
  EXPECT_EQ(scheduler->next(Processor::npu), -1);
  EXPECT_EQ(scheduler->next(Processor::cpu), -1);
  return runs;
}

void check_valid(const TaskGraph& graph, const Runs& runs) {
  std::array<std::multimap<double, double>, 2> of_processor;
  double latest = 0;
  for (uint32_t task = 0; task < graph.tasks().size(); ++task) {
    ASSERT_GE(runs.begin[task], 0) << "task " << task << " never ran";
    ASSERT_EQ(runs.end[task], runs.begin[task] + graph.tasks()[task].seconds);
    for (uint32_t before : graph.predecessors(task))
      ASSERT_GE(runs.begin[task], runs.end[before]) << task << " began before " << before << " ended";
    if (runs.end[task] > runs.begin[task])  // what takes no time overlaps nothing
      of_processor[static_cast<size_t>(graph.tasks()[task].processor)].emplace(runs.begin[task],
                                                                               runs.end[task]);
    latest = std::max(latest, runs.end[task]);
  }
  ASSERT_EQ(runs.makespan, latest);
  for (const auto& processor : of_processor) {
    double until = 0;
    for (const auto& [begin, end] : processor) {
      ASSERT_GE(begin, until) << "a processor did two things at once";
      until = end;
    }
  }
}

double work_of(const TaskGraph& graph, Processor processor) {
  double sum = 0;
  for (const Task& task : graph.tasks()) sum += task.processor == processor ? task.seconds : 0;
  return sum;
}

// Thousands of cases: models with times that follow nothing or a device's pattern, and graphs of no model.
template <class Check>
void for_random_graphs(uint32_t cases, uint32_t chunks, uint32_t layers, const Check& check) {
  std::mt19937 random(20240708);
  for (uint32_t i = 0; i < cases; ++i) {
    SCOPED_TRACE(fmt::format("case {}", i));
    switch (i % 3) {
      case 0:
        check(make_task_graph(random_shape(random, chunks, layers), RandomSeconds(i)));
        break;
      case 1:
        check(make_task_graph(random_shape(random, chunks, layers), RegularSeconds(i)));
        break;
      default:
        check(random_graph(random, chunks * layers * 6));
    }
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Policies, RunEveryTaskOnceAfterItsPredecessorsOnAFreeProcessor) {
  for_random_graphs(1500, 5, 4, [](const TaskGraph& graph) {
    for (Policy policy : kAll) {
      SCOPED_TRACE(name(policy));
      check_valid(graph, run(graph, graph, policy));
    }
  });
}

TEST(Policies, LookAheadIsNeverWorseThanAnyOther) {
  uint32_t better = 0, cases = 0;
  for_random_graphs(3000, 6, 5, [&](const TaskGraph& graph) {
    const double look_ahead = run(graph, graph, Policy::look_ahead).makespan;
    const double max_c = run(graph, graph, Policy::out_of_order).makespan;
    ASSERT_LE(look_ahead, max_c);
    ASSERT_LE(look_ahead, run(graph, graph, Policy::overlap).makespan);
    better += look_ahead < max_c;
    ++cases;
  });
  EXPECT_GT(better, cases / 3) << "of " << cases;
}

TEST(Policies, InOrderDoesOneThingAtATimeChunkAfterChunk) {
  const TaskGraph graph =
      make_task_graph({.chunks = 3, .layers = 2, .shadow = {{true, true, true, true}, {}}}, RandomSeconds(1));
  const Runs runs = run(graph, graph, Policy::in_order);
  double sum = 0;
  for (uint32_t task = 0; task < graph.tasks().size(); ++task) {
    EXPECT_EQ(runs.begin[task], sum);
    sum += graph.tasks()[task].seconds;
  }
  EXPECT_EQ(runs.makespan, sum);
}

// Times turn out otherwise than expected: nothing stalls, nothing is invalid, and no schedule is longer than
// everything one after the other.
TEST(Policies, GoOnWhenTimesDiffer) {
  std::mt19937 random(7);
  for_random_graphs(600, 5, 4, [&](const TaskGraph& expected) {
    TaskGraph actual;
    for (Task task : expected.tasks()) {
      task.seconds = task.seconds * static_cast<double>(1 + random() % 64) / 16;
      actual.add(task);
    }
    for (uint32_t task = 0; task < expected.tasks().size(); ++task)
      for (uint32_t before : expected.predecessors(task)) actual.depend(task, before);
    actual.finish();
    const double serial = work_of(actual, Processor::npu) + work_of(actual, Processor::cpu);
    for (Policy policy : kAll) {
      SCOPED_TRACE(name(policy));
      const Runs runs = run(expected, actual, policy);
      check_valid(actual, runs);
      EXPECT_LE(runs.makespan, serial * (1 + 1e-12));
    }
  });
}

// How far each policy is from the optimum on small cases; the table is in docs/schedule.md.
class Gaps {
 public:
  explicit Gaps(std::string cases) : cases_(std::move(cases)) {}
  void measure(const TaskGraph& graph) {
    const double optimum = Optimum(graph).makespan();
    if (optimum == 0) return;
    ++count_;
    for (Policy policy : kAll) {
      const double gap = run(graph, graph, policy).makespan / optimum - 1;
      EXPECT_GE(gap, -1e-12) << name(policy) << " beats the optimum";
      sum_[policy] += gap;
      largest_[policy] = std::max(largest_[policy], gap);
    }
  }
  double mean(Policy policy) { return sum_[policy] / count_; }
  void print() {
    for (Policy policy : kAll)
      fmt::print("{:24} {:13} mean gap to the optimum {:6.2f} %, largest {:6.2f} %, {} cases\n", cases_,
                 name(policy), 100 * mean(policy), 100 * largest_[policy], count_);
  }

 private:
  std::string cases_;
  std::map<Policy, double> sum_, largest_;
  uint32_t count_ = 0;
};

TEST(Policies, GapToTheOptimum) {
  Gaps regular("times as of a device"), wild("times from 1 ms to 4 s"), any("any acyclic graph");
  std::mt19937 random(3);
  for (uint32_t i = 0; i < 100; ++i) {
    regular.measure(make_task_graph({.chunks = 2, .layers = 2}, RegularSeconds(i)));
    regular.measure(make_task_graph({.chunks = 3, .layers = 1}, RegularSeconds(i + 1000)));
    const bool qkv = random() % 2, output = random() % 2, down = random() % 2;
    wild.measure(make_task_graph({.chunks = 2, .layers = 1, .shadow = {{qkv, output, false, down}}},
                                 RandomSeconds(i)));
    any.measure(random_graph(random, 12));
  }
  for (Gaps* gaps : {&regular, &wild, &any}) {
    gaps->print();
    EXPECT_LT(gaps->mean(Policy::look_ahead), 0.002);
    EXPECT_LE(gaps->mean(Policy::look_ahead), gaps->mean(Policy::out_of_order) / 10);
    EXPECT_LT(gaps->mean(Policy::out_of_order), gaps->mean(Policy::in_order));
  }
}

// Two CPU tasks are ready, then two NPU tasks: what they make ready decides.
TEST(Policies, MaxCIsThePapersEquation5) {
  TaskGraph graph;
  const auto add = [&](Processor processor, double seconds) {
    const auto number = static_cast<uint32_t>(graph.tasks().size());
    return graph.add({number, 0, TaskKind::ffn, processor, seconds});
  };
  const uint32_t small = add(Processor::cpu, 1), large = add(Processor::cpu, 9);
  const uint32_t unlocked_by_small = add(Processor::npu, 2), by_large = add(Processor::npu, 3),
                 by_large_too = add(Processor::npu, 4), by_both = add(Processor::npu, 50),
                 on_the_same = add(Processor::cpu, 70);
  graph.depend(unlocked_by_small, small);
  graph.depend(by_large, large);
  graph.depend(by_large_too, large);
  graph.depend(by_both, small);
  graph.depend(by_both, large);
  graph.depend(on_the_same, small);
  // The NPU's: by_large unlocks 6 s of the CPU's, by_large_too 5.
  graph.depend(add(Processor::cpu, 6), by_large);
  graph.depend(add(Processor::cpu, 5), by_large_too);
  graph.finish();
  const FlatGraph flat(graph);
  MaxC max_c;
  max_c.start(flat);
  EXPECT_EQ(max_c.c(small), 2);  // by_both waits for another; on_the_same is no NPU task
  EXPECT_EQ(max_c.c(large), 3 + 4);
  EXPECT_EQ(max_c.next(Processor::npu), -1);
  EXPECT_EQ(max_c.next(Processor::cpu), large);
  max_c.finished(large);
  EXPECT_EQ(max_c.c(small), 2 + 50);
  EXPECT_EQ(max_c.c(by_large), -6);
  EXPECT_EQ(max_c.c(by_large_too), -5);
  EXPECT_EQ(max_c.next(Processor::npu), by_large_too);
  EXPECT_EQ(max_c.next(Processor::npu), by_large);
  EXPECT_EQ(max_c.next(Processor::npu), -1);
}

TEST(Policies, MaxCTakesTheEarliestOfEqualOnes) {
  TaskGraph graph;
  for (uint32_t chunk = 0; chunk < 4; ++chunk) graph.add({chunk, 0, TaskKind::qkv, Processor::npu, 1});
  graph.finish();
  const FlatGraph flat(graph);
  MaxC max_c;
  max_c.start(flat);
  for (int64_t chunk = 0; chunk < 4; ++chunk) EXPECT_EQ(max_c.next(Processor::npu), chunk);
}

TEST(Policies, OverlapServesWhatCameFirst) {
  TaskGraph graph;
  const uint32_t first = graph.add({0, 0, TaskKind::ffn, Processor::npu, 5});
  const uint32_t a = graph.add({1, 0, TaskKind::ffn, Processor::cpu, 2});
  const uint32_t late = graph.add({2, 0, TaskKind::ffn, Processor::npu, 1});
  const uint32_t later = graph.add({3, 0, TaskKind::ffn, Processor::npu, 1});
  const uint32_t b = graph.add({4, 0, TaskKind::ffn, Processor::cpu, 1});
  graph.depend(later, a);
  graph.depend(late, b);
  graph.finish();
  const Runs runs = run(graph, graph, Policy::overlap);
  EXPECT_EQ(runs.begin[first], 0);
  EXPECT_EQ(runs.begin[later], 5);
  EXPECT_EQ(runs.begin[late], 6);
}

// Two chunks take a step together, the second five subgraphs behind, and wait for each other; the third runs
// alone after them. Without shadow work a step is one subgraph of a chunk, and the two of a step are one of
// each processor.
TEST(Policies, PairsGoInLockStep) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    for (uint32_t chunks : {1u, 2u, 3u, 4u}) {
      const uint32_t layers = 1 + seed % 4, stages = 6 * layers;
      const RandomSeconds seconds(seed);
      const TaskGraph graph = make_task_graph({.chunks = chunks, .layers = layers}, seconds);
      const auto time = [&](uint32_t chunk, uint32_t stage) {
        return graph.tasks()[chunk * stages + stage].seconds;
      };
      double expected = 0;
      for (uint32_t first = 0; first < chunks; first += 2) {
        for (uint32_t step = 0; step < stages + 5; ++step) {
          const double a = step < stages ? time(first, step) : 0;
          const double b = first + 1 < chunks && step >= 5 ? time(first + 1, step - 5) : 0;
          expected += std::max(a, b);
        }
      }
      EXPECT_DOUBLE_EQ(run(graph, graph, Policy::pairs).makespan, expected) << chunks << " chunks";
    }
  }
}

// Shadow work shares the step of the product that it corrects.
TEST(Policies, PairsKeepShadowWorkWithItsProduct) {
  const TaskGraph graph = make_task_graph(
      {.chunks = 1, .layers = 3, .shadow = {{true, true, true, true}, {}, {}}}, RandomSeconds(4));
  const Runs runs = run(graph, graph, Policy::pairs);
  double expected = 0;
  for (uint32_t task = 0; task < graph.tasks().size(); ++task) {
    const bool shadowed =
        task + 1 < graph.tasks().size() && graph.tasks()[task + 1].kind >= TaskKind::shadow_qkv;
    const double seconds = graph.tasks()[task].seconds;
    expected += shadowed ? std::max(seconds, graph.tasks()[task + 1].seconds) : seconds;
    task += shadowed;
  }
  EXPECT_DOUBLE_EQ(runs.makespan, expected);
}

// A long attention is ready just before the short input that the NPU waits for: greedy rules begin it at
// once, the optimum lets the CPU wait.
TEST(Policies, LookAheadWaitsWhereThatPays) {
  TaskGraph graph;
  const uint32_t output = graph.add({0, 0, TaskKind::attention_output, Processor::npu, 1});
  const uint32_t input = graph.add({0, 0, TaskKind::ffn_input, Processor::cpu, 1});
  const uint32_t ffn = graph.add({0, 0, TaskKind::ffn, Processor::npu, 10});
  const uint32_t attention = graph.add({1, 0, TaskKind::attention, Processor::cpu, 10});
  graph.depend(input, output);
  graph.depend(ffn, input);
  graph.finish();
  EXPECT_EQ(run(graph, graph, Policy::out_of_order).makespan, 21);
  EXPECT_EQ(run(graph, graph, Policy::overlap).makespan, 21);
  const Runs runs = run(graph, graph, Policy::look_ahead);
  EXPECT_EQ(runs.makespan, 12);
  EXPECT_EQ(runs.begin[attention], 2);
  EXPECT_EQ(Optimum(graph).makespan(), 12);
}

TEST(Policies, AreDeterministicAndCanBeStartedAgain) {
  const TaskGraph graph = make_task_graph({.chunks = 4, .layers = 6}, RegularSeconds(5));
  const TaskGraph other = make_task_graph({.chunks = 2, .layers = 3}, RandomSeconds(5));
  for (Policy policy : kAll) {
    const Runs fresh = run(graph, graph, policy);
    const auto scheduler = make_scheduler(policy);
    simulate(other, *scheduler);
    const SimulatedRun again = simulate(graph, *scheduler);
    ASSERT_EQ(again.timeline.events.size(), graph.tasks().size());
    EXPECT_EQ(again.timeline.makespan(), fresh.makespan) << name(policy);
    EXPECT_EQ(again.decisions, graph.tasks().size());
  }
}

TEST(Policies, DecideInMicroseconds) {
#if defined(CAIRN_SLOW_BUILD) || !defined(NDEBUG)
  constexpr double kMost = 500e-6;
#else
  constexpr double kMost = 5e-6;
#endif
  // Times without a pattern: no plan reaches the lower bound, so all the room for trials is used.
  const TaskGraph graph = make_task_graph({.chunks = 16, .layers = 24}, RandomSeconds(11));
  for (Policy policy : kAll) {
    const auto scheduler = make_scheduler(policy);
    double least = 1;
    // Others on the processor make a round slow, not a hundred of them.
    for (int round = 0; round < 100 && least >= kMost; ++round) {
      const SimulatedRun simulated = simulate(graph, *scheduler);
      least = std::min(least, simulated.decision_seconds / static_cast<double>(simulated.decisions));
    }
    fmt::print("{:13} {:.2f} µs a decision, {} tasks\n", name(policy), 1e6 * least, graph.tasks().size());
    EXPECT_LT(least, kMost) << name(policy);
  }
}

TEST(Policies, HaveNames) {
  for (Policy policy : kAll) {
    EXPECT_EQ(parse_policy(name(policy)), policy);
    EXPECT_EQ(make_scheduler(policy)->name(), name(policy));
  }
  cairn::testing::expect_error(ErrorCode::invalid_argument, "look-ahead", [] { parse_policy("fastest"); });
}

// A decider that forgets tasks is found out.
TEST(Simulate, RefusesAScheduleThatLeavesTasksOut) {
  struct Lazy final : Scheduler {
    std::string_view name() const override { return "lazy"; }
    void start(const TaskGraph&) override {}
    void finished(uint32_t) override {}
    int64_t next(Processor) override { return -1; }
  } lazy;
  TaskGraph graph;
  graph.add({0, 0, TaskKind::qkv, Processor::npu, 1});
  graph.finish();
  cairn::testing::expect_error(ErrorCode::invalid_argument, "1 of 1 tasks", [&] { simulate(graph, lazy); });
}

}  // namespace
}  // namespace cairn::offload
