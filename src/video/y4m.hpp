// YUV4MPEG2, what video tools pass through pipes (mjpegtools' yuv4mpeg.h; FFmpeg's yuv4mpegenc.c for deeper
// samples and XCOLORRANGE).
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "video/reader.hpp"

namespace cairn::video {

// The one rate that serves frames without time stamps: the mean where rates vary.
Rational steady_rate(const VideoInfo& info);

// "YUV4MPEG2 W… H… F… I… A… C… XCOLORRANGE=…\n". The format has no time stamps: frames of a variable rate
// follow each other at the average one.
std::string y4m_header(const VideoInfo& info);

// "FRAME\n" and the planes' samples, one byte each or two, the low one first.
void append_y4m_frame(const Frame& frame, std::string& out);

}  // namespace cairn::video
