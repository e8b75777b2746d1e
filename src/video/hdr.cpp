#include "video/hdr.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "video/libav.hpp"

extern "C" {
#include <libavutil/mastering_display_metadata.h>
}

namespace cairn::video {
namespace {

template <class T>
bool read(const SideData& data, AVPacketSideDataType type, T& value) {
  if (data.type != type || data.bytes.size() < sizeof(T)) return false;
  std::memcpy(&value, data.bytes.data(), sizeof(T));
  return true;
}

// x264 and x265 count in the units of H.265's SEI: chromaticity of 0.00002, luminance of 0.0001 cd/m².
// SVT-AV1 takes them as they are.
std::string mastering(Codec codec, const AVMasteringDisplayMetadata& m) {
  const auto chromaticity = [&](const AVRational(&xy)[2]) {
    if (codec == Codec::av1) return fmt::format("({:.5f},{:.5f})", av_q2d(xy[0]), av_q2d(xy[1]));
    return fmt::format("({},{})", std::lround(av_q2d(xy[0]) * 50000), std::lround(av_q2d(xy[1]) * 50000));
  };
  const double most = m.has_luminance != 0 ? av_q2d(m.max_luminance) : 0,
               least = m.has_luminance != 0 ? av_q2d(m.min_luminance) : 0;
  const std::string luminance =
      codec == Codec::av1 ? fmt::format("({:.4f},{:.4f})", most, least)
                          : fmt::format("({},{})", std::lround(most * 1e4), std::lround(least * 1e4));
  const auto& [red, green, blue] = m.display_primaries;
  return fmt::format("G{}B{}R{}WP{}L{}", chromaticity(green), chromaticity(blue), chromaticity(red),
                     chromaticity(m.white_point), luminance);
}

}  // namespace

std::string hdr_settings(Codec codec, const std::vector<SideData>& side_data) {
  std::string settings;
  for (const SideData& data : side_data) {
    AVMasteringDisplayMetadata display{};
    AVContentLightMetadata light{};
    if (read(data, AV_PKT_DATA_MASTERING_DISPLAY_METADATA, display) && display.has_primaries != 0) {
      settings += fmt::format(":{}={}", codec == Codec::x265 ? "master-display" : "mastering-display",
                              mastering(codec, display));
    }
    if (read(data, AV_PKT_DATA_CONTENT_LIGHT_LEVEL, light)) {
      const char* key = codec == Codec::x265 ? "max-cll" : codec == Codec::x264 ? "cll" : "content-light";
      settings += fmt::format(":{}={},{}", key, light.MaxCLL, light.MaxFALL);
    }
  }
  return settings;
}

}  // namespace cairn::video
