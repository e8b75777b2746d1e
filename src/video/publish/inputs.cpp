#include "video/publish/inputs.hpp"

#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.hpp"
#include "video/integer_network.hpp"
#include "video/libav.hpp"
#include "video/packets.hpp"

namespace cairn::video {
namespace {

uint64_t content(const CodedVideo& coded) {
  uint64_t hash = 0;
  for (const CodedPacket& packet : coded.packets) hash = XXH64(packet.data.data(), packet.data.size(), hash);
  return hash;
}

double cost(const Restoration& r) {
  double most = 0;
  for (const Network& network : r.networks) most = std::max(most, macs_per_small_pixel(network));
  return most;
}

// What the page runs: quantised chains that see one frame.
void check_networks(const Restoration& r, const std::string& path) {
  const auto check = [&](const Network& network, const Architecture& architecture) {
    bool runs = runs_in_integers(network) && network.frames == 1;
    for (const Layer& layer : network.layers)
      runs = runs && layer.kernel == 3 && layer.in <= 64 && layer.out <= 64;
    if (!runs) {
      fail(ErrorCode::unsupported,
           "{}: its network is {}: pages restore by quantised chains of one frame (C8M4 …)", path,
           architecture.name());
    }
  };
  for (size_t i = 0; i < r.networks.size(); ++i) check(r.networks[i], r.architectures[i]);
  if (r.chroma) check(*r.chroma, r.architectures.back());
}

std::string called(const Restoration& r) {
  std::string name = r.architectures.front().name();
  if (r.networks.size() > 1) name += fmt::format(" × {}", r.networks.size());
  return name;
}

}  // namespace

std::string why_not_played(const CodedVideo& coded) {
  const AVCodecParameters& p = *coded.parameters;
  const bool h264 = p.codec_id == AV_CODEC_ID_H264;
  if (!h264 && p.codec_id != AV_CODEC_ID_AV1)
    return fmt::format("its video is {}, browsers play AV1 and H.264 (--codec av1, x264)",
                       avcodec_get_name(p.codec_id));
  const auto format = static_cast<AVPixelFormat>(p.format);
  const bool eight = format == AV_PIX_FMT_YUV420P || format == AV_PIX_FMT_YUVJ420P;
  if (!eight && (h264 || format != AV_PIX_FMT_YUV420P10)) {
    const char* name = av_get_pix_fmt_name(format);
    return fmt::format("its pictures are {}, browsers play {}", name == nullptr ? "of no known kind" : name,
                       h264 ? "yuv420p (AV1: yuv420p10le too)" : "yuv420p and yuv420p10le");
  }
  if (!coded.shown.orientation.upright()) return "its pictures are turned, which the page does not do";
  return "";
}

double first_picture(const std::string& path) {
  Reader reader(path);
  Frame frame;
  if (!reader.read(frame)) fail(ErrorCode::format, "{}: no frames", path);
  return static_cast<double>(frame.pts) * reader.info().time_base.value();
}

Inputs read_inputs(const std::vector<std::string>& paths) {
  Inputs inputs;
  std::map<uint64_t, size_t> known;  // small video → rate
  double seconds = 0;
  for (const std::string& path : paths) {
    CodedVideo coded = read_packets(path);
    if (const std::string why = why_not_played(coded); !why.empty())
      fail(ErrorCode::unsupported, "{}: {}", path, why);
    std::optional<Restoration> restoration = read_cairn_file(path).restoration;
    if (restoration) check_networks(*restoration, path);
    const AVCodecParameters& p = *coded.parameters;
    const uint32_t width = restoration ? restoration->width : static_cast<uint32_t>(p.width),
                   height = restoration ? restoration->height : static_cast<uint32_t>(p.height);
    const auto last = std::ranges::max_element(coded.packets, {}, &CodedPacket::pts);
    const auto first = std::ranges::min_element(coded.packets, {}, &CodedPacket::pts);
    const double length = static_cast<double>(last->pts - first->pts) * coded.shown.time_base.value();
    if (inputs.rates.empty()) {
      inputs.info = Reader(path).info();
      inputs.width = width;
      inputs.height = height;
      seconds = length;
    } else if (width != inputs.width || height != inputs.height || std::abs(length - seconds) > 0.1) {
      fail(ErrorCode::invalid_argument,
           "{}: {}×{} and {:.2f} s when restored, {} has {}×{} and {:.2f} s: not of one original", path,
           width, height, length, paths.front(), inputs.width, inputs.height, seconds);
    }
    const auto [at, fresh] = known.emplace(content(coded), inputs.rates.size());
    if (fresh) inputs.rates.push_back({path, std::move(coded), {}, {}});
    if (restoration) inputs.rates[at->second].levels.push_back(std::move(*restoration));
  }
  for (RateInput& rate : inputs.rates) {
    std::ranges::stable_sort(rate.levels, std::greater(), cost);
    for (const Restoration& level : rate.levels) rate.names.push_back(called(level));
  }
  std::ranges::stable_sort(inputs.rates, {}, [](const RateInput& rate) { return packet_bytes(rate.coded); });
  return inputs;
}

}  // namespace cairn::video
