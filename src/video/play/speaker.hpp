#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "video/audio_reader.hpp"
#include "video/play/sdl.hpp"

namespace cairn::video {

constexpr uint32_t kAudioAhead = AudioReader::kRate;  // samples that wait for the device: one second

// The audio device, and the time that has been heard.
class Speaker {
 public:
  Speaker() = default;
  // Without sound or a device for it, the video plays silently.
  void open(const std::string& path) {
    const Hush hush;
    if (SDL_InitSubSystem(SDL_INIT_AUDIO) != 0) return;
    reader_ = AudioReader::open(path);
    if (reader_ == nullptr) return;
    SDL_AudioSpec wanted{}, got{};
    wanted.freq = AudioReader::kRate;
    wanted.format = AUDIO_S16SYS;
    wanted.channels = AudioReader::kChannels;
    wanted.samples = 1024;
    device_ = SDL_OpenAudioDevice(nullptr, 0, &wanted, &got, 0);
    if (device_ == 0) reader_.reset();
    buffer_ = got.samples;
  }
  ~Speaker() {
    if (device_ != 0) SDL_CloseAudioDevice(device_);
  }
  Speaker(const Speaker&) = delete;
  Speaker& operator=(const Speaker&) = delete;

  void pause(bool paused) {
    if (device_ != 0) SDL_PauseAudioDevice(device_, paused ? 1 : 0);
  }

  void fill() {
    while (reader_ != nullptr && !ended_ && waiting() < kAudioAhead) {
      samples_.clear();
      ended_ = !reader_->read(samples_);
      if (samples_.empty()) continue;
      SDL_QueueAudio(device_, samples_.data(), static_cast<uint32_t>(samples_.size() * sizeof(int16_t)));
      queued_ += samples_.size() / AudioReader::kChannels;
    }
  }

  // Whether there is sound left to keep time by.
  bool running() const { return reader_ != nullptr && !(ended_ && waiting() == 0); }
  double heard() const {
    const double in_device = static_cast<double>(buffer_) / AudioReader::kRate;
    return static_cast<double>(queued_ - waiting()) / AudioReader::kRate - in_device;
  }

 private:
  uint64_t waiting() const {
    return device_ == 0 ? 0 : SDL_GetQueuedAudioSize(device_) / (sizeof(int16_t) * AudioReader::kChannels);
  }
  std::unique_ptr<AudioReader> reader_;
  SDL_AudioDeviceID device_ = 0;
  uint64_t queued_ = 0;
  uint32_t buffer_ = 0;
  bool ended_ = false;
  std::vector<int16_t> samples_;
};

}  // namespace cairn::video
