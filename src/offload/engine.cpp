#include "offload/engine.hpp"

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "backends/cpu/executor.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "kernels/kernel_set.hpp"
#include "offload/chunk_tasks.hpp"
#include "offload/cpu_accelerator.hpp"
#include "offload/learned_seconds.hpp"
#include "offload/profile.hpp"
#include "offload/simulated/times.hpp"

namespace cairn::offload {
namespace {

constexpr size_t kRows = cpu::RowExecutor::kMostRows;  // so short slices are rows, as decode's are
constexpr uint32_t kMostChunks = 16;                   // of one pass: what is in flight takes memory

// How the threads are shared out while device and CPU work at the same time.
struct ThreadShares {
  uint32_t all, npu, cpu;
  ThreadShares(uint32_t threads, bool concurrent) : all(threads), npu(threads), cpu(threads) {
    if (!concurrent || threads < 2) return;
    cpu = std::max(1u, threads / 4);
    npu = threads - cpu;
  }
};

ThreadPool::Idle idle(const AcceleratorTraits& traits) {
  return traits.shares_processors ? ThreadPool::Idle::sleep : ThreadPool::Idle::spin;
}

uint32_t thread_count(const engine::Options& options) {
  return options.threads == 0 ? static_cast<uint32_t>(usable_processors()) : options.threads;
}

graph::Model dense_model(const gguf::File& file, uint32_t context) {
  graph::Model model = graph::load(file, context);
  graph::require_plain(model, file.path(), "prefill with an accelerator does");
  return model;
}

class Prefill final : public PrefillEngine {
 public:
  Prefill(const gguf::File& file, const quantize::Scheme& scheme, const PrefillOptions& options)
      : file_(file),
        model_(dense_model(file_, options.engine.context)),
        options_(options),
        traits_(accelerator_traits(options.device)),
        target_(kernels::default_target()),
        static_(kernels::kernel_set(target_).exact),
        shares_(thread_count(options.engine), options.concurrent && !traits_.shares_processors),
        pool_(shares_.all, idle(traits_)),
        npu_pool_(std::min<size_t>(shares_.npu, pool_.threads()), idle(traits_)),
        cpu_pool_(std::min<size_t>(shares_.cpu, pool_.threads()), idle(traits_)),
        plan_(file_, model_, target_, false),
        float_plan_(file_, model_, target_, true),
        sequences_(model_, cpu::kv_format(options.engine), file_.path(), 0, 0),
        machine_{model_,
                 plan_,
                 kernels::kernel_set(target_).gemm,
                 kernels::kernel_set(target_).vector,
                 kernels::kernel_set(target_).attention,
                 pool_,
                 sequences_.format(),
                 options.engine.context},
        float_machine_{
            model_, float_plan_,         machine_.gemm,         machine_.vector, machine_.attention,
            pool_,  sequences_.format(), options.engine.context},
        rows_(machine_),
        layers_(plan_layers(float_plan_, model_)),
        tasks_({file_, float_machine_, static_, layers_, npu_pool_, cpu_pool_, options_.warn}) {
    options_.accelerator.threads = shares_.npu;
    accelerator_ = make_accelerator(options_.device, options_.accelerator);
    use_scheme(scheme);
    if (options_.engine.chunk == 0)
      options_.engine.chunk = std::min(accelerator_->traits().usual_chunk, options_.engine.context);
    if (options_.engine.chunk == 0) {
      options_.engine.chunk = profile_chunk(*products_, *accelerator_, static_, options_.engine.context);
    }
    learned_ = LearnedSeconds(model_.parameters, options_.engine.chunk);
  }

  const graph::Model& model() const override { return model_; }
  uint32_t context() const override { return options_.engine.context; }
  uint32_t chunk() const override {
    return std::min(options_.engine.context, options_.engine.chunk * kMostChunks);
  }
  uint32_t rows() const override { return options_.everything ? 1 : std::min<uint32_t>(kRows, chunk()); }
  uint32_t chunk_length() const override { return options_.engine.chunk; }
  std::unique_ptr<engine::Sequence> make_sequence() override { return sequences_.make(); }
  uint64_t kv_bytes() const override { return sequences_.bytes(); }
  uint64_t spare_kv_bytes() const override { return sequences_.spare_bytes(); }
  uint64_t scratch_bytes() const override { return rows_.scratch_bytes() + tasks_.scratch_bytes(); }
  // The device's and the CPU's loops run side by side.
  ThreadUse thread_use() const override {
    const ThreadUse all = pool_.use(), npu = npu_pool_.use(), cpu = cpu_pool_.use();
    return {all.loop_seconds + std::max(npu.loop_seconds, cpu.loop_seconds),
            all.thread_seconds + npu.thread_seconds + cpu.thread_seconds};
  }
  const Timeline& timeline() const override { return timeline_; }
  const PrefillStatistics& statistics() const override { return statistics_; }

