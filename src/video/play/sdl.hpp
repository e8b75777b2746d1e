// SDL's objects with destructors. Included where SDL is there only.
#pragma once

#define SDL_MAIN_HANDLED
#include <SDL.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "base/error.hpp"

namespace cairn::video {

struct SdlDeleter {
  void operator()(SDL_Window* p) const noexcept { SDL_DestroyWindow(p); }
  void operator()(SDL_Renderer* p) const noexcept { SDL_DestroyRenderer(p); }
  void operator()(SDL_Texture* p) const noexcept { SDL_DestroyTexture(p); }
};
template <class T>
using Sdl = std::unique_ptr<T, SdlDeleter>;

// What the libraries below SDL print while devices are looked for would stand before the one line that tells
// what came of it.
class Hush {
 public:
  Hush() : kept_(dup(STDERR_FILENO)) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (kept_ >= 0 && nowhere >= 0) dup2(nowhere, STDERR_FILENO);
    if (nowhere >= 0) close(nowhere);
  }
  ~Hush() {
    if (kept_ < 0) return;
    dup2(kept_, STDERR_FILENO);
    close(kept_);
  }
  Hush(const Hush&) = delete;
  Hush& operator=(const Hush&) = delete;

 private:
  int kept_;
};

// SDL's own start and end.
class SdlSession {
 public:
  SdlSession() {
    SDL_SetMainReady();
    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    const Hush hush;
    if (SDL_Init(SDL_INIT_VIDEO | SDL_INIT_EVENTS) != 0) refuse(SDL_GetError());
    // Drivers that draw into nothing are for those who ask for them.
    const char *driver = SDL_GetCurrentVideoDriver(), *asked = std::getenv("SDL_VIDEODRIVER");
    const std::string_view name = driver == nullptr ? "" : driver;
    if (asked == nullptr && (name == "offscreen" || name == "dummy" || name == "evdev")) {
      SDL_Quit();
      refuse("there is no display");
    }
  }
  ~SdlSession() { SDL_Quit(); }
  SdlSession(const SdlSession&) = delete;
  SdlSession& operator=(const SdlSession&) = delete;

 private:
  [[noreturn]] static void refuse(const char* why) {
    fail(ErrorCode::unsupported, "no window can be opened: {} (cairn video decode needs none)", why);
  }
};

}  // namespace cairn::video
