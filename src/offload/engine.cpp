#include "offload/engine.hpp"

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "backends/cpu/budget.hpp"
#include "backends/cpu/executor.hpp"
#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "formats/stack_file.hpp"
#include "kernels/kernel_set.hpp"
#include "offload/chunk_tasks.hpp"
#include "offload/cpu_accelerator.hpp"
#include "offload/device_copy.hpp"
#include "offload/engine_parts.hpp"
#include "offload/layers_engine.hpp"
#include "offload/learned_seconds.hpp"
#include "offload/profile.hpp"
#include "offload/prompt_timeline.hpp"
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

// The device's copy of a stack is to be given back, in the middle of a prompt.
struct CopyAskedBack {};

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
        budget_(file_, options.engine),
        set_(budget_.set()),
        plan_(file_, model_, target_, false, set_),
        float_plan_(file_, model_, target_, true, set_),
        sequences_(model_, cpu::kv_format(options.engine), file_.path(), 0, 0),
        machine_{model_, plan_, pool_, sequences_.format(), options.engine.context},
        float_machine_{model_, float_plan_, pool_, sequences_.format(), options.engine.context},
        rows_(machine_),
        layers_(plan_layers(float_plan_, model_)),
        tasks_({file_, float_machine_, static_, layers_, npu_pool_, cpu_pool_, options_.warn, set_, [this] {
                  if (copy_ && copy_->asked() && !statistics_.fell_back) throw CopyAskedBack();
                }}) {
    options_.accelerator.threads = shares_.npu;
    options_.accelerator.pool = &npu_pool_;
    if (set_ == nullptr && options_.npu_bits > 0)
      options_.accelerator.weight_bits = static_cast<uint32_t>(options_.npu_bits);
    accelerator_ = make_accelerator(options_.device, options_.accelerator);
    const bool copied = set_ != nullptr && !accelerator_->traits().takes_moving_weights;
    if (options_.npu_bits == 0) options_.npu_bits = kUsualNpuBits;
    if (copied) copied_blocks_ = set_->blocks_of(options_.npu_bits);
    use_scheme(scheme);
    if (options_.engine.chunk == 0)
      options_.engine.chunk = std::min(accelerator_->traits().usual_chunk, options_.engine.context);
    if (options_.engine.chunk == 0) {
      const resident::Pass pass(set_);
      options_.engine.chunk = profile_chunk(*products_, *accelerator_, static_, options_.engine.context);
      if (copied) {  // what was compiled to be measured is no part of the copy
        products_->forget_compiled();
        accelerator_.reset();
        accelerator_ = make_accelerator(options_.device, options_.accelerator);
      }
    }
    if (copied) {
      copy_ = std::make_unique<DeviceCopy>(set_->bytes_of(copied_blocks_), [this] {
        products_->forget_compiled();
        accelerator_.reset();
      });
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
  engine::Blocks blocks() const override {
    return device_blocks(sequences_, options_, fmt::format("{:016x}", scheme_.fingerprint()));
  }
  void append_block(engine::Sequence& sequence, std::span<const std::byte> block) override {
    sequences_.check_block(sequence, block.size(), options_.engine.context);
    reserve(sequence, kernels::kPagePositions);
    const std::lock_guard lock(one_step_);
    sequences_.own(sequence).write_block(block);
  }
  const Timeline& timeline() const override { return timeline_.timeline(); }
  const PrefillStatistics& statistics() const override { return statistics_; }

  void set_scheme(const quantize::Scheme& scheme) override {
    const std::lock_guard lock(one_step_);
    const CopyUse use(copy_.get());
    use_scheme(scheme);
    if (!copy_ || copy_->asked()) return;
    copy_->hold(0, 0);
    accelerator_.reset();  // it counts what it has compiled so far
    accelerator_ = make_accelerator(options_.device, options_.accelerator);
  }

  void step(std::span<const engine::Slice> slices, const engine::Cancelled& cancelled) override {
    for (const engine::Slice& slice : slices) {
      if (slice.hidden != nullptr)
        fail(ErrorCode::unsupported, "an engine with an accelerator hands out no hidden states");
    }
    const std::lock_guard lock(one_step_);
    const CopyUse use(copy_.get());
    sequences_.step(*this, slices, [&] {
      file_.require_whole();
      uint64_t scratch = 0;  // of one chunk: who is given more asks for more
      for (const engine::Slice& slice : slices) {
        if (set_ != nullptr && slice.tokens.size() > kRows)
          scratch = std::max(scratch, coming(std::min<size_t>(slice.tokens.size(), options_.engine.chunk)));
      }
      budget_.make_room(sequences_.coming(slices), scratch, cancelled);
      for (const engine::Slice& slice : slices) {
        sequences_.extend(*slice.sequence, static_cast<uint32_t>(slice.tokens.size()));
        run(slice, cancelled);
      }
    });
  }

  // Whether a device is there or not: a draft's few tokens are rows.
  void draft(std::span<const engine::Slice> slices, double bits,
             const engine::Cancelled& cancelled) override {
    if (!elastic()) return Engine::draft(slices, bits, cancelled);
    for (const engine::Slice& slice : slices) {
      if (slice.tokens.size() > kRows)
        fail(ErrorCode::invalid_argument, "a draft's slice takes 1 to {} tokens, not {}", kRows,
             slice.tokens.size());
    }
    const std::lock_guard lock(one_step_);
    sequences_.step(*this, slices, [&] {
      budget_.make_room(sequences_.coming(slices), 0, cancelled);
      for (const engine::Slice& slice : slices)
        sequences_.extend(*slice.sequence, static_cast<uint32_t>(slice.tokens.size()));
      const resident::Pass pass(set_);
      set_->set_draft(bits);
      for (const engine::Slice& slice : slices) run_rows(slice, slice.tokens.size(), cancelled, true);
    });
  }

  void reserve(engine::Sequence& sequence, uint32_t tokens) override {
    const std::lock_guard lock(one_step_);
    budget_.make_room(sequences_.own(sequence).coming(tokens), 0, {});
    sequences_.extend(sequence, tokens);
  }

  bool elastic() const override { return set_ != nullptr; }
  void set_memory(uint64_t bytes) override {
    if (!elastic()) return Engine::set_memory(bytes);
    budget_.set_memory(bytes);
  }
  void set_memory_auto() override {
    if (!elastic()) return Engine::set_memory(0);
    budget_.set_memory_auto();
  }
  engine::MemoryStatus memory() const override {
    if (!elastic()) return {};
    engine::MemoryStatus status = budget_.status();
    status.device = copy_ ? copy_->bytes() : 0;
    return status;
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
    if (alone > 0) {
      const resident::Pass pass(set_);
      run_rows(slice, alone, cancelled, false);
    }
    if (alone == tokens.size()) return;
    prepare_device(cancelled);
    const bool all = slice.wanted == engine::Logits::all, last = slice.wanted == engine::Logits::last;
    const size_t most = make_chunks(tokens.size() - alone, cancelled);
    for (size_t begin = alone; begin < tokens.size(); begin += most) {
      const auto part = tokens.subspan(begin, std::min(most, tokens.size() - begin));
      const bool ends = begin + part.size() == tokens.size();
      float* const out = all ? slice.logits + begin * vocabulary : slice.logits;
      run_part({sequence, part, position + static_cast<uint32_t>(begin),
                last && !ends ? engine::Logits::none : slice.wanted, out, cancelled});
    }
  }

  // The slice's first tokens as decode takes them. Inside of a pass.
  void run_rows(const engine::Slice& slice, size_t count, const engine::Cancelled& cancelled, bool draft) {
    cpu::PagedSequence& sequence = sequences_.own(*slice.sequence);
    for (size_t begin = 0; begin < count; begin += kRows) {
      engine::throw_if(cancelled);
      cpu::Row rows[kRows];
      const size_t some = std::min(kRows, count - begin);
      for (size_t i = 0; i < some; ++i) rows[i] = cpu::row_of(slice, sequence, begin + i, model_.parameters);
      rows_.run({rows, some}, draft);
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

  void run_part(const Work& work) {
    const auto once = [&] {
      const resident::Pass held(set_);
      pass(work);
    };
    try {
      once();
      return;
    } catch (const DeviceFailure& failure) {
      fall_back(fmt::format("{}; the CPU goes on in its place", failure.what()));
    } catch (const CopyAskedBack&) {
      give_copy_back();
    }
    budget_.make_room(0, coming(work.tokens.size()), work.cancelled);
    once();
  }

  void use_scheme(const quantize::Scheme& scheme) {
    products_ = std::make_unique<Products>(float_plan_, layers_, scheme, static_,
                                           StackCopy{copied_blocks_, options_.warn});
    scheme_ = scheme;
  }

  void fall_back(const std::string& line) {
    if (options_.warn) options_.warn(line);
    products_->forget_compiled();
    accelerator_ = make_cpu_accelerator(options_.accelerator);
    statistics_.fell_back = true;
    if (copy_) copy_->leave();
  }
  void give_copy_back() {
    fall_back(fmt::format(
        "{}: its copy of the weights ({}) is given back, as memory is short; the CPU prefills from here on",
        options_.device, mebibytes(copy_->given_back())));
  }

  void prepare_device(const engine::Cancelled& cancelled);
  void compile_copy(const engine::Cancelled& cancelled);
  size_t make_chunks(size_t tokens, const engine::Cancelled& cancelled);
  // Bytes that so many tokens in flight would touch for the first time. A copy may just have gone.
  uint64_t coming(size_t tokens) {
    return accelerator_ ? tasks_.coming(tokens, *accelerator_, options_.engine.chunk) : 0;
  }

  void pass(const Work& work);
  Timeline simulate_timeline();
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
  cpu::Budget budget_;
  resident::Set* const set_;  // of a stack
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
  size_t copied_blocks_ = 0;            // of a stack, that the device compiles in
  std::unique_ptr<DeviceCopy> copy_;    // null: no stack, or a device that takes weights anew
  ChunkTasks tasks_;
  std::unique_ptr<cpu::ChunkExecutor> head_;
  PromptTimeline timeline_;  // of the last one
  PrefillStatistics statistics_;
};

// What the device needs before it takes part, outside of passes: a copy's blocks make room first.
void Prefill::prepare_device(const engine::Cancelled& cancelled) {
  if (!copy_ || statistics_.fell_back) return;
  if (!copy_->asked()) compile_copy(cancelled);
  if (copy_->asked()) give_copy_back();
}

void Prefill::compile_copy(const engine::Cancelled& cancelled) {
  resident::Account& account = resident::Account::process();
  if (accelerator_->traits().layout != ActivationLayout::rows) return;  // of lengths that are not known yet
  const uint32_t length = options_.engine.chunk;
  const uint64_t missing = products_->int8_bytes(length) * traits_.weight_copies;
  const uint64_t blocks = copy_->worth_blocks();
  if (missing == 0) return;
  if (!account.has_room(missing, blocks)) {
    const std::string line = fmt::format(
        "{}: the budget of {} has no room for {}'s copy of the weights ({}) beside the {} that it is made "
        "of: "
        "{} would do; --prefill cpu holds no copy",
        file_.path(), mebibytes(account.budget()), options_.device, mebibytes(missing), mebibytes(blocks),
        mebibytes(account.least(missing) + copy_->bytes() - set_->base_bytes() + blocks));
    if (budget_.fixed()) fail(ErrorCode::out_of_memory, "{}", line);
    fall_back(line + "; the CPU prefills");
    return;
  }
  for (uint32_t layer = 0; layer < layers_.size(); ++layer) {
    for (size_t i = 0; i < quantize::kInputs; ++i) {
      const auto input = static_cast<quantize::Input>(i);
      const Product& product = products_->at(layer, input);
      if (product.treatment.float_product || products_->has(layer, input, length)) continue;
      engine::throw_if(cancelled);
      // Beside what stays, compilers and the file's planes take as much for a moment.
      account.before_pass((traits_.weight_copies + 1) * product.int8_bytes());
      if (copy_->asked()) return;
      products_->compiled(layer, input, length, *accelerator_);
      copy_->hold(accelerator_->weight_bytes(), accelerator_->outside_bytes());
    }
  }
}

// Makes room for the chunks of so many tokens. Returns how many tokens are to be in flight at a time: under a
// budget, what is in flight takes an eighth of the memory that blocks have.
size_t Prefill::make_chunks(size_t tokens, const engine::Cancelled& cancelled) {
  const size_t length = options_.engine.chunk;
  size_t chunks = kMostChunks;
  if (set_ != nullptr) {
    const uint64_t blocks = set_->resident_bytes() / 8 * 7;
    const auto in_flight = [&] { return std::min(tokens, chunks * length); };
    while (chunks > 1 && !resident::Account::process().has_room(coming(in_flight()), blocks)) chunks /= 2;
    budget_.make_room(0, coming(in_flight()), cancelled);
  }
  return chunks * length;
}

void Prefill::pass(const Work& work) {
  const std::span<const int32_t> tokens = work.tokens;
  const uint32_t position = work.position;
  const uint32_t length = options_.engine.chunk;
  tasks_.begin({work.sequence, tokens, position, length}, *products_, *accelerator_, work.cancelled);
  const TaskGraph graph = make_task_graph(tasks_.shape(), options_.times ? *options_.times : learned_);
  timeline_.begin(&work.sequence, position);
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
  timeline_.append(now, tokens.size(), simulated);
  // The CPU in the device's place is still one processor: its two shares of the threads say so.
  timeline_.call(
      fmt::format("{} tokens in chunks of {}, {}", timeline_.tokens(), length, name(options_.policy)),
      simulated ? std::string(traits_.phone->npu) : accelerator_->traits().label + ", int8 products",
      std::string(simulated ? traits_.phone->cpu : "CPU, the rest"));

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

Timeline Prefill::simulate_timeline() {
  TaskGraphShape shape = tasks_.shape();
  shape.cpu_middle = false;  // the phone's NPU has the activation, whose time is in that of gate and up
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
  check_npu_bits(file, options);
  PrefillOptions sensible = options;
  if (options.engine.context == 0)
    fail(ErrorCode::invalid_argument, "a context of 0 positions holds nothing");
  sensible.engine.chunk = std::min(options.engine.chunk, options.engine.context);
  if (options.form != NpuForm::products) return make_layers_engine(file, sensible);
  return std::make_unique<Prefill>(file, scheme, sensible);
}

}  // namespace cairn::offload
