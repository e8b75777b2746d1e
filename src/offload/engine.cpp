#include "offload/engine.hpp"

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "backends/cpu/executor.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "kernels/kernel_set.hpp"
#include "offload/cpu_accelerator.hpp"
#include "offload/layer_plan.hpp"
#include "offload/learned_seconds.hpp"
#include "offload/profile.hpp"
#include "offload/simulated_prefill.hpp"
#include "offload/two_workers.hpp"

namespace cairn::offload {
namespace {

using quantize::Input;

constexpr size_t kRows = cpu::RowExecutor::kMostRows;  // so short slices are rows, as decode's are
constexpr uint32_t kMostChunks = 16;                   // of one pass: what is in flight takes memory

// "simulated" or "simulated:PHONE": the CPU computes, the timeline is that of a phone on a virtual clock.
constexpr std::string_view kSimulated = "simulated";

const simulated::PhoneConstants* find_phone(std::string_view device) {
  const std::string_view rest = device.substr(kSimulated.size());
  const std::string_view phone = rest.empty() ? "snapdragon-8gen3" : rest.substr(1);
  const auto* found = simulated::find_phone(phone);
  if (found == nullptr || (!rest.empty() && rest.front() != ':')) {
    fail(ErrorCode::invalid_argument, "no simulated device '{}'; there is simulated:snapdragon-8gen3",
         device);
  }
  return found;
}

// The device failed, not the model or the caller.
struct DeviceFailure : Error {
  using Error::Error;
};

// How the threads are shared out while device and CPU work at the same time.
struct ThreadShares {
  uint32_t all, npu, cpu;
  ThreadShares(uint32_t threads, bool concurrent) : all(threads), npu(threads), cpu(threads) {
    if (!concurrent || threads < 2) return;
    cpu = std::max(1u, threads / 4);
    npu = threads - cpu;
  }
};

// OpenVINO's own threads on our processors: taking turns, all threads for each, is faster there than dividing
// them, and threads of ours that spin meanwhile cost both more than half.
bool shares_processors(const std::string& device) {
  return device == "openvino:CPU";
}
ThreadPool::Idle idle(const std::string& device) {
  return shares_processors(device) ? ThreadPool::Idle::sleep : ThreadPool::Idle::spin;
}

uint32_t thread_count(const engine::Options& options) {
  return options.threads == 0 ? static_cast<uint32_t>(usable_processors()) : options.threads;
}

class Prefill final : public PrefillEngine {
 public:
  Prefill(const gguf::File& file, const quantize::Scheme& scheme, const PrefillOptions& options)
      : file_(file),
        model_(graph::load(file_)),
        options_(options),
        target_(kernels::default_target()),
        static_(kernels::kernel_set(target_).exact),
        shares_(thread_count(options.engine), options.concurrent && !shares_processors(options.device)),
        pool_(shares_.all, idle(options.device)),
        npu_pool_(std::min<size_t>(shares_.npu, pool_.threads()), idle(options.device)),
        cpu_pool_(std::min<size_t>(shares_.cpu, pool_.threads()), idle(options.device)),
        plan_(file_, model_, target_, false),
        float_plan_(file_, model_, target_, true),
        sequences_(model_, cpu::kv_format(options.engine), file_.path()),
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
        layers_(plan_layers(float_plan_, model_)) {
    options_.accelerator.threads = shares_.npu;
    if (options.device.starts_with(kSimulated)) {
      phone_ = find_phone(options.device);
      options_.device = "cpu";
      if (options_.engine.chunk == 0) options_.engine.chunk = std::min(256u, options_.engine.context);
    }
    accelerator_ = options_.make_device ? options_.make_device(options_.accelerator)
                                        : make_accelerator(options_.device, options_.accelerator);
    use_scheme(scheme);
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
  uint64_t scratch_bytes() const override {
    uint64_t total = rows_.scratch_bytes();
    for (const auto& run : runs_) total += run->executor().scratch_bytes() + run->shadow_bytes();
    return total;
  }
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

  // Devices that take tiles run any number of them; others have the chunk's one length, padded.
  uint32_t graph_tokens(const ChunkRun& run, size_t tokens) const {
    (void)run;
    if (accelerator_->layout() == ActivationLayout::rows) return options_.engine.chunk;
    const auto lanes = static_cast<uint32_t>(static_.tile_tokens);
    return (static_cast<uint32_t>(tokens) + lanes - 1) / lanes * lanes;
  }

  void pass(const Work& work);
  TaskGraphShape graph_shape(uint32_t chunks) const;
  Timeline simulate_timeline(uint32_t chunks);
  void append(const Timeline& pass, double begin);
  void run_task(const Task& task);
  void run_product(uint32_t chunk, uint32_t layer, Input input);
  void run_floats(ChunkRun& run, const std::vector<cpu::Step>& steps, ThreadPool& pool);
  void run_attention(uint32_t chunk, uint32_t layer);
  void prepare(uint32_t chunk, uint32_t layer, Input input, ThreadPool& pool);
  void run_shadow(uint32_t chunk, uint32_t layer, Input input);
  void merge(uint32_t chunk, uint32_t layer, Input input) {
    runs_[chunk]->merge(products_->at(layer, input), cpu_pool_);
  }
  void write_logits(uint32_t chunk, size_t tokens, engine::Logits wanted, float* logits);
  bool cut(uint32_t layer) {
    return products_->at(layer, Input::gate_up).has_shadow() ||
           products_->at(layer, Input::down).has_shadow();
  }

  gguf::File file_;  // shares the mapping
  graph::Model model_;
  PrefillOptions options_;
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
  std::vector<std::unique_ptr<ChunkRun>> runs_;
  std::vector<uint32_t> stored_;  // by chunk: layers whose keys are in the cache
  std::unique_ptr<cpu::ChunkExecutor> head_;
  RowTransfer transfer_;
  const simulated::PhoneConstants* phone_ = nullptr;  // whose times the timeline shows, or null
  Timeline timeline_;                                 // of the passes of the last prompt
  Stopwatch since_;                                   // its begin
  size_t timeline_tokens_ = 0;
  uint32_t timeline_position_ = ~0u;   // where it ends
  const void* timeline_of_ = nullptr;  // the prompt's sequence
  PrefillStatistics statistics_;
};

void Prefill::pass(const Work& work) {
  const std::span<const int32_t> tokens = work.tokens;
  const uint32_t position = work.position;
  const uint32_t length = options_.engine.chunk;
  const auto chunks = static_cast<uint32_t>((tokens.size() + length - 1) / length);
  while (runs_.size() < chunks) runs_.push_back(std::make_unique<ChunkRun>(float_machine_, static_, length));
  stored_.assign(chunks, 0);
  const auto of_chunk = [&](uint32_t i) {
    const size_t begin = size_t{i} * length;
    return tokens.subspan(begin, std::min<size_t>(length, tokens.size() - begin));
  };
  for (uint32_t i = 0; i < chunks; ++i)
    runs_[i]->executor().begin(work.sequence, of_chunk(i), position + i * length);
  // Compiled before the clock starts: once for all prompts, however long.
  for (uint32_t layer = 0; layer < layers_.size(); ++layer) {
    engine::throw_if(work.cancelled);
    for (size_t input = 0; input < quantize::kInputs; ++input) {
      if (products_->at(layer, static_cast<Input>(input)).treatment.float_product) continue;
      for (const uint32_t i : {0u, chunks - 1})
        products_->compiled(layer, static_cast<Input>(input), graph_tokens(*runs_[i], of_chunk(i).size()),
                            *accelerator_);
    }
  }

  const TaskGraph graph = make_task_graph(graph_shape(chunks), options_.times ? *options_.times : learned_);
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
    run_task(task);
  });
  learned_.learn(now);
  if (phone_ != nullptr) now = simulate_timeline(chunks);
  append(now, phone_ != nullptr ? timeline_.makespan() : begin);
  timeline_tokens_ += tokens.size();
  timeline_position_ = position + static_cast<uint32_t>(tokens.size());
  timeline_of_ = &work.sequence;
  timeline_.title =
      fmt::format("{} tokens in chunks of {}, {}", timeline_tokens_, length, name(options_.policy));

