// A live stream coded, overfitted and published while it runs (LiveNAS and NEALS train on the sender's side
// while it sends; here a network a segment is trained from the last one's).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "video/encode/encode.hpp"
#include "video/live/capture.hpp"
#include "video/publish/publish.hpp"

namespace cairn::video {

struct LiveOptions {
  Mode mode = Mode::x1;  // plain: no networks
  Codec codec = Codec::x264;
  double crf = 26;
  std::vector<RateRequest> rates;  // several of them at once; empty: one of mode and crf
  std::string preset;              // empty: veryfast, SVT-AV1's 10
  Architecture network;            // C8M4
  uint32_t weight_bits = 5;
  bool train = true;  // false: the general network for all
  double segment_seconds = 4;
  uint32_t threads = 0;  // of encoder and of training; 0: as many as processors
  CaptureOptions capture;
  std::string title;
  std::string record;    // a Matroska file of all, with its networks, in the end (one rate); empty: none
  bool replace = false;  // a folder that was published before
};

// Of one rate; they are numbered as their folders are, the smallest first.
struct LiveSegmentReport {
  size_t rate = 0;
  uint64_t number = 0, frames = 0, video = 0, network = 0,
           delta = 0;  // bytes; delta: of what differs from the last
  const char* from = "none";
  uint32_t steps = 0;
  double seconds_after = 0;        // from its last frame's capture to its publication
  double plain = 0, restored = 0;  // mean squared errors, SegmentNetwork's
};

struct LiveReport {
  std::vector<LiveSegmentReport> segments;      // all rates of the first, of the second …
  uint64_t video = 0, networks = 0, sound = 0;  // bytes
  uint64_t late = 0;                            // segments that came after the next one's capture had ended
  double seconds = 0;
  bool interrupted = false;
  std::vector<std::string> notes;
};

// Runs until the input ends, stops, or an interrupt. DIR has publish()'s layout and is whole after every
// segment: a segment's files appear before the playlists name it. At the end the manifests say that it has
// ended. Errors: Capture's, Coder's; io: a folder that cannot be written (a full disk: what was published
// stays playable).
LiveReport live(const std::string& input, const std::string& folder, const LiveOptions& options,
                const EncodeProgress& progress);

}  // namespace cairn::video
