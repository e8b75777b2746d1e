// What is in a published folder, for its manifests and its index.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "video/frame.hpp"
#include "video/reader.hpp"

namespace cairn::video {

struct PublishedSegment {
  int64_t start = 0, duration = 0;  // ticks
  uint64_t bytes = 0;
};

// FOLDER/init.mp4 and FOLDER/1.m4s …
struct PublishedTrack {
  std::string folder, codecs;
  int64_t timescale = 1;  // ticks a second
  std::vector<PublishedSegment> segments;
  uint64_t init_bytes = 0;
  uint32_t width = 0, height = 0;  // of pictures
  Rational frame_rate, sample_aspect{1, 1};
  int samples_a_second = 0, channels = 0;  // of sound
  std::string language, title;
  bool usual = false;  // what is chosen where nobody chooses
  int64_t target = 0;  // seconds, of HLS's list: no segment is to be longer when rounded; 0: as the longest is

  double seconds(int64_t ticks) const { return static_cast<double>(ticks) / static_cast<double>(timescale); }
  double seconds() const {
    return segments.empty() ? 0 : seconds(segments.back().start + segments.back().duration);
  }
  uint64_t bytes() const {
    uint64_t sum = init_bytes;
    for (const PublishedSegment& segment : segments) sum += segment.bytes;
    return sum;
  }
  // Bits a second: of the densest segment, and of all.
  uint64_t peak() const {
    double most = 1;
    for (const PublishedSegment& segment : segments)
      most = std::max(most,
                      8.0 * static_cast<double>(segment.bytes) / std::max(seconds(segment.duration), 1e-3));
    return static_cast<uint64_t>(most + 0.5);
  }
  uint64_t average() const {
    return static_cast<uint64_t>(8.0 * static_cast<double>(bytes()) / std::max(seconds(), 1e-3) + 0.5);
  }
};

// One size or quality of the pictures, with the choices of networks that restore it.
struct PublishedRate {
  PublishedTrack track;
  uint32_t scale = 1;
  std::vector<std::string> levels;  // what the networks are called, the best first
  uint64_t network_bytes = 0;       // all network and segment files, once each
};

struct PublishedText {
  std::string file, language, title;
  bool usual = false;
};

struct Publication {
  std::string title;
  uint32_t width = 0, height = 0;  // of the restored pictures, as the original's
  Rational sample_aspect{1, 1};
  uint32_t bits = 8;
  Colour colour;                     // matrix and range are told
  std::vector<PublishedRate> rates;  // the least bytes first
  std::vector<PublishedTrack> sounds;
  std::vector<PublishedText> texts;
  std::vector<PublishedTrack> original;  // one, or none
  uint64_t original_bytes = 0;           // of the original's pictures, for comparison; 0: not known
  double seconds() const;
};

// MPEG-DASH (ISO/IEC 23009-1), static, one timeline a representation.
std::string dash_manifest(const Publication& publication);
// HLS (RFC 8216, version 7): the master playlist, and a track's own.
std::string hls_master(const Publication& publication);
std::string hls_playlist(const PublishedTrack& track);
std::string hls_text_playlist(const PublishedText& text, double seconds);
// video.json, which the page reads.
std::string page_index(const Publication& publication);

}  // namespace cairn::video
