// Matroska as libav writes it. Included by the files that call libav only.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "video/container.hpp"
#include "video/libav.hpp"

namespace cairn::video {

class Muxer {
 public:
  // Writes the file `to`, which errors call `path`. Errors: io, out_of_memory.
  Muxer(const std::string& path, const std::string& to);

  AVFormatContext& file() { return *file_; }
  AVStream& add_stream();
  // Whose codecpar is there.
  void describe(AVStream& track, const Shown& shown);
  void add_attachment(std::span<const uint8_t> bytes, const std::string& name, const std::string& type,
                      const AVDictionary* tags = nullptr);

  void begin();
  // Takes the packet's content. Stamps that fall back are held, as ffmpeg does.
  void write(AVPacket& packet, AVRational time_base, int index);
  void end();

 private:
  void check(int error) const;
  std::string path_, to_;
  Libav<AVFormatContext> file_;
  std::vector<int64_t> last_;  // decoding times, by track
  int turned_ = -1;            // the track whose projection is a plain rectangle
};

// Whether Matroska holds a track of these parameters as it is, as far as its header tells.
bool matroska_holds(const AVStream& stream);

}  // namespace cairn::video
