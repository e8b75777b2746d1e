// A published folder that grows by segments.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "video/live/capture.hpp"
#include "video/live/segment.hpp"

namespace cairn::video {

struct LiveRate {
  uint32_t scale = 1;
  std::string level;  // what its networks are called; empty: it has none
};

class LiveFolder {
 public:
  // sound: published in segments of its own. Errors: invalid_argument: a folder with other things in it, or
  // one published before without `replace`; unsupported: sound that MP4 cannot hold; io.
  LiveFolder(const std::string& path, const std::string& title, const VideoInfo& original,
             const std::vector<LiveRate>& rates, double segment_seconds, CapturedSound& sound, bool replace);
  ~LiveFolder();
  LiveFolder(const LiveFolder&) = delete;
  LiveFolder& operator=(const LiveFolder&) = delete;

  // Writes the segment's files, then what names them. restorations: of each rate, with one network; none
  // where it has none. Returns each rate's bytes of network and segment file that are new. Errors: io, naming
  // folder and file; unsupported.
  std::vector<uint64_t> add(const LiveSegment& segment,
                            const std::vector<std::optional<Restoration>>& restorations);
  uint64_t sound_bytes() const;
  std::vector<std::string> notes() const;  // of sound that is changed or left out
  // No segment comes any more.
  void end();
  // The same as far as it goes, before the process is ended (BeforeForcedEnd); called from any thread.
  void end_at_once() noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
