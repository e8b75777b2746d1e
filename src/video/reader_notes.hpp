// What a reader tells of the pictures that it gives. Included by the files that call libav only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "video/libav.hpp"
#include "video/reader.hpp"
#include "video/source.hpp"

namespace cairn::video {

class ReaderNotes {
 public:
  void pixels(AVPixelFormat own, AVPixelFormat read);
  void left_out(const std::string& what);
  void damaged_packet(uint64_t frame) { damage(damaged_, frame); }
  void lost_packet(uint64_t frame) { damage(lost_, frame); }
  void ends_early(const std::string& what) { early_ = what; }
  void picture(const AVFrame& frame, const Format& format, uint64_t number);

  std::vector<std::string> lines(const std::string& name, const std::vector<Jump>& jumps) const;

 private:
  void damage(uint64_t& count, uint64_t frame);

  std::string pixels_, early_, resized_;
  std::vector<std::string> left_out_;
  uint64_t damaged_ = 0, lost_ = 0, concealed_ = 0, resizings_ = 0;
  std::optional<uint64_t> first_damage_;
};

}  // namespace cairn::video
