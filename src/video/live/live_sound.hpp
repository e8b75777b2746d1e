// The sound of a live stream in segments that end where those of its pictures do. Included by the files that
// call libav only.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "video/live/captured_sound.hpp"
#include "video/publish/sound_track.hpp"

namespace cairn::video {

class LiveSound {
 public:
  // Errors: SoundTrack's.
  LiveSound(CapturedSound& from, const SoundTrack::Write& write);

  size_t count() const { return tracks_.size(); }  // folders are sound0 …
  // A segment of pictures ends at `end` seconds: what has come so far becomes segments up to there. Sound
  // that has not come as far is left for the next call, but for its first segment.
  void cut(double end);
  void finish();
  // Those that have segments. target: seconds, PublishedTrack's.
  std::vector<PublishedTrack> tracks(int64_t target) const;
  std::vector<std::string> notes() const;

 private:
  struct Source {
    SoundTrack* track = nullptr;  // null: left out
    std::deque<Libav<AVPacket>> packets;
  };
  void take();

  CapturedSound& from_;
  std::vector<std::unique_ptr<SoundTrack>> tracks_;
  std::deque<Source> sources_;  // as from_'s
  std::vector<std::string> notes_;
};

}  // namespace cairn::video
