#include "capi/handles.hpp"

#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "base/error.hpp"

namespace cairn::capi {
namespace {

struct Entry {
  Kind kind;
  std::shared_ptr<void> object;
};

// Handles are odd, so that none is the address of anything that has a type.
constexpr uintptr_t kStep = 16, kFirst = kStep + 1;

struct Table {
  std::shared_mutex mutex;
  std::unordered_map<const void*, Entry> entries;
  uintptr_t next = kFirst;
};

// Never destroyed: when a program ends, threads of its own may still be in here, and what is open is the
// system's to clear away.
Table& table() {
  static Table* const made = new Table;
  return *made;
}

const char* name(Kind kind) {
  switch (kind) {
    case Kind::model:
      return "model";
    case Kind::engine:
      return "engine";
    case Kind::session:
      return "session";
    case Kind::chat:
      return "chat";
    case Kind::batch:
      return "batch";
    case Kind::request:
      return "request";
    case Kind::video:
      return "video";
    case Kind::restorer:
      return "restorer";
  }
  return "handle";
}

}  // namespace

void* open_handle(Kind kind, std::shared_ptr<void> object) {
  Table& all = table();
  const std::unique_lock lock(all.mutex);
  void* const given = reinterpret_cast<void*>(all.next);
  all.entries.emplace(given, Entry{kind, std::move(object)});
  all.next += kStep;
  return given;
}

std::shared_ptr<void> find_handle(Kind kind, const void* handle) noexcept {
  Table& all = table();
  const std::shared_lock lock(all.mutex);
  const auto found = all.entries.find(handle);
  return found == all.entries.end() || found->second.kind != kind ? nullptr : found->second.object;
}

std::shared_ptr<void> handle(Kind kind, const void* handle) {
  if (handle == nullptr) fail(ErrorCode::invalid_argument, "the {} is NULL", name(kind));
  std::shared_ptr<void> found = find_handle(kind, handle);
  if (!found) fail(ErrorCode::invalid_argument, "the {} is closed, or was never one", name(kind));
  return found;
}

std::shared_ptr<void> close_handle(Kind kind, const void* handle) noexcept {
  Table& all = table();
  std::shared_ptr<void> object;
  const std::unique_lock lock(all.mutex);
  const auto found = all.entries.find(handle);
  if (found == all.entries.end() || found->second.kind != kind) return nullptr;
  object = std::move(found->second.object);
  all.entries.erase(found);
  return object;
}

}  // namespace cairn::capi
