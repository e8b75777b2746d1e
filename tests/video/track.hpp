// A file's video track, packet by packet.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "video/container.hpp"
#include "video/libav.hpp"

namespace cairn::video {

inline CodedVideo read_track(const std::string& file) {
  AVFormatContext* raw = nullptr;
  EXPECT_GE(avformat_open_input(&raw, file.c_str(), nullptr, nullptr), 0);
  const Libav<AVFormatContext> in(raw);
  EXPECT_GE(avformat_find_stream_info(raw, nullptr), 0);
  CodedVideo video;
  video.parameters.reset(avcodec_parameters_alloc());
  avcodec_parameters_copy(video.parameters.get(), raw->streams[0]->codecpar);
  video.shown.time_base = {raw->streams[0]->time_base.num, raw->streams[0]->time_base.den};
  video.shown.frame_rate = {25, 1};
  const Libav<AVPacket> packet(av_packet_alloc());
  while (av_read_frame(raw, packet.get()) >= 0) {
    video.packets.push_back({{packet->data, packet->data + packet->size},
                             packet->pts,
                             packet->dts,
                             packet->duration,
                             (packet->flags & AV_PKT_FLAG_KEY) != 0});
    av_packet_unref(packet.get());
  }
  return video;
}

}  // namespace cairn::video
