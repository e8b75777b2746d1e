#include "backends/cpu/engine.hpp"

#include <algorithm>
#include <memory>
#include <mutex>

#include "backends/cpu/budget.hpp"
#include "backends/cpu/drafter.hpp"
#include "backends/cpu/executor.hpp"
#include "base/error.hpp"
#include "base/memory_pressure.hpp"
#include "engine/reading.hpp"
#include "formats/stack_file.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"

namespace cairn::cpu {
namespace {

using engine::Logits;
using engine::Reading;
using engine::Slice;

// Whether the weights shall be copied. Small files gain nothing, and a large copy would leave too little to
// others; who limits the memory does not want it twice. A stack's are in memory of our own anyway.
bool worth_copying(const gguf::File& file, const engine::Options& options) {
  constexpr uint64_t kLeast = uint64_t{16} << 20;
  if (options.weights != engine::Weights::automatic) return options.weights == engine::Weights::copied;
  return file.file_bytes() >= kLeast && options.memory == 0 && !options.memory_auto &&
         !stack::is_stack(file) && file.file_bytes() <= MemoryPressure().read().available / 2;
}

// Whether experts come and go under a budget. Their file is mapped once more then: pages of a mapping that
// somebody else copies into memory of our own would be lost.
bool experts_move(const gguf::File& file, const engine::Options& options) {
  if (options.memory == 0 || options.weights == engine::Weights::copied) return false;
  const std::string architecture(file.text("general.architecture", ""));
  return file.integer(architecture + ".expert_count", 0) != 0;  // dense files of some families say 0
}

// Of keys and values that stay for the next text where nothing else is to be made room for.
constexpr size_t kSpareBytes = size_t{32} << 20;

engine::Options fitted(engine::Options options, const graph::HyperParameters& model) {
  if (!model.causal) {
    // A text is read in one step, and nothing of it is kept. A vector has no second token to make up for the
    // noise of 8-bit inputs: 1 % of its length with all-MiniLM.
    options.chunk = options.context = std::min(options.context, model.context);
    options.kv = engine::KvType::f16;
    options.precision = engine::Precision::f32;
    return options;
  }
  if (options.repeatable) options.chunk = std::min<uint32_t>(options.chunk, RowExecutor::kMostRows);
  return options;
}

class CpuEngine final : public engine::Engine {
 public:
  CpuEngine(const gguf::File& file, const engine::Options& options)
      : file_(experts_move(file, options) ? gguf::File(file.path()) : file),
        model_(graph::load(file_, options.context)),
        target_(kernels::default_target()),
        options_(fitted(options, model_.parameters)),
        pool_(options.pool ? options.pool
                           : std::make_shared<ThreadPool>(options.threads == 0 ? usable_processors()
                                                                               : options.threads)),
        budget_(file_, options_),
        plan_(file_, model_, target_, options_.precision == engine::Precision::f32, budget_.set()),
        expert_pages_(experts_move(file, options)
                          ? std::make_unique<ExpertPages>(plan_, model_.parameters.experts, options.memory)
                          : nullptr),
        sequences_(model_, kv_format(options_), file_.path(),
                   budget_.set() != nullptr || expert_pages_ ? 0 : kSpareBytes,
                   options.observer ? 0 : rows()),
        machine_{model_,
                 plan_,
                 *pool_,
                 sequences_.format(),
                 options_.context,
                 options_.observer ? &options_.observer : nullptr,
                 [this] { engine::throw_if(*cancelled_); },
                 expert_pages_.get()},
        rows_(machine_),
        chunk_(machine_, options_.chunk),
        drafter_(model_, sequences_, rows_) {
    if (worth_copying(file_, options)) file_.own(*pool_);
  }

  const graph::Model& model() const override { return model_; }
  uint32_t context() const override { return options_.context; }
  uint32_t chunk() const override { return options_.chunk; }
  uint32_t rows() const override { return std::min<uint32_t>(RowExecutor::kMostRows, options_.chunk); }
  uint64_t kv_bytes() const override { return sequences_.bytes(); }
  uint64_t spare_kv_bytes() const override { return sequences_.spare_bytes(); }
  uint64_t scratch_bytes() const override { return rows_.scratch_bytes() + chunk_.scratch_bytes(); }
  ThreadUse thread_use() const override { return pool_->use(); }

