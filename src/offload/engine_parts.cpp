#include "offload/engine_parts.hpp"

#include "base/error.hpp"
#include "base/thread_pool.hpp"
#include "formats/stack_file.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::offload {

uint32_t thread_count(const engine::Options& options) {
  return options.threads == 0 ? static_cast<uint32_t>(usable_processors()) : options.threads;
}

graph::Model dense_model(const gguf::File& file, uint32_t context) {
  graph::Model model = graph::load(file, context);
  graph::require_plain(model, file.path(), "prefill with an accelerator does");
  return model;
}

void check_npu_bits(const gguf::File& file, const PrefillOptions& options) {
  const double bits = options.npu_bits;
  if (bits == 0) return;
  if (!(bits >= 1 && bits <= kMostNpuBits)) {
    fail(ErrorCode::invalid_argument, "{:g} bits of a stack for the device: not 1 to {:g}", bits,
         kMostNpuBits);
  }
  if (!stack::is_stack(file)) {
    if (accelerator_traits(options.device).rounds_weights && (bits == 4 || bits == 8)) return;
    fail(ErrorCode::invalid_argument, "{}: is no stack, of which {:g} bits could be compiled in", file.path(),
         bits);
  }
  if (accelerator_traits(options.device).takes_moving_weights) {
    fail(ErrorCode::invalid_argument,
         "{} takes as many bits of a stack as are in memory: {:g} are for devices that compile weights in",
         options.device, bits);
  }
}

engine::Blocks device_blocks(const cpu::Sequences& sequences, const PrefillOptions& options,
                             const std::string& form) {
  return {kernels::kPagePositions, sequences.block_bytes(),
          fmt::format("prefill 1 {} {} kv {} {} bits {:g}{}", kernels::name(kernels::default_target()),
                      options.device, static_cast<int>(sequences.format()), form, options.npu_bits,
                      options.accelerator.bundle.empty() ? "" : " bundle")};
}

}  // namespace cairn::offload
