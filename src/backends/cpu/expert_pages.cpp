#include "backends/cpu/expert_pages.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <span>

#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/memory_pressure.hpp"
#include "base/system_pages.hpp"

namespace cairn::cpu {
namespace {

std::span<std::byte> pages_of(const std::byte* begin, const std::byte* end, bool with_first, bool with_last) {
  const auto number = [](const std::byte* at) { return reinterpret_cast<uintptr_t>(at); };
  const PageRange pages =
      cairn::pages_of(number(begin), number(end), system_page_bytes(), with_first, with_last);
  return {reinterpret_cast<std::byte*>(pages.begin), pages.end - pages.begin};
}

}  // namespace

ExpertPages::ExpertPages(const Plan& plan, uint32_t experts, uint64_t memory)
    : experts_(experts), memory_(memory) {
  for (const std::vector<Step>* steps :
       {&plan.layers, &plan.head, &plan.draft_keys, &plan.draft_rest, &plan.draft_head}) {
    for (const Step& step : *steps) {
      if (step.kind == StepKind::experts) layers_.resize(std::max<size_t>(layers_.size(), step.layer + 1));
      for (const BoundOp& bound : step.ops) {
        if (step.kind == StepKind::linears) weights_ += bound.matrix.rows * bound.matrix.row_bytes;
        if (step.kind == StepKind::heads)
          weights_ += bound.op.heads * bound.matrix.rows * bound.matrix.row_bytes;
        // Of ops that share a tensor the first stands for both.
        if (step.kind == StepKind::experts && bound.op.row_begin == 0)
          layers_[step.layer].push_back({bound.expert_row(0, 0), bound.expert_rows * bound.matrix.row_bytes});
      }
    }
  }
  entries_.resize(layers_.size() * experts_);
  for (uint32_t layer = 0; layer < layers_.size(); ++layer) {
    uint64_t of_layer = 0;
    for (uint32_t expert = 0; expert < experts_; ++expert) {
      Entry& entry = entries_[layer * experts_ + expert];
      for (const Experts& tensor : layers_[layer]) entry.bytes += tensor.bytes;
      of_layer += entry.bytes;
    }
    all_ += of_layer;
    most_ = std::max(most_, of_layer);
  }
}

void ExpertPages::advise(uint32_t entry, int advice) const {
  const uint32_t expert = entry % experts_;
  // A page that two experts share goes with the second: what stayed would add up to a page for each, and
  // nobody would count it.
  const bool first = expert > 0 && !entries_[entry - 1].resident;
  const bool last = expert + 1 < experts_ && !entries_[entry + 1].resident;
  for (const Experts& tensor : layers_[entry / experts_]) {
    const std::byte* begin = tensor.begin + expert * tensor.bytes;
    const auto pages = pages_of(begin, begin + tensor.bytes, first, last);
    // Advice: where the system does not take it, pages come and go as it likes.
    if (!pages.empty()) madvise(pages.data(), pages.size(), advice);
  }
}

void ExpertPages::use(uint32_t layer, uint32_t expert) {
  const uint32_t which = layer * experts_ + expert;
  Entry& entry = entries_[which];
  if (entry.resident) {
    order_.splice(order_.begin(), order_, entry.at);
    return;
  }
  advise(which, MADV_WILLNEED);
  order_.push_front(which);
  entry.at = order_.begin();
  entry.resident = true;
  bytes_ += entry.bytes;
}

void ExpertPages::make_room(uint64_t coming, const std::string& path) {
  const uint64_t resident = resident_memory();
  const uint64_t least = resident - std::min(resident, bytes_) + weights_ + coming + most_;
  if (memory_ < least) {
    fail(ErrorCode::out_of_memory,
         "{}: a budget of {} is too small: with one layer's experts ({}) this process needs {}", path,
         mebibytes(memory_), mebibytes(most_), mebibytes(least));
  }
  let_go(weights_ + coming);
  weights_ = 0;  // the step that follows reads them
}

void ExpertPages::let_go(uint64_t coming) {
  const uint64_t resident = resident_memory();
  const uint64_t others = resident - std::min(resident, bytes_) + coming;
  while (!order_.empty() && bytes_ + others > memory_) {
    const uint32_t last = order_.back();
    advise(last, MADV_DONTNEED);
    entries_[last].resident = false;
    bytes_ -= entries_[last].bytes;
    order_.pop_back();
  }
}

}  // namespace cairn::cpu
