#include "video/packets.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/source.hpp"

namespace cairn::video {
namespace {

// Matroska holds no decoding times and demuxers guess them, but muxers want them: increasing, none after the
// packet's own time. So packet i gets the i-th of all times, put off by as many as frames are reordered.
void set_decoding_times(std::vector<CodedPacket>& packets) {
  std::vector<int64_t> times;
  for (const CodedPacket& packet : packets) times.push_back(packet.pts);
  std::ranges::sort(times);
  size_t delay = 0;
  for (size_t i = 0; i < packets.size(); ++i) {
    const auto rank =
        static_cast<size_t>(std::ranges::upper_bound(times, packets[i].pts) - times.begin()) - 1;
    delay = std::max(delay, i - std::min(i, rank));
  }
  for (size_t i = 0; i < packets.size(); ++i) {
    packets[i].dts =
        i >= delay ? times[i - delay]
                   : times[0] - static_cast<int64_t>(delay - i) * std::max<int64_t>(packets[0].duration, 1);
  }
}

}  // namespace

CodedVideo read_packets(const std::string& path) {
  const VideoInfo info = Reader(path).info();
  Source source(path);
  CodedVideo video;
  video.parameters.reset(avcodec_parameters_alloc());
  const Libav<AVPacket> packet(av_packet_alloc());
  if (packet == nullptr || video.parameters == nullptr ||
      avcodec_parameters_copy(video.parameters.get(), source.stream(info.stream).codecpar) < 0)
    fail(ErrorCode::out_of_memory, "{}: no memory for a track", path);
  video.parameters->codec_tag = 0;  // the container's own
  video.shown = shown(info);
  source.only(info.stream);
  int error = 0;
  while ((error = source.read(*packet)) >= 0) {
    throw_if_interrupted();
    if (packet->stream_index == info.stream) {
      if (packet->pts == AV_NOPTS_VALUE) {
        fail(ErrorCode::format, "{}: packet {} has no time stamp: put the video into a container", path,
             video.packets.size());
      }
      CodedPacket& coded = video.packets.emplace_back();
      coded.data.assign(packet->data, packet->data + packet->size);
      coded.pts = packet->pts;
      coded.duration = packet->duration;
      coded.key = (packet->flags & AV_PKT_FLAG_KEY) != 0;
    }
    av_packet_unref(packet.get());
  }
  if (error != AVERROR_EOF) fail(ErrorCode::format, "{}: {}", path, libav_reason(error));
  if (video.packets.empty()) fail(ErrorCode::format, "{}: no frames", path);
  set_decoding_times(video.packets);
  return video;
}

}  // namespace cairn::video
