#include "device/runner.hpp"

#include "base/error.hpp"
#include "formats/stack_file.hpp"

namespace cairn::device {

void Runner::set_memory(uint64_t) {
  fail(ErrorCode::unsupported,
       "the memory of this model is fixed: only a stack's weights grow and shrink (see `cairn stack`)");
}

void warn_of_fixed_memory(const gguf::File& file, const RunnerOptions& options) {
  if ((options.memory == 0 && !options.memory_auto) || !options.warn || stack::is_stack(file)) return;
  options.warn(
      fmt::format("{}: its memory is fixed and --memory changes nothing: only a stack's weights grow "
                  "and shrink (see `cairn stack`)",
                  file.path()));
}

void Runner::throw_if_cancelled() const {
  if (cancelled_ && cancelled_()) fail(ErrorCode::cancelled, "interrupted");
}

void check_forward(const Runner& runner, std::span<const int32_t> tokens, uint32_t position) {
  if (tokens.empty() || tokens.size() > runner.chunk()) {
    fail(ErrorCode::invalid_argument, "a pass takes 1 to {} tokens, not {}", runner.chunk(), tokens.size());
  }
  if (position > runner.length()) {
    fail(ErrorCode::invalid_argument, "position {} leaves a gap after the {} cached", position,
         runner.length());
  }
  if (tokens.size() > runner.context() - position) {
    fail(ErrorCode::invalid_argument, "{} tokens do not fit in the context of {}", position + tokens.size(),
         runner.context());
  }
  const auto vocabulary = static_cast<int32_t>(runner.model().parameters.vocabulary);
  for (const int32_t token : tokens) {
    if (token < 0 || token >= vocabulary) {
      fail(ErrorCode::invalid_argument, "token {} is outside the vocabulary of {}", token, vocabulary);
    }
  }
}

}  // namespace cairn::device
