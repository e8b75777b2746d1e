#include "server/memory_control.hpp"

#include <algorithm>
#include <limits>

#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/memory_pressure.hpp"
#include "server/api_error.hpp"

namespace cairn::server {

Json MemoryControl::report(const Models& models) const {
  Json all = Json::array();
  engine::MemoryStatus whole;
  for (const Models::Info& info : models.list()) {
    Json one = {{"id", info.name}, {"status", name(info.state)}, {"stack", nullptr}};
    if (info.model) {
      const engine::Engine& engine = *info.model->engine;
      one["kv_bytes"] = engine.kv_bytes();
      one["spare_bytes"] = engine.spare_kv_bytes();
      one["kept_bytes"] = info.model->scheduler->status().kept_bytes;
      one["scratch_bytes"] = engine.scratch_bytes();
      if (engine.elastic()) {
        const engine::MemoryStatus now = engine.memory();
        one["stack"] = {{"bytes", now.stack}, {"all_bytes", now.stack_all}, {"read_bytes", now.read},
                        {"bits", now.bits},   {"device_bytes", now.device}, {"problems", now.problems}};
        whole.budget = now.budget;
        whole.automatic = now.automatic;
        whole.least = now.least;
        whole.gave_way = now.gave_way;
        if (now.device == now.process) whole.device += now.device;  // all of it is in a GPU's memory
        whole.stack += now.stack;
        whole.stack_all += now.stack_all;
      }
    }
    all.push_back(std::move(one));
  }
  const uint64_t process = whole.device > 0 ? whole.device : resident_memory();
  const bool elastic = whole.stack_all > 0;
  Json report = {{"object", "memory"},
                 {"elastic", elastic},
                 {"budget_bytes", whole.budget == 0 ? Json(nullptr) : Json(whole.budget)},
                 {"automatic", whole.automatic},
                 {"process_bytes", process},
                 {"least_bytes", nullptr},
                 {"all_bytes", nullptr},
                 {"gave_way", whole.gave_way},
                 {"models", std::move(all)}};
  if (elastic) {
    report["least_bytes"] = whole.least;
    // What there would be with all blocks in memory, and everything else as it is.
    report["all_bytes"] = process - std::min(process, whole.stack) + whole.stack_all;
  }
  return report;
}

MemoryControl::Budget MemoryControl::read(const Fields& fields) {
  const Json* memory = fields.find("memory");
  if (memory == nullptr) fields.refuse("memory", "it is missing: a size, \"auto\" or \"all\" was expected");
  if (memory->is_number())
    return {static_cast<uint64_t>(*fields.integer("memory", 1, std::numeric_limits<int64_t>::max())), false};
  if (!memory->is_string())
    fields.refuse("memory", "a number of bytes, a size such as \"600M\", \"auto\" or \"all\" was expected");
  const std::string text = *memory;
  if (text == "auto") return {0, true};
  if (text == "all") return {};
  try {
    const uint64_t bytes = parse_bytes(text, "memory");
    if (bytes > 0) return {bytes, false};
  } catch (const Error& error) {
    fields.refuse("memory", error.what());
  }
  fields.refuse("memory", "nothing runs in no memory");
}

void MemoryControl::give(engine::Engine& engine, const Budget& budget) {
  if (budget.automatic) {
    engine.set_memory_auto();
  } else {
    engine.set_memory(budget.bytes);
  }
}

void MemoryControl::set(const Json& body, const Models& models) {
  const Budget budget = read(Fields(body));
  const std::lock_guard lock(mutex_);
  bool any = false, elastic = false;
  for (const Models::Info& info : models.list()) {
    any = any || info.model;
    if (!info.model || !info.model->engine->elastic()) continue;
    elastic = true;
    try {
      give(*info.model->engine, budget);  // the first one refuses what cannot be, before anything changes
    } catch (const Error& error) {
      throw ApiError(400, error.what(), "memory");
    }
  }
  if (any && !elastic)
    throw ApiError(409, "none of the models that are loaded is a stack: their memory is fixed", "memory");
  wanted_ = budget;
}

void MemoryControl::apply(ServedModel& model) const {
  const std::lock_guard lock(mutex_);
  if (!wanted_ || !model.engine->elastic()) return;
  try {
    give(*model.engine, *wanted_);
  } catch (const Error& error) {
    fail(ErrorCode::out_of_memory, "{}", error.what());
  }
}

}  // namespace cairn::server
