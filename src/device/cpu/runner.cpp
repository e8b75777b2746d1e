#include "device/runner.hpp"

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "device/cpu/executor.hpp"
#include "kernels/kernels.hpp"

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
    if (set_) {
      set_->set_limit(UINT64_MAX);
      set_->wait_until_read();
    }
  }

  const graph::Model& model() const override { return model_; }
  uint32_t context() const override { return options_.context; }
  uint32_t chunk() const override { return options_.chunk; }
  uint32_t length() const override { return length_; }
  uint64_t kv_bytes() const override { return cache_.bytes_used(length_); }
  uint64_t scratch_bytes() const override { return token_.scratch_bytes() + chunk_.scratch_bytes(); }

  void forward(std::span<const int32_t> tokens, uint32_t position, Logits wanted, float* logits) override {
    check_forward(*this, tokens, position);
    length_ = position;  // whatever stops the pass
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
    length_ = position + static_cast<uint32_t>(tokens.size());
  }

 private:
  gguf::File file_;  // shares the mapping
  graph::Model model_;
  kernels::Target target_;
  RunnerOptions options_;
  ThreadPool pool_;
  const std::unique_ptr<resident::Set> set_;  // of a stack's blocks
  Plan plan_;
  KvCache cache_;
  Machine machine_;
  TokenExecutor token_;
  ChunkExecutor chunk_;
  uint32_t length_ = 0;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Runner> make_cpu_runner(const gguf::File& file, const RunnerOptions& options) {
  if (options.context == 0 || options.chunk == 0) {
    fail(ErrorCode::invalid_argument, "context ({}) and chunk ({}) must be at least 1", options.context,
         options.chunk);
  }
  RunnerOptions sensible = options;
  sensible.chunk = std::min(options.chunk, options.context);
  return std::make_unique<cpu::CpuRunner>(file, sensible);
}

}  // namespace cairn::device
