// What the caller's handles stand for. A handle is a number dressed as a pointer, and is never given twice:
// one that is closed, or of another kind, is recognised, and who still works with what is being closed keeps
// it.
#pragma once

#include <memory>

namespace cairn::capi {

enum class Kind : unsigned char { model, engine, session, chat, batch, request, video, restorer };

void* open_handle(Kind kind, std::shared_ptr<void> object);
// Error invalid_argument: not open, or of another kind.
std::shared_ptr<void> handle(Kind kind, const void* handle);
// Lets go of it outside of all locks; nothing where it is not open.
std::shared_ptr<void> close_handle(Kind kind, const void* handle) noexcept;

template <class Object>
void* open_handle(std::shared_ptr<Object> object) {
  return open_handle(Object::kKind, std::move(object));
}
template <class Object>
std::shared_ptr<Object> object_of(const void* of) {
  return std::static_pointer_cast<Object>(handle(Object::kKind, of));
}

}  // namespace cairn::capi
