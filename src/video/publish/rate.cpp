#include "video/publish/rate.hpp"

#include <xxhash.h>

#include <algorithm>
#include <limits>
#include <set>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/publish/fragments.hpp"
#include "video/publish/segment_file.hpp"

namespace cairn::video {
namespace {

// Packets [first, end) in the order of decoding, and the frames' durations in the order in which they are shown.
struct Piece {
  size_t first = 0, end = 0;
  int64_t start = 0, duration = 0;  // ticks of the input
  std::vector<int64_t> frames;
};

std::vector<Piece> pieces_of(const std::vector<CodedPacket>& packets, const std::vector<size_t>& starts) {
  std::vector<int64_t> times;
  for (const CodedPacket& packet : packets) times.push_back(packet.pts);
  std::ranges::sort(times);
  const auto duration = [&](size_t i) {
    if (i + 1 < times.size()) return times[i + 1] - times[i];
    for (const CodedPacket& packet : packets) {
      if (packet.pts == times[i] && packet.duration > 0) return packet.duration;
    }
    return i > 0 ? times[i] - times[i - 1] : int64_t{1};
  };
  std::vector<Piece> pieces;
  for (size_t s = 0; s < starts.size(); ++s) {
    // Nothing is shown across the cut, so frames of a piece are a range of all frames too.
    Piece piece{starts[s], s + 1 < starts.size() ? starts[s + 1] : packets.size(), times[starts[s]], 0, {}};
    for (size_t i = piece.first; i < piece.end; ++i) {
      piece.frames.push_back(duration(i));
      piece.duration += piece.frames.back();
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

// Calls each(piece, its ticks in the fragments' time base, number) after it was written.
template <class Each>
PublishedTrack write_pieces(const CodedVideo& coded, const std::string& what, const std::string& folder,
                            double seconds, OutputFolder& to, const Each& each) {
  PublishedTrack track;
  track.folder = folder;
  const AVCodecParameters& p = *coded.parameters;
  if (p.codec_id != AV_CODEC_ID_H264 && p.codec_id != AV_CODEC_ID_AV1) {
    fail(ErrorCode::unsupported, "{}: its video is {}, browsers play AV1 and H.264 (--codec av1, x264)", what,
         avcodec_get_name(p.codec_id));
  }
  track.codecs = codec_string(p, what);
  track.width = static_cast<uint32_t>(p.width);
  track.height = static_cast<uint32_t>(p.height);
  track.frame_rate = coded.shown.frame_rate;
  track.sample_aspect = coded.shown.sample_aspect;
  const double tick = coded.shown.time_base.value();
  const std::vector<Piece> pieces = pieces_of(coded.packets, segment_starts(coded.packets, tick, seconds));
  const int64_t origin = pieces.front().start;
  Fragmenter mp4(p, coded.shown, true, what);
  for (size_t i = 0; i < pieces.size(); ++i) {
    throw_if_interrupted();
    const Piece& piece = pieces[i];
    for (size_t k = piece.first; k < piece.end; ++k) {
      CodedPacket packet = coded.packets[k];
      packet.pts -= origin;
      packet.dts -= origin;
      if (k + 1 < coded.packets.size()) packet.duration = coded.packets[k + 1].dts - coded.packets[k].dts;
      mp4.write(packet);
    }
    const std::vector<uint8_t> bytes = mp4.cut();
    to.write(fmt::format("{}/{}.m4s", folder, i + 1), std::as_bytes(std::span(bytes)));
    const AVRational base = mp4.time_base(),
                     from = {static_cast<int>(coded.shown.time_base.numerator),
                             static_cast<int>(coded.shown.time_base.denominator)};
    track.timescale = base.den;  // base.num is 1 in MP4
    const auto ticks = [&](int64_t t) { return av_rescale_q(t, from, base); };
    const int64_t start = ticks(piece.start - origin);
    track.segments.push_back({start, ticks(piece.start - origin + piece.duration) - start, bytes.size()});
    std::vector<uint64_t> frames;
    int64_t at = piece.start - origin;
    for (const int64_t frame : piece.frames) {
      frames.push_back(static_cast<uint64_t>(ticks(at + frame) - ticks(at)));
      at += frame;
    }
    each(piece, frames, i + 1);
  }
  to.write(folder + "/init.mp4", std::as_bytes(std::span(mp4.init())));
  track.init_bytes = mp4.init().size();
  to.write(folder + "/list.m3u8", hls_playlist(track));
  return track;
}

}  // namespace

std::vector<size_t> segment_starts(const std::vector<CodedPacket>& packets, double tick, double seconds) {
  std::vector<int64_t> least_after(packets.size() + 1, std::numeric_limits<int64_t>::max());
  for (size_t i = packets.size(); i-- > 0;) least_after[i] = std::min(least_after[i + 1], packets[i].pts);
  std::vector<size_t> starts = {0};
  int64_t most_before = std::numeric_limits<int64_t>::min();
  for (size_t i = 0; i < packets.size(); ++i) {
    const CodedPacket& packet = packets[i];
    const bool clean = packet.key && most_before < packet.pts && least_after[i] >= packet.pts;
    const double length = static_cast<double>(packet.pts - packets[starts.back()].pts) * tick;
    // Key frames that the encoder was told to set every so many seconds fall a frame short at odd rates.
    if (i > 0 && clean && length >= 0.95 * seconds) starts.push_back(i);
    most_before = std::max(most_before, packet.pts);
  }
  return starts;
}

PublishedTrack publish_pictures(const CodedVideo& coded, const std::string& what, const std::string& folder,
                                double seconds, OutputFolder& to) {
  return write_pieces(coded, what, folder, seconds, to, [](const Piece&, const auto&, size_t) {});
}

PublishedRate publish_rate(const RateInput& input, const std::string& folder, double seconds, OutputFolder& to) {
  PublishedRate rate;
  rate.levels = input.names;
  rate.scale = input.levels.empty() ? 1 : input.levels.front().scale;
  std::vector<std::vector<uint64_t>> files;  // [level][network]
  std::set<uint64_t> written;
  for (const Restoration& level : input.levels) {
    std::vector<uint64_t>& names = files.emplace_back();
    for (size_t n = 0; n < level.networks.size(); ++n) {
      const std::vector<std::byte> bytes = network_file(level, n);
      names.push_back(XXH64(bytes.data(), bytes.size(), 0));
      if (!written.insert(names.back()).second) continue;
      to.write(fmt::format("networks/{:016x}.bin", names.back()), bytes);
      rate.network_bytes += bytes.size();
    }
  }
  rate.track = write_pieces(input.coded, input.path, folder, seconds, to,
                            [&](const Piece& piece, const std::vector<uint64_t>& frames, size_t number) {
                              if (input.levels.empty()) return;
                              SegmentFile segment{frames, {}};
                              for (size_t l = 0; l < input.levels.size(); ++l)
                                segment.levels.push_back(
                                    cut_level(input.levels[l], files[l], piece.first, piece.end));
                              const std::vector<std::byte> bytes = write_segment_file(segment);
                              to.write(fmt::format("{}/{}.cairn", folder, number), bytes);
                              rate.network_bytes += bytes.size();
                            });
  return rate;
}

}  // namespace cairn::video
