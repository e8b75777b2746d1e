#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>

#include "server/fields.hpp"
#include "server/models.hpp"

namespace cairn::server {

// The process's budget for memory, as /memory tells and sets it (docs/memory.md).
class MemoryControl {
 public:
  // What is held, all in bytes: of the process, and of each model.
  Json report(const Models& models) const;
  // {"memory": "600M", a number of bytes, "auto", or "all"}: for the stacks that are loaded, and for those
  // that will be. ApiError 400: another value, less than what everything else needs; 409: what is loaded
  // are no stacks.
  void set(const Json& body, const Models& models);
  // For a model that was loaded later. Error out_of_memory: the budget has no room for it.
  void apply(ServedModel& model) const;

 private:
  struct Budget {
    uint64_t bytes = 0;  // 0: no limit
    bool automatic = false;
  };
  static Budget read(const Fields& fields);
  static void give(engine::Engine& engine, const Budget& budget);

  mutable std::mutex mutex_;
  std::optional<Budget> wanted_;  // none: what the flags say
};

}  // namespace cairn::server
