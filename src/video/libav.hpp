// libav's objects with destructors, and its errors as ours. Included by the files that call libav only.
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
#include <memory>
#include <string>

namespace cairn::video {

struct LibavDeleter {
  void operator()(AVFormatContext* p) const noexcept { avformat_close_input(&p); }
  void operator()(AVCodecContext* p) const noexcept { avcodec_free_context(&p); }
  void operator()(AVFrame* p) const noexcept { av_frame_free(&p); }
  void operator()(AVPacket* p) const noexcept { av_packet_free(&p); }
  void operator()(SwsContext* p) const noexcept { sws_freeContext(p); }
};
template <class T>
using Libav = std::unique_ptr<T, LibavDeleter>;

// FFmpeg 7 has AVFrame::duration and a flag alone; before 6.1 there are pkt_duration and key_frame alone.
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100)
inline int64_t& frame_duration(AVFrame& frame) {
  return frame.duration;
}
inline bool is_key_frame(const AVFrame& frame) {
  return (frame.flags & AV_FRAME_FLAG_KEY) != 0;
}
#else
inline int64_t& frame_duration(AVFrame& frame) {
  return frame.pkt_duration;
}
inline bool is_key_frame(const AVFrame& frame) {
  return frame.key_frame != 0;
}
#endif

inline std::string libav_reason(int error) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(error, text.data(), text.size());
  return text.data();
}

}  // namespace cairn::video
