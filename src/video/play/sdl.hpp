// SDL's objects with destructors. Included where SDL is there only.
#pragma once

#define SDL_MAIN_HANDLED
#include <SDL.h>

#include <memory>

#include "base/error.hpp"

namespace cairn::video {

struct SdlDeleter {
  void operator()(SDL_Window* p) const noexcept { SDL_DestroyWindow(p); }
  void operator()(SDL_Renderer* p) const noexcept { SDL_DestroyRenderer(p); }
  void operator()(SDL_Texture* p) const noexcept { SDL_DestroyTexture(p); }
};
template <class T>
using Sdl = std::unique_ptr<T, SdlDeleter>;

// SDL's own start and end.
class SdlSession {
 public:
  SdlSession() {
    SDL_SetMainReady();
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    if (SDL_Init(SDL_INIT_VIDEO | SDL_INIT_EVENTS) != 0)
      fail(ErrorCode::unsupported, "no window can be opened: {} (cairn video decode needs none)",
           SDL_GetError());
  }
  ~SdlSession() { SDL_Quit(); }
  SdlSession(const SdlSession&) = delete;
  SdlSession& operator=(const SdlSession&) = delete;
};

}  // namespace cairn::video
