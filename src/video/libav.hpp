// libav's objects with destructors, its errors as ours, and what its versions (FFmpeg 5.1 … 7.1) name
// differently. Included by the files that call libav only.
#pragma once

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

#include <array>
#include <cstring>
#include <memory>
#include <span>
#include <string>

namespace cairn::video {

struct LibavDeleter {
  // An input's; an output has pb of its own to close.
  void operator()(AVFormatContext* p) const noexcept {
    if (p->iformat != nullptr) {
      avformat_close_input(&p);
      return;
    }
    if (p->pb != nullptr) avio_closep(&p->pb);
    avformat_free_context(p);
  }
  void operator()(AVCodecContext* p) const noexcept { avcodec_free_context(&p); }
  void operator()(AVFrame* p) const noexcept { av_frame_free(&p); }
  void operator()(AVPacket* p) const noexcept { av_packet_free(&p); }
  void operator()(SwsContext* p) const noexcept { sws_freeContext(p); }
};
template <class T>
using Libav = std::unique_ptr<T, LibavDeleter>;

inline std::string libav_reason(int error) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(error, text.data(), text.size());
  return text.data();
}

// A file's name as a URL: otherwise "12:30 clip.mp4" has a protocol.
inline std::string file_url(const std::string& path) {
  return "file:" + path;
}

inline std::string tag(const AVDictionary* tags, const char* name) {
  const AVDictionaryEntry* entry = av_dict_get(tags, name, nullptr, 0);
  return entry == nullptr ? "" : entry->value;
}

// FFmpeg 7 has AVFrame::duration and flags alone, 5.1 pkt_duration and a member for each.
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
inline int64_t duration_of(const AVFrame& frame) {
  return frame.duration;
}
inline void set_duration(AVFrame& frame, int64_t duration) {
  frame.duration = duration;
}
#else
inline int64_t duration_of(const AVFrame& frame) {
  return frame.pkt_duration;
}
inline void set_duration(AVFrame& frame, int64_t duration) {
  frame.pkt_duration = duration;
}
#endif

#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 29, 100)
inline bool is_key(const AVFrame& frame) {
  return (frame.flags & AV_FRAME_FLAG_KEY) != 0;
}
inline bool is_interlaced(const AVFrame& frame) {
  return (frame.flags & AV_FRAME_FLAG_INTERLACED) != 0;
}
inline bool top_field_first(const AVFrame& frame) {
  return (frame.flags & AV_FRAME_FLAG_TOP_FIELD_FIRST) != 0;
}
#else
inline bool is_key(const AVFrame& frame) {
  return frame.key_frame != 0;
}
inline bool is_interlaced(const AVFrame& frame) {
  return frame.interlaced_frame != 0;
}
inline bool top_field_first(const AVFrame& frame) {
  return frame.top_field_first != 0;
}
#endif

// A stream's side data; empty where it has none of the kind.
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 100)
inline std::span<const uint8_t> side_data_of(const AVStream& stream, AVPacketSideDataType type) {
  const AVPacketSideData* found =
      av_packet_side_data_get(stream.codecpar->coded_side_data, stream.codecpar->nb_coded_side_data, type);
  return found == nullptr ? std::span<const uint8_t>() : std::span<const uint8_t>(found->data, found->size);
}
inline bool add_side_data(AVStream& stream, AVPacketSideDataType type, std::span<const uint8_t> bytes) {
  AVPacketSideData* made = av_packet_side_data_new(
      &stream.codecpar->coded_side_data, &stream.codecpar->nb_coded_side_data, type, bytes.size(), 0);
  if (made != nullptr) std::memcpy(made->data, bytes.data(), bytes.size());
  return made != nullptr;
}
#else
inline std::span<const uint8_t> side_data_of(const AVStream& stream, AVPacketSideDataType type) {
  size_t size = 0;
  const uint8_t* data = av_stream_get_side_data(&stream, type, &size);
  return data == nullptr ? std::span<const uint8_t>() : std::span<const uint8_t>(data, size);
}
inline bool add_side_data(AVStream& stream, AVPacketSideDataType type, std::span<const uint8_t> bytes) {
  uint8_t* made = av_stream_new_side_data(&stream, type, bytes.size());
  if (made != nullptr) std::memcpy(made, bytes.data(), bytes.size());
  return made != nullptr;
}
#endif

}  // namespace cairn::video
