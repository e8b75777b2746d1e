// A folder that any static web server serves: segments, manifests, networks, and a page that plays and restores.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "video/encode/encode.hpp"

namespace cairn::video {

// A quality that a plain source is encoded at: "35", "x2:40".
struct RateRequest {
  Mode mode = Mode::x1;
  double crf = 35;
};
std::vector<RateRequest> parse_rates(const std::string& text);  // Error invalid_argument

struct PublishOptions {
  bool replace = false;         // a folder that was published before
  double segment_seconds = 4;   // at least; segments begin at key frames
  std::string original;         // shown beside, and what bytes are compared with; empty: none
  std::string title;            // empty: the first input's name
  bool audio = true, subtitles = true;
  // Of a source that cairn did not encode:
  std::vector<RateRequest> rates;        // empty: as usual
  std::vector<std::string> networks = {"C8M4"};  // further ones are for weaker machines
  EncodeOptions encode;                  // codec, preset, training
};

struct PublishReport {
  size_t rates = 0, segments = 0;
  uint64_t video = 0, networks = 0, original = 0, all = 0;  // bytes
  double seconds = 0;
  std::vector<std::string> notes;
};

// inputs: cairn videos of one original (those that share their small video become one rate with several
// networks; an ordinary video among them a rate without); or one ordinary video, which is encoded. Errors:
// invalid_argument, unsupported: what browsers do not play or the page does not restore; those of encode(),
// Reader, OutputFolder.
PublishReport publish(const std::vector<std::string>& inputs, const std::string& folder,
                      const PublishOptions& options, const EncodeProgress& progress, ThreadPool& pool);

}  // namespace cairn::video
