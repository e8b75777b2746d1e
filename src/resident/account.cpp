#include "resident/account.hpp"

#include <algorithm>
#include <utility>

#include "base/memory_pressure.hpp"

namespace cairn::resident {
namespace {

// Kept free: what the kernel's counters lag behind, and small allocations during a pass.
constexpr uint64_t kSlack = 512 << 10;
// A cache that grows with each token must not move the sets each time: they give way in steps, and take back
// only what is worth a read.
constexpr uint64_t kDownStep = 1 << 20, kUpStep = 3 << 20;

}  // namespace

Account& Account::process() {
  static Account account;
  return account;
}

void Account::join(std::shared_ptr<Set> set) {
  const std::lock_guard lock(mutex_);
  sets_.push_back(std::move(set));
  limit_ = kUnlimited;  // the next pass shares out anew
}

void Account::leave(const Set& set) {
  const std::lock_guard governing(governing_);
  bool last = false;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(sets_, [&](const auto& one) { return one.get() == &set; });
    limit_ = kUnlimited;
    last = sets_.empty();
  }
  if (!last) return;
  governor_.reset();
  governed_ = false;
  budget_ = kUnlimited;
}

void Account::join(Spare& spare) {
  const std::lock_guard lock(mutex_);
  spares_.push_back(&spare);
}

void Account::leave(Spare& spare) {
  const std::lock_guard lock(mutex_);
  std::erase(spares_, &spare);
}

uint64_t Account::held() const {
  uint64_t bytes = 0;
  for (const auto& set : sets_) bytes += set->resident_bytes();
  return bytes;
}

uint64_t Account::others() const {
  const uint64_t blocks = held(), all = resident_memory();
  uint64_t bytes = all - std::min(all, blocks);
  for (const Spare* spare : spares_) bytes += spare->outside();
  return bytes;
}

uint64_t Account::least(uint64_t coming) const {
  const std::lock_guard lock(mutex_);
  uint64_t bases = 0, spare = 0;
  for (const auto& set : sets_) bases += set->base_bytes();
  for (const Spare* one : spares_) spare += one->spare_bytes();
  const uint64_t all = others();
  return all - std::min(all, spare) + bases + coming + kSlack;
}

bool Account::has_room(uint64_t coming, uint64_t blocks) const {
  const std::lock_guard lock(mutex_);
  const uint64_t budget = budget_;
  return budget == kUnlimited || allowed(budget, coming) >= blocks;
}

void Account::put(uint64_t budget) {
  budget_ = budget;
  {
    const std::lock_guard lock(mutex_);
    limit_ = kUnlimited;  // forgets the steps: the new budget shall be met as it is
  }
  settle(0, false);
}

void Account::set_budget(uint64_t bytes) {
  const std::lock_guard governing(governing_);
  governor_.reset();
  governed_ = false;
  put(bytes);
}

void Account::govern() {
  const std::lock_guard governing(governing_);
  if (governor_) return;
  governed_ = true;
  governor_ = std::make_unique<Governor>(MemoryPressure(), [this](uint64_t budget) {
    if (budget < budget_.load() && budget_ != kUnlimited) ++gave_way_;
    put(budget);
  });
}

void Account::before_pass(uint64_t coming) {
  settle(coming, true);
}

// Each set its base and, of what is left, in proportion to the blocks beyond it.
void Account::share_out(uint64_t blocks) {
  uint64_t bases = 0, beyond = 0;
  for (const auto& set : sets_) {
    bases += set->base_bytes();
    beyond += set->block_bytes() - set->base_bytes();
  }
  const uint64_t left = blocks - std::min(blocks, bases);
  for (const auto& set : sets_) {
    const uint64_t own = set->block_bytes() - set->base_bytes();
    const bool all = own == beyond || left >= beyond;
    const double part = all ? 1 : static_cast<double>(own) / static_cast<double>(beyond);
    set->set_limit(set->base_bytes() +
                   (all ? left : static_cast<uint64_t>(part * static_cast<double>(left))));
  }
}

// Bytes that blocks may have.
uint64_t Account::allowed(uint64_t budget, uint64_t coming) const {
  uint64_t leaving = 0;
  for (const Spare* spare : spares_) leaving += spare->leaving();
  const uint64_t all = others();
  const uint64_t rest = all - std::min(all, leaving) + coming + kSlack;
  return budget - std::min(budget, rest);
}

void Account::settle(uint64_t coming, bool wait) {
  std::vector<std::shared_ptr<Set>> sets;
  {
    const std::lock_guard lock(mutex_);
    const uint64_t budget = budget_;
    if (budget == kUnlimited) {
      if (limit_ != kUnlimited || !wait) {
        for (const auto& set : sets_) set->set_limit(kUnlimited);
      }
      limit_ = kUnlimited;
      return;
    }
    uint64_t room = allowed(budget, coming);
    const uint64_t needed = std::min(limit_, held());
    for (Spare* spare : spares_) {
      while (room < std::min(needed, spare->worth_blocks()) && spare->give_back())
        room = allowed(budget, coming);
    }
    if (limit_ == kUnlimited || room > limit_ + kUpStep) {
      limit_ = room;
    } else if (room < limit_) {
      limit_ = room - std::min(room, kDownStep);
    } else {
      return;
    }
    share_out(limit_);
    if (wait) sets = sets_;
  }
  // Not with the lock held: a set in another thread's pass gives way at that pass's next step.
  for (const auto& set : sets) set->wait_until_released();
}

}  // namespace cairn::resident
