#include "backends/cpu/budget.hpp"

#include <chrono>

#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/memory_pressure.hpp"
#include "formats/stack_file.hpp"

namespace cairn::cpu {

Budget::Budget(const gguf::File& file, const engine::Options& options)
    : path_(file.path()),
      set_(stack::is_stack(file) ? std::make_shared<resident::Set>(file) : nullptr),
      memory_(options.memory),
      automatic_(options.memory_auto) {
  if (set_) account_.join(set_);
}

Budget::~Budget() {
  if (set_) account_.leave(*set_);
}

void Budget::check(uint64_t bytes, uint64_t coming) const {
  const uint64_t least = account_.least(coming);
  if (bytes >= least) return;
  fail(ErrorCode::out_of_memory,
       "{}: a budget of {} is too small: with the stack's base alone ({}) this process needs {}", path_,
       mebibytes(bytes), mebibytes(set_->base_bytes()), mebibytes(least));
}

void Budget::set_memory(uint64_t bytes) {
  if (bytes != 0) check(bytes, 0);
  const std::lock_guard lock(choosing_);
  chosen_ = true;
  memory_ = bytes;  // what the first step would otherwise set is overridden
  automatic_ = false;
  account_.set_budget(bytes == 0 ? resident::kUnlimited : bytes);
}

void Budget::set_memory_auto() {
  const std::lock_guard lock(choosing_);
  memory_ = 0;
  automatic_ = true;
  if (chosen_) account_.govern();
}

engine::MemoryStatus Budget::status() const {
  const std::lock_guard lock(choosing_);
  const resident::Status s = set_->status();
  const uint64_t budget = account_.budget();
  engine::MemoryStatus status;
  status.budget = budget == resident::kUnlimited ? memory_ : budget;
  status.automatic = account_.governed() || automatic_;
  status.process = resident_memory();
  status.stack = s.resident_bytes;
  status.stack_all = s.block_bytes;
  status.read = s.bytes_read;
  status.bits = s.bits;
  status.problems = s.problems;
  status.least = account_.least();
  status.gave_way = account_.gave_way();
  return status;
}

bool Budget::fixed() const {
  return account_.budget() != resident::kUnlimited && !account_.governed();
}

void Budget::make_room(uint64_t pages, uint64_t scratch, const engine::Cancelled& cancelled) {
  const bool first = set_ && !opened_;
  // The tokenizer and whatever else was made meanwhile is in memory now: only now is it known what is left.
  if (first) choose(pages + scratch);
  if (pages > 0 && fixed() && account_.least(pages) > account_.budget()) {
    fail(ErrorCode::out_of_memory,
         "{}: the budget of {} has no room for {} more of keys and values: with the stack's base alone "
         "this process would need {}",
         path_, mebibytes(account_.budget()), mebibytes(pages), mebibytes(account_.least(pages)));
  }
  account_.before_pass(pages + scratch);
  if (!first) return;
  // Nothing is held while the stack is read: set_memory may come at any time and change what is waited for.
  while (!set_->wait_until_read(std::chrono::milliseconds(50))) engine::throw_if(cancelled);
  opened_ = true;
}

// What the options say, unless somebody has called set_memory already.
void Budget::choose(uint64_t coming) {
  const std::lock_guard lock(choosing_);
  if (chosen_) return;
  if (automatic_) {
    account_.govern();
  } else if (memory_ != 0) {
    check(memory_, coming);
    account_.set_budget(memory_);
  } else if (account_.budget() == resident::kUnlimited && !account_.governed()) {
    account_.set_budget(resident::kUnlimited);
  }
  chosen_ = true;
}

}  // namespace cairn::cpu
