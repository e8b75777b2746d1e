// play(): the thread that shows frames when they are due.
#include "video/play/player.hpp"

#include "base/error.hpp"

#ifdef CAIRN_HAS_SDL

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/clock.hpp"
#include "base/interrupt.hpp"
#include "video/play/ahead.hpp"
#include "video/play/screen.hpp"
#include "video/play/sdl.hpp"
#include "video/play/speaker.hpp"
#include "video/resample.hpp"

namespace cairn::video {
namespace {

// Seconds of the video that have passed: by ear where there is sound.
class Clock {
 public:
  double now(const Speaker& speaker) {
    const double system = base_ + (paused_ ? 0 : watch_.seconds());
    if (!started_ || paused_ || !speaker.running()) return system;
    const double heard = speaker.heard();
    // The device reports in steps of its buffer: the system's clock goes on between them, and is set where
    // they part.
    if (heard > 0 && std::abs(heard - system) > 0.04) set(heard);
    return base_ + watch_.seconds();
  }
  void set(double seconds) {
    base_ = seconds;
    watch_.restart();
    started_ = true;
  }
  void pause(bool paused, const Speaker& speaker) {
    const double at = now(speaker);
    paused_ = paused;
    set(at);
  }

 private:
  Stopwatch watch_;
  double base_ = 0;
  bool started_ = false, paused_ = false;
};

class Player {
 public:
  Player(const std::string& path, const PlayOptions& options)
      : path_(path),
        options_(options),
        reader_(path, options.restore, {.keep_going = true}, true),
        screen_(reader_.info(), path, options.fullscreen),
        ahead_(reader_, options.loop) {}

  PlayReport run() {
    std::unique_ptr<Ahead::Item> now = wait_for_frame(), next;
    if (now != nullptr) show(*now);
    report_.first_frame = watch_.seconds();
    // Devices take their time to open: the first picture does not wait for them.
    if (!options_.mute && !options_.loop) speaker_.open(path_);
    speaker_.fill();
    speaker_.pause(false);
    if (now != nullptr) clock_.set(now->due);
    if (now != nullptr) ahead_.give_back(std::move(now));
    while (!quit_ && (options_.frames == 0 || report_.shown < options_.frames)) {
      now = next != nullptr ? std::move(next) : wait_for_frame();
      if (now == nullptr) break;
      next = ahead_.take(0);
      const double next_due = next != nullptr ? next->due : now->due + 1 / reader_.info().frame_rate.value();
      const Timing timing = time_frame(now->due, next_due, clock_.now(speaker_));
      if (timing.drop && next != nullptr) {
        ++report_.dropped;
      } else {
        wait_until(now->due);
        if (quit_) break;
        report_.largest_lag = std::max(report_.largest_lag, clock_.now(speaker_) - now->due);
        show(*now);
      }
      ahead_.late(clock_.now(speaker_));
      ahead_.give_back(std::move(now));
    }
    // The last frame stays for its time.
    if (!quit_ && options_.frames == 0) wait_until(clock_.now(speaker_) + shown_for_);
    report_.dropped += ahead_.dropped();
    return report_;
  }

 private:
  std::unique_ptr<Ahead::Item> wait_for_frame() {
    while (!quit_ && !ahead_.done()) {
      if (auto item = ahead_.take(0.01)) return item;
      handle_events();
      speaker_.fill();
    }
    return ahead_.take(0);  // rethrows what stopped the other thread
  }

  void wait_until(double due) {
    while (!quit_) {
      handle_events();
      speaker_.fill();
      const double left = due - clock_.now(speaker_);
      if (left <= 0 && !paused_) return;
      SDL_Delay(paused_ ? 10u : static_cast<uint32_t>(std::clamp(left * 1000, 1.0, 10.0)));
    }
  }

  void show(const Ahead::Item& item) {
    if (bicubic_) {
      upscale(item.small, reader_.file().restoration ? reader_.file().restoration->scale : 1, Filter::bicubic,
              reader_.stored_format(), plain_, nullptr);
      reader_.stand_up(plain_, upright_);
      screen_.show(upright_);
    } else {
      screen_.show(item.frame);
    }
    shown_for_ = static_cast<double>(item.frame.duration) * reader_.info().time_base.value();
    ++report_.shown;
  }

  void handle_events() {
    if (interrupted()) quit_ = true;
    SDL_Event event;
    while (SDL_PollEvent(&event) != 0) {
      if (event.type == SDL_QUIT) quit_ = true;
      if (event.type == SDL_WINDOWEVENT) screen_.redraw();
      if (event.type != SDL_KEYDOWN && event.type != SDL_KEYUP) continue;
      const bool down = event.type == SDL_KEYDOWN;
      switch (event.key.keysym.sym) {
        case SDLK_q:
        case SDLK_ESCAPE:
          quit_ = quit_ || down;
          break;
        case SDLK_b:
          bicubic_ = down;
          break;
        case SDLK_f:
          if (down && event.key.repeat == 0) screen_.toggle_fullscreen();
          break;
        case SDLK_SPACE:
          if (down && event.key.repeat == 0) {
            clock_.pause(!paused_, speaker_);
            paused_ = !paused_;
            speaker_.pause(paused_);
          }
          break;
        default:
          break;
      }
    }
  }

  const std::string path_;
  const PlayOptions options_;
  Stopwatch watch_;
  SdlSession session_;
  RestoredReader reader_;
  Screen screen_;
  Speaker speaker_;
  Ahead ahead_;
  Clock clock_;
  Frame plain_, upright_;
  PlayReport report_;
  double shown_for_ = 0;  // seconds, of the frame in the window
  bool quit_ = false, paused_ = false, bicubic_ = false;
};

}  // namespace

PlayReport play(const std::string& path, const PlayOptions& options) {
  return Player(path, options).run();
}

}  // namespace cairn::video

#else

namespace cairn::video {

PlayReport play(const std::string&, const PlayOptions&) {
  fail(ErrorCode::unsupported, "this cairn was built without SDL2 (libsdl2-dev): it has no player");
}

}  // namespace cairn::video

#endif
