#include "backends/cpu/drafter.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace cairn::cpu {

using engine::Logits;
using engine::Slice;

std::vector<float*> Drafter::hidden(std::span<const Slice> slices) {
  own_.clear();
  std::vector<float*> all;
  for (const Slice& slice : slices) {
    const bool here = slice.hidden == nullptr && any();
    if (here) own_.emplace_back(slice.tokens.size() * model_.parameters.embedding);
    all.push_back(here ? own_.back().data() : slice.hidden);
  }
  return all;
}

void Drafter::follow(const Slice& slice, const float* hidden, bool rows) {
  PagedSequence& sequence = sequences_.own(*slice.sequence);
  const RecurrentState& state = sequence.state();
  const ConvPart& part = state.layout().hidden();
  const uint32_t length = sequence.length();
  const size_t width = part.channels, count = slice.tokens.size();
  std::vector<float> last(width);
  if (length > 0) std::copy_n(input_before(state.now(), part, length, 1), width, last.begin());
  std::vector<Row> batch;
  std::vector<const float*> before;
  for (size_t i = length > 0 ? 0 : 1; i < count; ++i) {
    batch.push_back({&sequence, length + static_cast<uint32_t>(i) - 1, slice.tokens[i], nullptr});
    before.push_back(i == 0 ? last.data() : hidden + (i - 1) * width);
    if (batch.size() < RowExecutor::kMostRows && i + 1 < count) continue;
    rows_.run_draft(batch, before, false);
    batch.clear();
    before.clear();
  }
  const auto put = [&](const StateView& view, size_t token, uint32_t position) {
    std::copy_n(hidden + token * width, width, view.window(part));
    view.position(part.number) = position;
  };
  if (rows) {
    std::copy_n(last.begin(), width, state.now().window(part));
    std::copy_n(hidden, count * width, state.now().journal(part));
    state.now().position(part.number) = length;
    return;
  }
  put(state.next(), count - 1, length + static_cast<uint32_t>(count));
  if (state.mark().page != nullptr)
    put(state.mark(), state.mark_position() - length - 1, state.mark_position());
}

void Drafter::check(std::span<const Slice> slices, uint32_t context) const {
  for (const Slice& slice : slices) {
    const PagedSequence& sequence = sequences_.own(*slice.sequence);
    const uint32_t length = sequence.length(), guesses = sequence.guesses();
    if (slice.tokens.size() != 1 || length == 0) {
      fail(ErrorCode::invalid_argument, "a draft takes 1 token behind a text, not {} behind {}",
           slice.tokens.size(), length);
    }
    if (guesses >= context - length) {
      fail(ErrorCode::invalid_argument, "{} tokens and {} guesses do not fit in the context of {}", length,
           guesses + 1, context);
    }
  }
}

void Drafter::guess(std::span<const Slice> slices) {
  for (size_t at = 0; at < slices.size(); at += RowExecutor::kMostRows)
    guess_rows(slices.subspan(at, std::min(RowExecutor::kMostRows, slices.size() - at)));
}

void Drafter::guess_rows(std::span<const Slice> slices) {
  std::vector<Row> rows;
  std::vector<const float*> before;
  for (const Slice& slice : slices) {
    PagedSequence& sequence = sequences_.own(*slice.sequence);
    const uint32_t length = sequence.length();
    std::vector<float>& guessed = sequence.guessed();
    guessed.resize(model_.parameters.embedding);
    if (sequence.guesses() == 0) {
      const RecurrentState& state = sequence.state();
      std::copy_n(input_before(state.now(), state.layout().hidden(), length, 1), guessed.size(),
                  guessed.begin());
    }
    before.push_back(guessed.data());
    rows.push_back({&sequence, length - 1 + sequence.guesses(), slice.tokens[0],
                    slice.wanted == Logits::none ? nullptr : slice.logits,
                    slice.enough == 0 ? SIZE_MAX : slice.enough, guessed.data()});
  }
  rows_.run_draft(rows, before, true);
  for (const Slice& slice : slices) sequences_.own(*slice.sequence).guess();
}

}  // namespace cairn::cpu
