#include "device/runner.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>

#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/memory_pressure.hpp"
#include "device/cpu/executor.hpp"
#include "kernels/kernels.hpp"
#include "resident/account.hpp"
#include "resident/governor.hpp"

namespace cairn::device {
namespace cpu {
namespace {

// Up to this many tokens go through the model one by one: unpacking panels would cost more.
constexpr size_t kFewTokens = 2;

// --precision f32 is what other modes are measured against: its cache rounds nothing either, unless int8 was
// asked for.
kernels::KvFormat kv_format(const RunnerOptions& options) {
  if (options.kv == KvType::i8) return kernels::KvFormat::i8;
  return options.precision == Precision::f32 ? kernels::KvFormat::f32 : kernels::KvFormat::f16;
}

// The weights of a pass, which may be cut while they are read: check() before its results are used.
class Reading {
 public:
  explicit Reading(const gguf::File& file) : file_(file) {
    file_.require_whole();
    file_.tolerate_losses(true);
  }
  ~Reading() { file_.tolerate_losses(false); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;
  void check() const { file_.require_read(); }

 private:
  const gguf::File& file_;
};

class CpuRunner final : public Runner {
 public:
  CpuRunner(const gguf::File& file, const RunnerOptions& options)
      : file_(file),
        model_(graph::load(file_)),
        target_(kernels::default_target()),
        options_(options),
        pool_(options.threads == 0 ? usable_processors() : options.threads),
        set_(stack::is_stack(file_) ? std::make_unique<resident::Set>(file_) : nullptr),
        plan_(file_, model_, target_, options.precision == Precision::f32, set_.get()),
        cache_(model_.parameters, options.context, kv_format(options)),
        machine_{model_,
                 plan_,
                 kernels::gemm_kernels(target_),
                 kernels::vector_kernels(target_),
                 kernels::attention_kernels(target_),
                 pool_,
                 cache_,
                 options_.observer ? &options_.observer : nullptr,
                 [this] { throw_if_cancelled(); }},
        token_(machine_),
        chunk_(machine_, options.chunk) {
    if (set_) account_ = std::make_unique<resident::Account>(*set_);
  }
  ~CpuRunner() override { governor_.reset(); }

  const graph::Model& model() const override { return model_; }
  uint32_t context() const override { return options_.context; }
  uint32_t chunk() const override { return options_.chunk; }
  uint32_t length() const override { return length_; }
  uint64_t kv_bytes() const override { return cache_.bytes_used(length_); }
  uint64_t scratch_bytes() const override { return token_.scratch_bytes() + chunk_.scratch_bytes(); }

  ThreadUse thread_use() const override { return pool_.use(); }

  void forward(std::span<const int32_t> tokens, uint32_t position, Logits wanted, float* logits) override {
    check_forward(*this, tokens, position);
    if (set_) before_pass(tokens.size(), position);
    length_ = position;  // whatever stops the pass
    const Reading reading(file_);
    const resident::Pass pass(set_.get());
    const size_t vocabulary = model_.parameters.vocabulary;
    if (tokens.size() <= kFewTokens) {
      for (size_t i = 0; i < tokens.size(); ++i) {
        const bool last = i + 1 == tokens.size();
        float* out = wanted == Logits::all            ? logits + i * vocabulary
                     : wanted == Logits::last && last ? logits
                                                      : nullptr;
        token_.run(tokens[i], position + static_cast<uint32_t>(i), out);
      }
    } else {
      chunk_.run(tokens, position);
      if (wanted == Logits::all) {
        chunk_.run_head(tokens.size(), logits);
      } else if (wanted == Logits::last) {
        chunk_.hand_over(tokens.size() - 1, token_);
        token_.run_head(logits);
      }
    }
    reading.check();
    length_ = position + static_cast<uint32_t>(tokens.size());
  }