  std::unique_ptr<engine::Sequence> make_sequence() override { return sequences_.make(); }

  void step(std::span<const Slice> slices, const engine::Cancelled& cancelled) override {
    const std::lock_guard lock(one_step_);
    cancelled_ = &cancelled;
    sequences_.step(*this, slices, [&] {
      check_whole(slices);
      prepare(slices);
      run(slices);
    });
  }

  bool predicts() const override { return !model_.draft.empty(); }

  void draft(std::span<const Slice> slices, double bits, const engine::Cancelled& cancelled) override {
    if (predicts()) return predict(slices, cancelled);
    if (!elastic()) return Engine::draft(slices, bits, cancelled);
    for (const Slice& slice : slices) {
      if (slice.tokens.size() > rows())
        fail(ErrorCode::invalid_argument, "a draft's slice takes 1 to {} tokens, not {}", rows(),
             slice.tokens.size());
    }
    const std::lock_guard lock(one_step_);
    cancelled_ = &cancelled;
    sequences_.step(*this, slices, [&] {
      prepare(slices);
      run(slices, bits);
    });
  }

  void reserve(engine::Sequence& sequence, uint32_t tokens) override {
    const std::lock_guard lock(one_step_);
    cancelled_ = &never_;
    make_room(sequences_.own(sequence).coming(tokens), 0);
    sequences_.extend(sequence, tokens);
  }

  engine::Blocks blocks() const override {
    if (sequences_.has_state()) return {};  // a block of keys and values is of no use without the state there
    return {kernels::kPagePositions, sequences_.block_bytes(),
            fmt::format("cpu 1 {} {} kv {}{}{}{}", kernels::name(target_),
                        options_.precision == engine::Precision::f32 ? "f32" : "standard",
                        static_cast<int>(sequences_.format()), machine_.rotates() ? " packed 2" : "",
                        options_.repeatable ? " rows" : "", model_.parameters.rope.is_long() ? " long" : "")};
  }
  void append_block(engine::Sequence& sequence, std::span<const std::byte> block) override {
    if (sequences_.has_state()) return Engine::append_block(sequence, block);
    sequences_.check_block(sequence, block.size(), options_.context);
    reserve(sequence, kernels::kPagePositions);
    const std::lock_guard lock(one_step_);
    sequences_.own(sequence).write_block(block);
  }

  bool elastic() const override { return budget_.set() != nullptr; }
  void set_memory(uint64_t bytes) override {
    if (!elastic()) return Engine::set_memory(bytes);
    budget_.set_memory(bytes);
  }
  void set_memory_auto() override {
    if (!elastic()) return Engine::set_memory(0);
    budget_.set_memory_auto();
  }
  engine::MemoryStatus memory() const override {
    return elastic() ? budget_.status() : engine::MemoryStatus{};
  }

 private:
  // Whether its tokens are rows: unpacking panels would cost more. What is observed goes as chunks.
  bool is_short(const Slice& slice) const {
    return slice.tokens.size() <= rows() && !options_.observer && model_.parameters.causal;
  }

  // A model that makes embeddings sees a text as a whole, and has no head.
  void check_whole(std::span<const Slice> slices) const {
    if (model_.parameters.causal) return;
    for (const Slice& slice : slices) {
      if (slice.wanted != Logits::none) graph::require_head(model_.parameters, file_.path());
      if (slice.sequence->length() != 0) {
        fail(ErrorCode::invalid_argument,
             "{}: architecture '{}' reads a text in one step: {} tokens do not go behind {}", file_.path(),
             model_.parameters.architecture, slice.tokens.size(), slice.sequence->length());
      }
    }
  }

  // What a step will touch for the first time has its room before it starts.
  void prepare(std::span<const Slice> slices) {
    uint64_t tokens = 0;
    for (const Slice& slice : slices) {
      if (!is_short(slice)) tokens = std::max<uint64_t>(tokens, slice.tokens.size());
    }
    const uint64_t scratch =
        tokens == 0
            ? 0
            : chunk_.scratch_bytes() * std::min<uint64_t>(tokens + 31, options_.chunk) / options_.chunk;
    make_room(sequences_.coming(slices), scratch - std::min(scratch, scratch_touched_));
    scratch_touched_ = std::max(scratch_touched_, scratch);
    for (const Slice& slice : slices)
      sequences_.extend(*slice.sequence, static_cast<uint32_t>(slice.tokens.size()));
  }

