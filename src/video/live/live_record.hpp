// All of a live stream as one cairn video.
#pragma once

#include <string>
#include <vector>

#include "video/attachment.hpp"
#include "video/live/segment.hpp"

namespace cairn::video {

// A stream of one rate. Kept in memory until write().
class LiveRecord {
 public:
  explicit LiveRecord(const std::string& path) : path_(path), file_(path) {}  // Errors: MatroskaFile's
  // restoration: with the segment's network, written as it differs from the last; null: none. After 254
  // networks the last one goes on.
  void add(const LiveSegment& segment, const Restoration* restoration);
  void write();

 private:
  std::string path_;
  MatroskaFile file_;
  CodedVideo video_;
  uint64_t frames_ = 0;
  Restoration restorations_;
  std::vector<std::byte> last_;  // network, as it is coded
};

}  // namespace cairn::video
