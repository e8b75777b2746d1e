// Frames to a coded video, by the encoders that libav has.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "video/container.hpp"
#include "video/frame.hpp"
#include "video/reader.hpp"

namespace cairn::video {

enum class Codec : uint8_t { x264, x265, av1 };
const char* name(Codec codec);
// Error invalid_argument lists them.
Codec parse_codec(std::string_view name);
// Whether this libav has its encoder (libx264, libx265, libsvtav1).
bool available(Codec codec);
// The constant rate factors that it takes: 0 … 51, AV1's to 63.
double largest_crf(Codec codec);

// The least width and height that it takes: libx265 3.5 corrupts memory below the size of its coding units,
// and libsvtav1 refuses as much.
uint32_t smallest_side(Codec codec);

// Error invalid_argument, naming those that there are, when the encoder has no preset of that name.
void check_preset(Codec codec, const std::string& preset);

struct CoderOptions {
  Codec codec = Codec::x265;
  double crf = 28;
  std::string preset;      // empty: slow, SVT-AV1's 5
  int threads = 0;         // 0: as many as processors; otherwise the bytes are the same on every machine
  double key_seconds = 0;  // a key frame at least so often; 0: as the encoder does
  // AV1's Wiener and self-guided filters. They do what a network at the same size does, and cost bytes
  // (docs/video_rd.md).
  bool loop_restoration = true;
};

// Encodes frames as they come. The encoders are tuned for PSNR, as the choices made here are. Errors:
// unsupported (no such encoder, a format that it refuses), io.
class Coder {
 public:
  Coder(const Format& format, const VideoInfo& info, const CoderOptions& options);
  ~Coder();
  Coder(const Coder&) = delete;
  Coder& operator=(const Coder&) = delete;

  void write(const Frame& frame);  // time stamps (in info's time base) must increase
  CodedVideo finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
