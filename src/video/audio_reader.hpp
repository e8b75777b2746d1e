// The sound of a file, for playing it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace cairn::video {

// Decodes a file's best audio track to interleaved 16-bit stereo at 48 kHz. Silence is put where the track
// has a gap, so that sample n always belongs to second n / 48,000 of the file.
class AudioReader {
 public:
  static constexpr int kRate = 48000, kChannels = 2;

  // Null where the file has no audio track that libav can decode.
  static std::unique_ptr<AudioReader> open(const std::string& path);
  ~AudioReader();
  AudioReader(const AudioReader&) = delete;
  AudioReader& operator=(const AudioReader&) = delete;

  // Appends the next samples; false at the end (broken packets are passed over).
  bool read(std::vector<int16_t>& samples);

 private:
  AudioReader();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
