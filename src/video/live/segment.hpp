// A segment of a live stream, and the network that restores it.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "video/encode/clip.hpp"
#include "video/encode/encode.hpp"

namespace cairn::video {

// At one rate.
struct LiveCoded {
  CodedVideo video;    // begins with a key frame, and nothing outside is needed
  uint64_t bytes = 0;  // of its packets
};

struct LiveSegment {
  uint64_t number = 0;  // from 1
  std::vector<LiveCoded> rates;
  std::vector<int64_t> stamps;  // of its frames, ticks; and where the last one ends
  // Some of its frames, evenly spread, to train on: which, and what they were.
  std::vector<uint64_t> kept;
  std::vector<Plane> originals;  // luma
  double captured = 0;           // on the clock that deadlines are told by
};

struct SegmentNetwork {
  enum class From : uint8_t { none, last, fresh };  // the small video as it is, the network before, a new one
  From from = From::none;
  Network network;
  uint32_t steps = 0;
  double seconds = 0;
  // Mean squared error of luma over a few frames, without a network and with the one chosen.
  double plain = 0, restored = 0;
};

// What all segments have in common at one rate.
struct LiveShape {
  size_t rate = 0;  // which of theirs
  Format original, small;
  uint32_t scale = 1;
  Architecture network;
  uint32_t weight_bits = 5;
};

// Trains a network for the shape's rate from `last` (null: from random weights) on the segment as it is
// decoded, until passed() is 1, and takes whichever restores it best: none, the last, the new one. An
// interrupt, or too little time, leaves the last. passed: 0 … 1.
SegmentNetwork overfit_segment(const LiveSegment& segment, const LiveShape& shape, const Network* last,
                               const std::function<double()>& passed, ThreadPool& pool);

}  // namespace cairn::video
