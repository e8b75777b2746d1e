#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "engine/engine.hpp"
#include "resident/account.hpp"
#include "resident/set.hpp"

namespace cairn::cpu {

// What an engine holds of a stack, and the budget that its options ask for, which the first step sets. Of a
// model that is no stack: the budget that other engines of the process have set. set_memory and what tells
// may come from any thread, make_room from the one that steps.
class Budget {
 public:
  // Errors: as resident::Set.
  Budget(const gguf::File& file, const engine::Options& options);
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  resident::Set* set() const { return set_.get(); }  // null: no stack
  const std::string& path() const { return path_; }

  // Of stacks alone; as Engine::set_memory, set_memory_auto and memory.
  void set_memory(uint64_t bytes);
  void set_memory_auto();
  engine::MemoryStatus status() const;

  // Outside of passes, before a step: it will touch so many bytes for the first time, `pages` of them keys
  // and values. The first call sets the budget and reads the stack as far as that allows. Errors:
  // out_of_memory (a budget that is too small, or has no room for the pages), what `cancelled` throws.
  void make_room(uint64_t pages, uint64_t scratch, const engine::Cancelled& cancelled);
  // Whether somebody has set a limit that stays as it is.
  bool fixed() const;

 private:
  void check(uint64_t bytes, uint64_t coming) const;
  void choose(uint64_t coming);

  const std::string path_;
  const std::shared_ptr<resident::Set> set_;
  resident::Account& account_ = resident::Account::process();
  mutable std::mutex choosing_;  // of what set_memory changes from any thread: memory_, automatic_, chosen_
  uint64_t memory_;
  bool automatic_;
  bool chosen_ = false;  // a budget
  bool opened_ = false;  // the first step has waited for what it allows
};

}  // namespace cairn::cpu
