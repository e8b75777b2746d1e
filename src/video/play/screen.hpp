#pragma once

#include <string>
#include <vector>

#include "base/error.hpp"
#include "video/play/sdl.hpp"
#include "video/reader.hpp"

namespace cairn::video {

// Shows planes as they are: SDL converts them on the graphics card.
class Screen {
 public:
  Screen(const VideoInfo& info, const std::string& title, bool fullscreen) {
    const Format& f = info.format;
    const double aspect = info.sample_aspect.value();
    window_.reset(SDL_CreateWindow(
        title.c_str(), SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, static_cast<int>(f.width * aspect),
        static_cast<int>(f.height),
        SDL_WINDOW_RESIZABLE | static_cast<uint32_t>(fullscreen ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0)));
    if (window_ == nullptr) fail(ErrorCode::unsupported, "no window can be opened: {}", SDL_GetError());
    renderer_.reset(SDL_CreateRenderer(window_.get(), -1, 0));
    if (renderer_ == nullptr) renderer_.reset(SDL_CreateRenderer(window_.get(), -1, SDL_RENDERER_SOFTWARE));
    if (renderer_ == nullptr) fail(ErrorCode::unsupported, "no window can be drawn in: {}", SDL_GetError());
    SDL_RenderSetLogicalSize(renderer_.get(), static_cast<int>(f.width * aspect), static_cast<int>(f.height));
    const bool full = info.colour.range == 2;
    const bool bt709 = info.colour.matrix == 1 || (info.colour.matrix == 2 && f.height >= 720);
    SDL_SetYUVConversionMode(full ? SDL_YUV_CONVERSION_JPEG
                                  : (bt709 ? SDL_YUV_CONVERSION_BT709 : SDL_YUV_CONVERSION_BT601));
    texture_.reset(SDL_CreateTexture(renderer_.get(), SDL_PIXELFORMAT_IYUV, SDL_TEXTUREACCESS_STREAMING,
                                     static_cast<int>(f.width), static_cast<int>(f.height)));
    if (texture_ == nullptr) fail(ErrorCode::unsupported, "no window can be drawn in: {}", SDL_GetError());
  }

  void show(const Frame& frame) {
    const Format& f = frame.format;
    const uint32_t half_width = (f.width + 1) / 2, half_height = (f.height + 1) / 2;
    bytes_[0].resize(static_cast<size_t>(f.width) * f.height);
    const unsigned down = f.bits - 8;
    for (size_t i = 0; i < bytes_[0].size(); ++i)
      bytes_[0][i] = static_cast<uint8_t>(frame.planes[0].samples[i] >> down);
    for (size_t p = 1; p < 3; ++p) {
      bytes_[p].assign(static_cast<size_t>(half_width) * half_height, 128);
      if (f.planes() == 1) continue;
      // Chroma of 4:2:2 and 4:4:4 is thinned out: the window shows 4:2:0.
      const Plane& plane = frame.planes[p];
      const uint32_t step_x = f.shift_x(p) == 1 ? 1 : 2, step_y = f.shift_y(p) == 1 ? 1 : 2;
      for (uint32_t y = 0; y < half_height; ++y) {
        const uint16_t* row = plane.row(y * step_y);
        for (uint32_t x = 0; x < half_width; ++x)
          bytes_[p][static_cast<size_t>(y) * half_width + x] = static_cast<uint8_t>(row[x * step_x] >> down);
      }
    }
    SDL_UpdateYUVTexture(texture_.get(), nullptr, bytes_[0].data(), static_cast<int>(f.width),
                         bytes_[1].data(), static_cast<int>(half_width), bytes_[2].data(),
                         static_cast<int>(half_width));
    redraw();
  }
  void redraw() {
    SDL_RenderClear(renderer_.get());
    SDL_RenderCopy(renderer_.get(), texture_.get(), nullptr, nullptr);
    SDL_RenderPresent(renderer_.get());
  }
  void toggle_fullscreen() {
    const bool full = (SDL_GetWindowFlags(window_.get()) & SDL_WINDOW_FULLSCREEN_DESKTOP) != 0;
    SDL_SetWindowFullscreen(window_.get(), full ? 0 : SDL_WINDOW_FULLSCREEN_DESKTOP);
  }

 private:
  Sdl<SDL_Window> window_;
  Sdl<SDL_Renderer> renderer_;
  Sdl<SDL_Texture> texture_;
  std::vector<uint8_t> bytes_[3];
};

}  // namespace cairn::video