  const auto last = static_cast<uint32_t>(layers_.size()) - 1;
  for (uint32_t i = 0; i < chunks; ++i) {
    merge(i, last, Input::down);
    const bool all = work.wanted == engine::Logits::all;
    if (all || (work.wanted == engine::Logits::last && i + 1 == chunks)) {
      const size_t offset = all ? size_t{i} * length * model_.parameters.vocabulary : 0;
      write_logits(i, of_chunk(i).size(), work.wanted, work.logits + offset);
    }
  }
  statistics_.graphs = products_->graphs();
  statistics_.cached_graphs = accelerator_->cached_graphs();
  statistics_.compile_seconds = accelerator_->compile_seconds();
  statistics_.device_weight_bytes = accelerator_->weight_bytes();
  statistics_.shadow_bytes = products_->hot_bytes();
  for (uint32_t i = 0; i < chunks; ++i) statistics_.shadow_bytes += runs_[i]->shadow_bytes();
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
  const std::string device = accelerator_->name() == "cpu" ? "CPU" : accelerator_->name();
  timeline_.npu = phone_ != nullptr ? phone_->npu : device + ", int8 products";
  timeline_.cpu = phone_ != nullptr ? phone_->cpu : "CPU, the rest";
}

Timeline Prefill::simulate_timeline(uint32_t chunks) {
  const TaskGraphShape shape = graph_shape(chunks);
  const std::vector<uint32_t> lengths(chunks, options_.engine.chunk);
  const SimulatedTimes times(simulated::Phone(*phone_), ModelSizes(model_), lengths, Stage::outliers,
                             shape.shadow);
  const std::unique_ptr<Scheduler> scheduler = make_scheduler(options_.policy);
  return simulate(make_task_graph(shape, times), *scheduler).timeline;
}

TaskGraphShape Prefill::graph_shape(uint32_t chunks) const {
  TaskGraphShape shape{.chunks = chunks, .layers = static_cast<uint32_t>(layers_.size())};
  for (uint32_t layer = 0; layer < layers_.size(); ++layer) {
    std::array<bool, quantize::kInputs> shadow{};
    for (size_t i = 0; i < shadow.size(); ++i)
      shadow[i] = products_->at(layer, static_cast<Input>(i)).has_shadow();
    shape.shadow.push_back(shadow);
  }
  shape.cpu_middle = true;
  return shape;
}

void Prefill::run_task(const Task& task) {
  const uint32_t chunk = task.chunk, layer = task.layer;
  ChunkRun& run = *runs_[chunk];
  const LayerPlan& plan = layers_[layer];
  switch (task.kind) {
    case TaskKind::attention_input:
      if (layer > 0) merge(chunk, layer - 1, Input::down);
      run_floats(run, plan.attention_input, cpu_pool_);
      prepare(chunk, layer, Input::qkv, cpu_pool_);
      break;
    case TaskKind::qkv:
      run_product(chunk, layer, Input::qkv);
      break;
    case TaskKind::attention:
      run_attention(chunk, layer);
      prepare(chunk, layer, Input::attention_output, cpu_pool_);
      break;
    case TaskKind::attention_output:
      run_product(chunk, layer, Input::attention_output);
      break;
    case TaskKind::ffn_input:
      merge(chunk, layer, Input::attention_output);
      run_floats(run, plan.ffn_input, cpu_pool_);
      prepare(chunk, layer, Input::gate_up, cpu_pool_);
      break;
    case TaskKind::ffn:
      run_product(chunk, layer, Input::gate_up);
      if (cut(layer)) break;
      run_floats(run, plan.ffn_middle, npu_pool_);
      prepare(chunk, layer, Input::down, npu_pool_);
      run_product(chunk, layer, Input::down);
      break;
    case TaskKind::ffn_middle:
      merge(chunk, layer, Input::gate_up);
      run_floats(run, plan.ffn_middle, cpu_pool_);
      prepare(chunk, layer, Input::down, cpu_pool_);
      break;
    case TaskKind::ffn_down:
      run_product(chunk, layer, Input::down);
      break;
    case TaskKind::shadow_qkv:
      run_shadow(chunk, layer, Input::qkv);
      break;
    case TaskKind::shadow_attention_output:
      run_shadow(chunk, layer, Input::attention_output);
      break;
    case TaskKind::shadow_gate_up:
      run_shadow(chunk, layer, Input::gate_up);
      break;
    case TaskKind::shadow_down:
      run_shadow(chunk, layer, Input::down);
      break;
    case TaskKind::prepare:
    case TaskKind::count:
      break;
  }
}

void Prefill::run_product(uint32_t chunk, uint32_t layer, Input input) {
  ChunkRun& run = *runs_[chunk];
  Product& product = products_->at(layer, input);
  if (product.treatment.float_product) {
    run.executor().run_step(product.step, npu_pool_);
    return;
  }
  const uint32_t tokens = graph_tokens(run, run.executor().tokens());
  AcceleratorGraph& graph = products_->compiled(layer, input, tokens, *accelerator_);
  try {
    if (accelerator_->layout() == ActivationLayout::tiles) {
      std::vector<float*> outputs;
      for (size_t i = 0; i < product.linears.size(); ++i) outputs.push_back(run.output(product, i));
      graph.run(run.values(), outputs);
    } else {
      transfer_.run(graph, tokens, run, product, static_, npu_pool_);
    }
  } catch (const Error& error) {
    throw DeviceFailure(error.code(), error.what());
  }
  run.finish(product, npu_pool_);
}

void Prefill::run_floats(ChunkRun& run, const std::vector<cpu::Step>& steps, ThreadPool& pool) {
  for (const cpu::Step& step : steps) run.executor().run_step(step, pool);
}

// A chunk's attention reads the keys of all before it, whose own attention may still wait: theirs are stored
// first.
void Prefill::run_attention(uint32_t chunk, uint32_t layer) {
  for (uint32_t i = 0; i <= chunk; ++i) {
    if (stored_[i] > layer) continue;
    merge(i, layer, Input::qkv);
    for (const cpu::Step& step : layers_[layer].attention) {
      if (step.kind == cpu::StepKind::attention) {
        runs_[i]->executor().store_keys(step, cpu_pool_);
        break;
      }
      runs_[i]->executor().run_step(step, cpu_pool_);
    }
    stored_[i] = layer + 1;
  }
  for (const cpu::Step& step : layers_[layer].attention) {
    if (step.kind == cpu::StepKind::attention) runs_[chunk]->executor().attend(step, cpu_pool_);
  }
}

void Prefill::prepare(uint32_t chunk, uint32_t layer, Input input, ThreadPool& pool) {
  runs_[chunk]->prepare(products_->at(layer, input), pool);
}

void Prefill::run_shadow(uint32_t chunk, uint32_t layer, Input input) {
  file_.require_whole();  // cold columns are about to be read from it
  statistics_.shadow_elements += runs_[chunk]->outliers();
  const ShadowColumns::Counts counts = runs_[chunk]->run_shadow(products_->at(layer, input), cpu_pool_);
  statistics_.hot_columns += counts.hot;
  statistics_.cold_columns += counts.cold;
  statistics_.cold_bytes += counts.cold_bytes;
}

void Prefill::write_logits(uint32_t chunk, size_t tokens, engine::Logits wanted, float* logits) {
  cpu::ChunkExecutor& executor = runs_[chunk]->executor();
  if (wanted == engine::Logits::last) {
    executor.hand_over(tokens - 1, rows_);
    rows_.run_head(logits);
    return;
  }
  if (!head_) head_ = std::make_unique<cpu::ChunkExecutor>(machine_, options_.engine.chunk);
  head_->take_hidden(executor);
  head_->run_head(tokens, logits);
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
