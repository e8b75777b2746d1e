// Video files to planes, through libav.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "video/frame.hpp"
#include "video/orientation.hpp"

namespace cairn::video {

struct Rational {
  int64_t numerator = 0, denominator = 1;
  double value() const noexcept { return static_cast<double>(numerator) / static_cast<double>(denominator); }
};

// Side data of a track or a picture as libav has it: HDR's mastering display and light level, stereo, sphere.
struct SideData {
  int type = 0;  // AVPacketSideDataType
  std::vector<uint8_t> bytes;
  bool operator==(const SideData&) const = default;
};

enum class Fields : uint8_t { progressive, top_first, bottom_first };

struct VideoInfo {
  Format format;  // of the frames that read() gives; 12-bit and RGB input is converted to the nearest
  Colour colour;
  Rational time_base;            // seconds of one tick of Frame::pts
  Rational frame_rate;           // libav's guess; 25/1 where nothing is known
  Rational mean_rate;            // frames by time, where that is known; otherwise the same
  Rational sample_aspect{1, 1};  // width : height of a sample
  Orientation orientation;       // of the frames that read() gives: they are not turned
  Fields fields = Fields::progressive;
  std::vector<SideData> side_data;  // without the orientation
  std::string codec;                // libav's short name, "h264"
  int stream = 0;                   // index of the video stream in the file
  std::optional<double> seconds;  // at which the video stream ends, from the file's start, where that is said
  uint64_t frames = 0;            // as the file says; 0: it does not
};

struct ReaderOptions {
  int threads = 0;  // of the decoder; 0: as many as processors
  // What is broken is passed over and counted, a file that ends early just ends; otherwise read() throws.
  bool keep_going = false;
  bool grey_as_420 = false;  // grey gets neutral chroma: some coders know no grey
  std::string called{};      // the file's name in errors and notes; empty: its path
};

// Decodes a file's best video stream (covers are none), frame by frame in the order of presentation; time
// stamps as Source has them. A frame of another size than the first is scaled to it. Errors, each naming the
// file: Source's; format: no video track, no frames (on the first read), a file that ends early, broken
// packets; unsupported: a codec libav does not know.
class Reader {
 public:
  explicit Reader(const std::string& path, const ReaderOptions& options = {});
  ~Reader();
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;

  const VideoInfo& info() const noexcept;  // what the first picture tells included
  // False after the last frame. `frame`'s memory is reused. Time stamps increase strictly.
  bool read(Frame& frame);
  void rewind();  // the next read() gives the first frame again
  // The next read() gives frame `number`, whose time stamp is `pts`: from a picture before it that can be
  // decoded alone, where the file leads there and the stamp is met again, otherwise from the file's start.
  void seek(uint64_t number, int64_t pts);

  // What of the pictures that were read is changed, was damaged or is left out: a line each, naming the file.
  std::vector<std::string> notes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