  void set_scheme(const quantize::Scheme& scheme) override {
    const std::lock_guard lock(one_step_);
    use_scheme(scheme);
  }

  void step(std::span<const engine::Slice> slices, const engine::Cancelled& cancelled) override {
    for (const engine::Slice& slice : slices) {
      if (slice.hidden != nullptr)
        fail(ErrorCode::unsupported, "an engine with an accelerator hands out no hidden states");
    }
    const std::lock_guard lock(one_step_);
    sequences_.step(*this, slices, [&] {
      file_.require_whole();
      for (const engine::Slice& slice : slices) {
        sequences_.extend(*slice.sequence, static_cast<uint32_t>(slice.tokens.size()));
        run(slice, cancelled);
      }
    });
  }

  void reserve(engine::Sequence& sequence, uint32_t tokens) override {
    const std::lock_guard lock(one_step_);
    sequences_.extend(sequence, tokens);
  }

 private:
  void run(const engine::Slice& slice, const engine::Cancelled& cancelled) {
    const std::span<const int32_t> tokens = slice.tokens;
    cpu::PagedSequence& sequence = sequences_.own(*slice.sequence);
    const uint32_t position = sequence.length();
    const size_t vocabulary = model_.parameters.vocabulary;
    size_t alone = position < scheme_.float_tokens ? scheme_.float_tokens - position : 0;
    if (!options_.everything && tokens.size() <= kRows) alone = tokens.size();
    alone = std::min(alone, tokens.size());
    const bool all = slice.wanted == engine::Logits::all;
    for (size_t begin = 0; begin < alone; begin += kRows) {
      engine::throw_if(cancelled);
      cpu::Row rows[kRows];
      const size_t count = std::min(kRows, alone - begin);
      for (size_t i = 0; i < count; ++i) {
        const size_t at = begin + i;
        const bool last = slice.wanted == engine::Logits::last && at + 1 == tokens.size();
        rows[i] = {&sequence, position + static_cast<uint32_t>(at), tokens[at],
                   all    ? slice.logits + at * vocabulary
                   : last ? slice.logits
                          : nullptr};
      }
      rows_.run({rows, count});
    }
    if (alone == tokens.size()) return;
    const auto rest = tokens.subspan(alone);
    float* out = all ? slice.logits + alone * vocabulary : slice.logits;
    const Work work{sequence, rest, position + static_cast<uint32_t>(alone), slice.wanted, out, cancelled};
    try {
      pass(work);
    } catch (const DeviceFailure& failure) {
      fall_back(failure);
      pass(work);
    }
  }

  // A slice's tokens that the device takes part in.
  struct Work {
    cpu::PagedSequence& sequence;
    std::span<const int32_t> tokens;
    uint32_t position;
    engine::Logits wanted;
    float* logits;
    const engine::Cancelled& cancelled;
  };

  void use_scheme(const quantize::Scheme& scheme) {
    products_ = std::make_unique<Products>(layers_, scheme, static_);
    scheme_ = scheme;
  }

  void fall_back(const DeviceFailure& failure) {
    if (options_.warn) options_.warn(fmt::format("{}; the CPU goes on in its place", failure.what()));
    products_->forget_compiled();
    accelerator_ = make_cpu_accelerator(options_.accelerator);
    statistics_.fell_back = true;
  }

  void pass(const Work& work);
  Timeline simulate_timeline();
  void append(const Timeline& pass, double begin);
  void write_logits(const Work& work, uint32_t chunk, cpu::ChunkExecutor& executor);
  void count();