  bool elastic() const override { return set_ != nullptr; }
  void set_memory(uint64_t bytes) override {
    if (!set_) return Runner::set_memory(bytes);
    if (bytes != 0) check_budget(bytes, 0);
    const std::lock_guard lock(governing_);
    chosen_ = true;
    governor_.reset();
    account_->set_budget(bytes == 0 ? resident::kUnlimited : bytes);
  }
  device::MemoryStatus memory() const override {
    if (!set_) return {};
    const resident::Status s = set_->status();
    const uint64_t budget = account_->budget();
    return {budget == resident::kUnlimited ? 0 : budget,
            resident_memory(),
            s.resident_bytes,
            s.block_bytes,
            s.bytes_read,
            s.bits,
            s.problems};
  }

 private:
  void check_budget(uint64_t bytes, uint64_t coming) const {
    const uint64_t least = account_->least(coming);
    if (bytes >= least) return;
    fail(ErrorCode::invalid_argument,
         "{}: a budget of {} is too small: with the stack's base alone ({}) this process needs {}",
         file_.path(), mebibytes(bytes), mebibytes(set_->status().base_bytes), mebibytes(least));
  }

  // What a pass will touch for the first time has its room before it starts.
  void before_pass(size_t tokens, uint32_t position) {
    const uint64_t kv = cache_.bytes_used(position + static_cast<uint32_t>(tokens));
    const uint64_t scratch =
        tokens <= kFewTokens
            ? 0
            : chunk_.scratch_bytes() * std::min<size_t>(tokens + 31, options_.chunk) / options_.chunk;
    const uint64_t coming = kv - std::min(kv, kv_touched_) + scratch - std::min(scratch, scratch_touched_);
    kv_touched_ = std::max(kv_touched_, kv);
    scratch_touched_ = std::max(scratch_touched_, scratch);
    if (opened_) return account_->before_pass(coming);
    // The tokenizer and whatever else was made meanwhile is in memory now: only now is it known what is left.
    choose_budget(coming);
    account_->before_pass(coming);
    // Nothing is held while the stack is read: set_memory may come at any time and change what is waited for.
    while (!set_->wait_until_read(std::chrono::milliseconds(50))) throw_if_cancelled();
    opened_ = true;
  }

  // What the options say, unless somebody has called set_memory already.
  void choose_budget(uint64_t coming) {
    const std::lock_guard lock(governing_);
    if (chosen_) return;
    if (options_.memory_auto) {
      governor_ = std::make_unique<resident::Governor>(
          MemoryPressure(), [this](uint64_t budget) { account_->set_budget(budget); });
    } else {
      if (options_.memory != 0) check_budget(options_.memory, coming);
      account_->set_budget(options_.memory == 0 ? resident::kUnlimited : options_.memory);
    }
    chosen_ = true;
  }

  gguf::File file_;  // shares the mapping
  graph::Model model_;
  kernels::Target target_;
  RunnerOptions options_;
  ThreadPool pool_;
  const std::unique_ptr<resident::Set> set_;  // of a stack's blocks, like the three below
  std::unique_ptr<resident::Account> account_;
  std::unique_ptr<resident::Governor> governor_;
  std::mutex governing_;  // of governor_, which set_memory ends from any thread, and of chosen_
  bool chosen_ = false;   // a budget
  bool opened_ = false;   // the first pass has waited for what it allows
  Plan plan_;
  KvCache cache_;
  Machine machine_;
  TokenExecutor token_;
  ChunkExecutor chunk_;
  uint32_t length_ = 0;
  uint64_t kv_touched_ = 0, scratch_touched_ = 0;  // bytes that have been in use
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Runner> make_cpu_runner(const gguf::File& file, const RunnerOptions& options) {
  if (options.context == 0 || options.chunk == 0) {
    fail(ErrorCode::invalid_argument, "context ({}) and chunk ({}) must be at least 1", options.context,
         options.chunk);
  }
  warn_of_fixed_memory(file, options);
  RunnerOptions sensible = options;
  sensible.chunk = std::min(options.chunk, options.context);
  return std::make_unique<cpu::CpuRunner>(file, sensible);
}

}  // namespace cairn::device