  void make_room(uint64_t pages, uint64_t scratch) {
    if (expert_pages_) expert_pages_->make_room(pages + scratch, file_.path());
    budget_.make_room(pages, scratch, *cancelled_);
  }

  // The layer that drafts takes the next token behind each sequence, or behind its guesses.
  void predict(std::span<const Slice> slices, const engine::Cancelled& cancelled) {
    const std::lock_guard lock(one_step_);
    cancelled_ = &cancelled;
    engine::check_slices(*this, slices);
    drafter_.check(slices, options_.context);
    uint64_t coming = 0;
    for (const Slice& slice : slices) {
      const PagedSequence& sequence = sequences_.own(*slice.sequence);
      coming += sequence.coming(sequence.guesses() + 1);
    }
    make_room(coming, 0);
    for (const Slice& slice : slices)
      sequences_.extend(*slice.sequence, sequences_.own(*slice.sequence).guesses() + 1);
    const Reading reading(file_);
    drafter_.guess(slices);
    reading.check();
  }

  // bits: of a draft; 0: it is none.
  void run(std::span<const Slice> slices, double bits = 0) {
    const Reading reading(file_);
    const resident::Pass pass(budget_.set());
    if (bits > 0) budget_.set()->set_draft(bits);
    std::vector<Row> rows;
    const std::vector<float*> hidden = drafter_.hidden(slices);
    for (size_t s = 0; s < slices.size(); ++s) {
      const Slice& slice = slices[s];
      if (!is_short(slice)) continue;
      PagedSequence& sequence = sequences_.own(*slice.sequence);
      for (size_t i = 0; i < slice.tokens.size(); ++i)
        rows.push_back(row_of(slice, sequence, i, model_.parameters, hidden[s]));
    }
    for (size_t at = 0; at < rows.size(); at += RowExecutor::kMostRows) {
      if (at > 0) engine::throw_if(*cancelled_);
      rows_.run(std::span(rows).subspan(at, std::min(RowExecutor::kMostRows, rows.size() - at)), bits > 0);
    }
    for (size_t s = 0; s < slices.size(); ++s) {
      if (!is_short(slices[s])) run_long(slices[s], hidden[s]);
      if (predicts()) drafter_.follow(slices[s], hidden[s], is_short(slices[s]));
    }
    reading.check();
  }

  void run_long(const Slice& slice, float* hidden) {
    PagedSequence& sequence = sequences_.own(*slice.sequence);
    chunk_.run(sequence, slice.tokens, sequence.length());
    if (slice.wanted == Logits::last) {
      chunk_.hand_over(slice.tokens.size() - 1, rows_);
      rows_.run_head(slice.logits);
    }
    float* const all = slice.wanted == Logits::all ? slice.logits : nullptr;
    if (all != nullptr || hidden != nullptr) chunk_.run_head(slice.tokens.size(), all, hidden);
  }

  gguf::File file_;  // shares the mapping, unless experts move
  graph::Model model_;
  kernels::Target target_;
  engine::Options options_;
  const std::shared_ptr<ThreadPool> pool_;
  Budget budget_;
  Plan plan_;
  const std::unique_ptr<ExpertPages> expert_pages_;
  const Sequences sequences_;
  std::mutex one_step_;
  const engine::Cancelled never_{};
  const engine::Cancelled* cancelled_ = &never_;  // of the step that runs
  Machine machine_;
  RowExecutor rows_;
  ChunkExecutor chunk_;
  Drafter drafter_;
  uint64_t scratch_touched_ = 0;  // bytes that have been in use
};

}  // namespace

std::unique_ptr<engine::Engine> make_engine(const gguf::File& file, const engine::Options& options) {
  if (options.context == 0 || options.chunk == 0) {
    fail(ErrorCode::invalid_argument, "context ({}) and chunk ({}) must be at least 1", options.context,
         options.chunk);
  }
  if (!experts_move(file, options)) engine::warn_of_fixed_memory(file, options);
  engine::Options sensible = options;
  sensible.chunk = std::min(options.chunk, options.context);
  return std::make_unique<CpuEngine>(file, sensible);
}

}  // namespace cairn::cpu
