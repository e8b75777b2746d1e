// Fragmented MP4 as libav writes it, in memory: an initialisation segment and media segments (ISO/IEC 14496-12,
// CMAF's shape). Included by the files that call libav only.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "video/container.hpp"
#include "video/libav.hpp"

namespace cairn::video {

class Fragmenter {
 public:
  // One track. reordered: a video track, whose first packet is shown at 0; decoding times may begin before.
  // what: names the track in errors. Errors: io, out_of_memory, unsupported (what MP4 cannot hold).
  Fragmenter(const AVCodecParameters& parameters, const Shown& shown, bool reordered, const std::string& what);
  ~Fragmenter();
  Fragmenter(const Fragmenter&) = delete;
  Fragmenter& operator=(const Fragmenter&) = delete;

  AVRational time_base() const;  // that media segments count in; known after the first write()
  // Stamps in time_base of `shown`; decoding times increase.
  void write(const CodedPacket& packet);
  // What was written since the last cut: a media segment. Not empty.
  std::vector<uint8_t> cut();
  // Known after the first cut.
  const std::vector<uint8_t>& init() const { return init_; }

 private:
  void check(int error) const;
  static int take(void* self, uint8_t* bytes, int count);
  std::vector<uint8_t> flush();

  std::string what_;
  Libav<AVFormatContext> file_;
  Libav<AVPacket> packet_;
  AVRational from_{};
  bool late_ = false;  // the initialisation segment is written with the first flush
  std::vector<uint8_t> written_, init_;
};

// RFC 6381 names, as Media Source, HLS and DASH want them: "avc1.64001f", "av01.0.04M.08", "mp4a.40.2", "opus".
// Error unsupported, naming `what`, for other codecs and headers that do not tell.
std::string codec_string(const AVCodecParameters& parameters, const std::string& what);

}  // namespace cairn::video
