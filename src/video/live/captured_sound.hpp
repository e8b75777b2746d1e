// The sound between a stream's pictures, on their clock. Included by the files that call libav only.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "video/libav.hpp"

namespace cairn::video {

// Where the pictures' clock jumps, sound is moved with them: a packet belongs to the pictures whose stamps
// are near its own, and waits for them if they have not come yet. What comes twice or too late is dropped.
class CapturedSound {
 public:
  struct Track {
    const AVStream* stream = nullptr;
    std::string what;  // for errors and notes
  };

  // Before the first packet.
  void add(const AVStream& stream, const std::string& input);
  const std::vector<Track>& tracks() const { return tracks_; }

  // By the thread that reads. Takes the packet if it is of a track.
  void take(AVPacket& packet);
  // A picture's time, seconds: of its clock, and of ours. jumped: its clock did.
  void picture(double in, double now, bool jumped);

  // By any thread: what came since the last call; stream_index counts tracks(), stamps are of our clock.
  std::vector<Libav<AVPacket>> packets();

 private:
  // Pictures without a jump between.
  struct Run {
    double first = 0, last = 0, shift = 0;  // seconds of its clock; ours less its
    bool near(double stamp) const;
  };
  struct State {
    double last = -1;     // of ours
    bool in_now = false;  // its packets have reached the present run
  };
  struct Held {
    Libav<AVPacket> packet;
    double since = 0;  // seconds of ours
  };
  bool place(AVPacket& packet);

  std::vector<Track> tracks_;
  std::vector<State> states_;
  std::optional<Run> before_, now_;
  std::vector<Held> held_;
  std::mutex mutex_;  // of ready_
  std::vector<Libav<AVPacket>> ready_;
};

}  // namespace cairn::video
