#include "backends/cpu/state.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "kernels/recurrent.hpp"

namespace cairn::cpu {

StateLayout::StateLayout(const graph::Model& model)
    : conv_(model.layers.size()), delta_(model.layers.size()) {
  for (const graph::Layer& layer : model.layers) {
    for (const graph::OpList& ops : layer) {
      for (const graph::Op& op : ops)
        parts_ += op.kind == graph::OpKind::convolve || op.kind == graph::OpKind::delta_rule ||
                          op.kind == graph::OpKind::selective_scan
                      ? 1
                      : 0;
    }
  }
  if (!model.draft.empty()) ++parts_;
  size_t at = round_up(parts_, 16), part = 0;
  const auto take = [&](size_t floats) {
    const size_t begin = at;
    at = round_up(at + floats, 16);
    if (at > SIZE_MAX / 16)
      fail(ErrorCode::out_of_memory, "a recurrent state has more bytes than there are addresses");
    return begin;
  };
  for (size_t layer = 0; layer < model.layers.size(); ++layer) {
    for (const graph::OpList& ops : model.layers[layer]) {
      for (const graph::Op& op : ops) {
        if (op.kind == graph::OpKind::convolve) {
          ConvPart& p = conv_[layer];
          p = {static_cast<uint32_t>(part++), 0, op.window - 1, model.width(op.input)};
          p.at = take((p.kept + kJournal) * p.channels);
        } else if (op.kind == graph::OpKind::delta_rule || op.kind == graph::OpKind::selective_scan) {
          DeltaPart& p = delta_[layer];
          const size_t keys = op.kind == graph::OpKind::delta_rule ? op.block : op.state;
          p = {static_cast<uint32_t>(part++), 0, op.heads, keys, round_up(op.block, kernels::kDeltaColumns)};
          p.at = take(p.heads * StateView::head_floats(p));
        }
      }
    }
  }
  if (!model.draft.empty()) {
    hidden_ = {static_cast<uint32_t>(part), 0, 1, model.parameters.embedding};
    hidden_.at = take((hidden_.kept + kJournal) * hidden_.channels);
  }
  bytes_ = parts_ == 0 ? 0 : round_up(at * sizeof(float), 64);
}

uint64_t RecurrentState::coming(uint32_t length, uint32_t tokens, bool rows) const {
  if (layout_->empty()) return 0;
  if (rows) return now_ && now_.use_count() == 1 ? 0 : layout_->bytes();
  const uint32_t end = length + tokens, inside = end / kStep * kStep;
  const uint64_t pages = (next_ ? 0U : 1U) + (inside > length && inside < end && !mark_ ? 1U : 0U);
  return pages * layout_->bytes();
}

void RecurrentState::extend(uint32_t length, uint32_t tokens, bool rows) {
  if (layout_->empty()) return;
  if (rows) {
    trim();
    if (now_ && now_.use_count() == 1) return;
    Page own = pool_->take();
    if (now_) {
      std::memcpy(own.get(), now_.get(), layout_->bytes());
    } else {
      std::memset(own.get(), 0, layout_->bytes());
    }
    now_ = std::move(own);
    return;
  }
  const uint32_t end = length + tokens;
  if (!next_) next_ = pool_->take();
  mark_position_ = end / kStep * kStep;
  if (mark_position_ <= length || mark_position_ >= end) {
    mark_.reset();
  } else if (!mark_) {
    mark_ = pool_->take();
  }
}

void RecurrentState::trim() {
  next_.reset();
  mark_.reset();
}

void RecurrentState::commit(uint32_t length) {
  if (layout_->empty()) return;
  if (next_) now_ = std::move(next_);
  if (mark_) keep(mark_position_, std::move(mark_));
  trim();
  const uint32_t whole = length / kStep * kStep;
  if (goes_back(whole)) keep(whole, now_);
}

void RecurrentState::keep(uint32_t position, Page page) {
  if (position == 0 || (!checkpoints_.empty() && checkpoints_.back().position >= position)) return;
  checkpoints_.push_back({position, std::move(page)});
  thin();
}

// The further back, the fewer: a text goes on from its end, or from where it went over into an answer, more
// often than from anywhere else, and a state may be as large as the keys and values of thousands of
// positions. Going back to any position costs at most reading as many tokens again as lie behind it, about.
void RecurrentState::thin() {
  if (layout_->bytes() <= step_bytes_) return;
  const uint32_t end = checkpoints_.back().position;
  for (size_t i = checkpoints_.size() - 1; i-- > 1;) {
    if (end - checkpoints_[i - 1].position <= 2 * (end - checkpoints_[i + 1].position))
      checkpoints_.erase(checkpoints_.begin() + static_cast<ptrdiff_t>(i));
  }
}

bool RecurrentState::goes_back(uint32_t length) const {
  if (!now_) return length == 0;
  for (uint32_t part = 0; part < layout_->parts(); ++part) {
    if (now().position(part) > length) return false;
  }
  return true;
}

uint32_t RecurrentState::reachable(uint32_t length) const {
  if (layout_->empty() || goes_back(length)) return length;
  for (size_t i = checkpoints_.size(); i-- > 0;) {
    if (checkpoints_[i].position <= length) return checkpoints_[i].position;
  }
  return 0;
}

void RecurrentState::truncate(uint32_t length) {
  trim();
  if (layout_->empty()) return;
  while (!checkpoints_.empty() && checkpoints_.back().position > length) checkpoints_.pop_back();
  if (goes_back(length)) return;
  now_ = checkpoints_.empty() || checkpoints_.back().position != length ? Page() : checkpoints_.back().page;
}

uint64_t RecurrentState::bytes() const {
  uint64_t pages = now_ ? 1 : 0;
  for (const Checkpoint& checkpoint : checkpoints_) pages += checkpoint.page != now_ ? 1 : 0;
  return pages * layout_->bytes();
}

}  // namespace cairn::cpu