  gguf::File file_;  // shares the mapping
  graph::Model model_;
  PrefillOptions options_;
  const AcceleratorTraits traits_;  // of options_.device, whatever takes its place later
  kernels::Target target_;
  const kernels::StaticKernels& static_;
  ThreadShares shares_;
  ThreadPool pool_, npu_pool_, cpu_pool_;
  cpu::Plan plan_, float_plan_;
  const cpu::Sequences sequences_;
  std::mutex one_step_;
  cpu::Machine machine_, float_machine_;
  cpu::RowExecutor rows_;
  std::vector<LayerPlan> layers_;
  LearnedSeconds learned_{model_.parameters, 0};
  quantize::Scheme scheme_;
  std::unique_ptr<Accelerator> accelerator_;
  std::unique_ptr<Products> products_;  // its graphs go before the accelerator
  ChunkTasks tasks_;
  std::unique_ptr<cpu::ChunkExecutor> head_;
  Timeline timeline_;  // of the passes of the last prompt
  Stopwatch since_;    // its begin
  size_t timeline_tokens_ = 0;
  uint32_t timeline_position_ = ~0u;   // where it ends
  const void* timeline_of_ = nullptr;  // the prompt's sequence
  PrefillStatistics statistics_;
};

void Prefill::pass(const Work& work) {
  const std::span<const int32_t> tokens = work.tokens;
  const uint32_t position = work.position;
  const uint32_t length = options_.engine.chunk;
  tasks_.begin({work.sequence, tokens, position, length}, *products_, *accelerator_, work.cancelled);
  const TaskGraph graph = make_task_graph(tasks_.shape(), options_.times ? *options_.times : learned_);
  if (position != timeline_position_ ||
      &work.sequence != timeline_of_) {  // a new prompt; a long one takes several passes
    timeline_ = {};
    timeline_tokens_ = 0;
    since_.restart();
  }
  const double begin = since_.seconds();
  Timeline now;
  const std::unique_ptr<Scheduler> scheduler = make_scheduler(options_.policy);
  const auto caller = std::this_thread::get_id();
  now.events = run_tasks(graph, *scheduler, shares_.npu + shares_.cpu == shares_.all, [&](const Task& task) {
    if (std::this_thread::get_id() == caller) engine::throw_if(work.cancelled);
    tasks_.run(task);
  });
  learned_.learn(now);
  const bool simulated = traits_.phone != nullptr;
  if (simulated) now = simulate_timeline();
  append(now, simulated ? timeline_.makespan() : begin);
  timeline_tokens_ += tokens.size();
  timeline_position_ = position + static_cast<uint32_t>(tokens.size());
  timeline_of_ = &work.sequence;
  timeline_.title =
      fmt::format("{} tokens in chunks of {}, {}", timeline_tokens_, length, name(options_.policy));

  for (uint32_t chunk = 0; chunk < tasks_.chunks(); ++chunk) {
    cpu::ChunkExecutor& executor = tasks_.finish(chunk);
    if (work.wanted == engine::Logits::all ||
        (work.wanted == engine::Logits::last && chunk + 1 == tasks_.chunks()))
      write_logits(work, chunk, executor);
  }
  count();
}

void Prefill::count() {
  const ChunkTasks::Shadowed& shadowed = tasks_.shadowed();
  statistics_.shadow_elements = shadowed.elements;
  statistics_.hot_columns = shadowed.columns.hot;
  statistics_.cold_columns = shadowed.columns.cold;
  statistics_.cold_bytes = shadowed.columns.cold_bytes;
  statistics_.graphs = products_->graphs();
  statistics_.cached_graphs = accelerator_->cached_graphs();
  statistics_.compile_seconds = accelerator_->compile_seconds();
  statistics_.device_weight_bytes = accelerator_->weight_bytes();
  statistics_.recomputed_outputs = accelerator_->recomputed_outputs();
  statistics_.shadow_bytes = products_->hot_bytes() + tasks_.shadow_bytes();
}

// A pass goes behind those of the same prompt before it, its chunks counted on.
void Prefill::append(const Timeline& pass, double begin) {
  uint32_t chunks = 0;
  for (const Event& event : timeline_.events) chunks = std::max(chunks, event.chunk + 1);
  for (Event event : pass.events) {
    event.chunk += chunks;
    event.begin += begin;
    event.end += begin;
    timeline_.events.push_back(event);
  }
  // The CPU in the device's place is still one processor: its two shares of the threads say so.
  const simulated::PhoneConstants* phone = traits_.phone;
  timeline_.npu = phone != nullptr ? phone->npu : accelerator_->traits().label + ", int8 products";
  timeline_.cpu = phone != nullptr ? phone->cpu : "CPU, the rest";
}

Timeline Prefill::simulate_timeline() {
  const TaskGraphShape shape = tasks_.shape();
  const std::vector<uint32_t> lengths(shape.chunks, options_.engine.chunk);
  const SimulatedTimes times(simulated::Phone(*traits_.phone), ModelSizes(model_), lengths, Stage::outliers,
                             shape.shadow);
  const std::unique_ptr<Scheduler> scheduler = make_scheduler(options_.policy);
  return simulate(make_task_graph(shape, times), *scheduler).timeline;
}

void Prefill::write_logits(const Work& work, uint32_t chunk, cpu::ChunkExecutor& executor) {
  const size_t tokens = tasks_.tokens(chunk);
  if (work.wanted == engine::Logits::last) {
    executor.hand_over(tokens - 1, rows_);
    rows_.run_head(work.logits);
    return;
  }
  if (!head_) head_ = std::make_unique<cpu::ChunkExecutor>(machine_, options_.engine.chunk);
  head_->take_hidden(executor);
  head_->run_head(tokens, work.logits + size_t{chunk} * options_.engine.chunk * model_.parameters.vocabulary);
}

}  // namespace

std::unique_ptr<PrefillEngine> make_prefill_engine(const gguf::File& file, const quantize::Scheme& scheme,
                                                   const PrefillOptions& options) {
  engine::warn_of_fixed_memory(file, options.engine);
  PrefillOptions sensible = options;
  if (options.engine.context == 0)
    fail(ErrorCode::invalid_argument, "a context of 0 positions holds nothing");
  sensible.engine.chunk = std::min(options.engine.chunk, options.engine.context);
  return std::make_unique<Prefill>(file, scheme, sensible);
}

}  // namespace cairn::offload
