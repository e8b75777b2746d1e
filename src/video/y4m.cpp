#include "video/y4m.hpp"

#include <fmt/format.h>

#include <cmath>

namespace cairn::video {
namespace {

constexpr double kSteady = 0.1;  // a rate whose mean is this near has a few frames missing

const char* colour_space(const VideoInfo& info) {
  const bool deep = info.format.bits > 8;
  switch (info.format.chroma) {
    case Chroma::none:
      return deep ? "mono10" : "mono";
    case Chroma::c422:
      return deep ? "422p10 XYSCSS=422P10" : "422 XYSCSS=422";
    case Chroma::c444:
      return deep ? "444p10 XYSCSS=444P10" : "444 XYSCSS=444";
    case Chroma::c420:
      break;
  }
  if (deep) return "420p10 XYSCSS=420P10";
  switch (info.colour.siting) {  // AVCHROMA_LOC_CENTER, _TOPLEFT
    case 2:
      return "420jpeg XYSCSS=420JPEG";
    case 3:
      return "420paldv XYSCSS=420PALDV";
    default:
      return "420mpeg2 XYSCSS=420MPEG2";
  }
}

}  // namespace

Rational steady_rate(const VideoInfo& info) {
  const double rate = info.frame_rate.value(), mean = info.mean_rate.value();
  return mean > 0 && std::abs(rate - mean) >= kSteady * rate ? info.mean_rate : info.frame_rate;
}

std::string y4m_header(const VideoInfo& info) {
  const Rational rate = steady_rate(info);
  const char fields = info.fields == Fields::progressive ? 'p' : info.fields == Fields::top_first ? 't' : 'b';
  std::string header =
      fmt::format("YUV4MPEG2 W{} H{} F{}:{} I{} A{}:{} C{}", info.format.width, info.format.height,
                  rate.numerator, rate.denominator, fields, info.sample_aspect.numerator,
                  info.sample_aspect.denominator, colour_space(info));
  if (info.colour.range == 1) header += " XCOLORRANGE=LIMITED";
  if (info.colour.range == 2) header += " XCOLORRANGE=FULL";
  return header + "\n";
}

void append_y4m_frame(const Frame& frame, std::string& out) {
  out += "FRAME\n";
  const bool deep = frame.format.bits > 8;
  for (size_t p = 0; p < frame.format.planes(); ++p) {
    const std::vector<uint16_t>& samples = frame.planes[p].samples;
    size_t at = out.size();
    out.resize(at + samples.size() * (deep ? 2 : 1));
    for (const uint16_t sample : samples) {
      out[at++] = static_cast<char>(sample & 0xFF);
      if (deep) out[at++] = static_cast<char>(sample >> 8);
    }
  }
}

}  // namespace cairn::video
