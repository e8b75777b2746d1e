#include "engine/engine.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "formats/stack_file.hpp"

namespace cairn::engine {
namespace {

void check(const Engine& engine, const Slice& slice) {
  if (slice.sequence == nullptr) fail(ErrorCode::invalid_argument, "a slice of no sequence");
  if (slice.tokens.empty() || slice.tokens.size() > engine.chunk()) {
    fail(ErrorCode::invalid_argument, "a slice takes 1 to {} tokens, not {}", engine.chunk(),
         slice.tokens.size());
  }
  const uint32_t length = slice.sequence->length();
  if (slice.tokens.size() > engine.context() - std::min(length, engine.context())) {
    fail(ErrorCode::invalid_argument, "{} tokens do not fit in the context of {}",
         length + slice.tokens.size(), engine.context());
  }
  const auto vocabulary = static_cast<int32_t>(engine.model().parameters.vocabulary);
  for (const int32_t token : slice.tokens) {
    if (token < 0 || token >= vocabulary) {
      fail(ErrorCode::invalid_argument, "token {} is outside the vocabulary of {}", token, vocabulary);
    }
  }
}

}  // namespace

bool Sequence::read_block(uint32_t, std::span<std::byte>) const {
  return false;
}

void Engine::append_block(Sequence&, std::span<const std::byte>) {
  fail(ErrorCode::unsupported, "this engine's sequences are not taken up from blocks");
}

void Engine::draft(std::span<const Slice>, double, const Cancelled&) {
  fail(ErrorCode::unsupported, "this model is no stack: only a stack has fewer bits to draft with");
}

void Engine::set_memory(uint64_t) {
  fail(ErrorCode::unsupported,
       "the memory of this model is fixed: only a stack's weights grow and shrink (see `cairn stack`)");
}

void check_slices(const Engine& engine, std::span<const Slice> slices) {
  std::vector<const Sequence*> sequences;
  for (const Slice& slice : slices) {
    check(engine, slice);
    sequences.push_back(slice.sequence);
  }
  std::sort(sequences.begin(), sequences.end());
  if (std::adjacent_find(sequences.begin(), sequences.end()) != sequences.end())
    fail(ErrorCode::invalid_argument, "two slices of one step are of the same sequence");
}

void throw_if(const Cancelled& cancelled) {
  if (cancelled && cancelled()) fail(ErrorCode::cancelled, "interrupted");
}

void warn_of_fixed_memory(const gguf::File& file, const Options& options) {
  if ((options.memory == 0 && !options.memory_auto) || !options.warn || stack::is_stack(file)) return;
  options.warn(
      fmt::format("{}: its memory is fixed and --memory changes nothing: only a stack's weights grow "
                  "and shrink (see `cairn stack`)",
                  file.path()));
}

}  // namespace cairn::engine
