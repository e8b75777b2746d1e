#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "resident/governor.hpp"
#include "resident/set.hpp"

namespace cairn::resident {

constexpr uint64_t kUnlimited = UINT64_MAX;

// What memory is held for that is cheaper to lose than a stack's blocks: a cache. All but the destructor may
// be called by any thread, and must not call the account.
class Spare {
 public:
  virtual ~Spare() = default;
  // Gives back what is missed least; false: there was nothing.
  virtual bool give_back() = 0;
  // It is asked to once blocks would have to go below so many bytes of them.
  virtual uint64_t worth_blocks() const { return UINT64_MAX; }
  // Bytes that it would give back in all, where that is known; of these, what it has given back and what will
  // be gone in a moment.
  virtual uint64_t spare_bytes() const { return 0; }
  virtual uint64_t leaving() const { return 0; }
  // Bytes held for it that the system does not count as this process's: a device's memory.
  virtual uint64_t outside() const { return 0; }
};

// The one account of everything that this process holds: a budget for its resident memory. Stacks' blocks
// take what weights outside of them, pages of keys and values, scratch and all the rest leave, and share it
// in proportion to what each could use. When blocks would have to go, what is spare goes before them. Without
// a stack nothing can give way, and a budget only refuses. All calls may come from any thread at any time.
class Account {
 public:
  static Account& process();

  // From here on the set's blocks are this account's to give and take. With the last set that leaves, the
  // budget goes as well.
  void join(std::shared_ptr<Set> set);
  void leave(const Set& set);
  // `spare` must leave before it is destroyed.
  void join(Spare& spare);
  void leave(Spare& spare);

  // Takes effect between two steps of whatever runs. A budget below the least possible one leaves the bases;
  // see least().
  void set_budget(uint64_t bytes);
  // The budget follows what the system can spare, until the next set_budget.
  void govern();
  bool governed() const noexcept { return governed_; }
  uint64_t budget() const noexcept { return budget_; }
  // How often the budget has fallen because the system had little to spare.
  uint64_t gave_way() const noexcept { return gave_way_; }

  // Before a pass of the calling thread: `coming` bytes will be touched for the first time (pages, scratch).
  // Gives back as many before they are needed, and takes what has become free.
  void before_pass(uint64_t coming);

  // The resident memory with the bases' blocks alone, and without what is spare.
  uint64_t least(uint64_t coming = 0) const;
  // Whether `coming` more bytes leave room for so many bytes of blocks.
  bool has_room(uint64_t coming, uint64_t blocks) const;

 private:
  Account() = default;
  void put(uint64_t budget);
  uint64_t allowed(uint64_t budget, uint64_t coming) const;  // with mutex_ held
  void settle(uint64_t coming, bool wait);
  uint64_t held() const;    // with mutex_ held
  uint64_t others() const;  // with mutex_ held: what is no block
  void share_out(uint64_t blocks);

  std::atomic<uint64_t> budget_{kUnlimited};
  std::atomic<bool> governed_{false};
  std::atomic<uint64_t> gave_way_{0};
  std::mutex governing_;  // of governor_; taken before mutex_
  std::unique_ptr<Governor> governor_;
  mutable std::mutex mutex_;  // of what follows
  std::vector<std::shared_ptr<Set>> sets_;
  std::vector<Spare*> spares_;
  uint64_t limit_ = kUnlimited;  // of all sets together, as last shared out
};

}  // namespace cairn::resident
