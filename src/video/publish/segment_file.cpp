#include "video/publish/segment_file.hpp"

#include <xxhash.h>

#include <algorithm>

#include "video/bytes.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kMagic = 0x47455343;  // "CSEG"
constexpr uint64_t kMostFrames = 1u << 20;
constexpr uint64_t kMostLevels = 16;

uint64_t take_count(ByteReader& reader, const char* what, uint64_t most) {
  const uint64_t value = take_varint(reader, what);
  if (value > most) reader.error(ErrorCode::format, "{}: {} (at most {})", what, value, most);
  return value;
}

SegmentLevel take_level(ByteReader& reader, uint64_t frames, uint32_t width, uint32_t height,
                        const std::string& what) {
  SegmentLevel level;
  const uint64_t networks = take_count(reader, "a level's networks", 255);
  if (networks == 0) reader.error(ErrorCode::format, "a level without networks");
  for (uint64_t i = 0; i < networks; ++i) level.networks.push_back(reader.read<uint64_t>("a network's name"));
  const uint64_t labels = take_varint(reader, "the labels' length");
  if (labels > 0) {
    level.labels = decode_labels(reader.take(labels, "labels"), width, height, static_cast<uint32_t>(networks),
                                 what + ": labels");
    if (level.labels->frames.size() != frames)
      reader.error(ErrorCode::format, "labels of {} frames, there are {}", level.labels->frames.size(), frames);
    return level;
  }
  for (uint64_t known = 0; known < frames;) {
    NetworkRun run;
    run.frames = take_count(reader, "a run's frames", frames - known);
    run.network = static_cast<uint32_t>(take_count(reader, "a run's network", networks - 1));
    if (run.frames == 0) reader.error(ErrorCode::format, "an empty run");
    known += run.frames;
    level.runs.push_back(run);
  }
  return level;
}

}  // namespace

std::vector<std::byte> write_segment_file(const SegmentFile& segment) {
  std::vector<std::byte> bytes;
  put(bytes, kMagic);
  put(bytes, kSegmentFileVersion);
  put_varint(bytes, segment.durations.size());
  for (size_t i = 0; i < segment.durations.size();) {
    size_t end = i;
    while (end < segment.durations.size() && segment.durations[end] == segment.durations[i]) ++end;
    put_varint(bytes, end - i);
    put_varint(bytes, segment.durations[i]);
    i = end;
  }
  put_varint(bytes, segment.levels.size());
  for (const SegmentLevel& level : segment.levels) {
    put_varint(bytes, level.networks.size());
    for (const uint64_t network : level.networks) put(bytes, network);
    if (level.labels) {
      const auto labels = encode_labels(*level.labels, static_cast<uint32_t>(level.networks.size()));
      put_varint(bytes, labels.size());
      bytes.insert(bytes.end(), labels.begin(), labels.end());
      continue;
    }
    put_varint(bytes, 0);
    for (const NetworkRun& run : level.runs) {
      put_varint(bytes, run.frames);
      put_varint(bytes, run.network);
    }
  }
  put(bytes, static_cast<uint32_t>(XXH32(bytes.data(), bytes.size(), 0)));
  return bytes;
}

SegmentFile read_segment_file(std::span<const std::byte> bytes, uint32_t small_width, uint32_t small_height,
                              const std::string& what) {
  ByteReader reader(bytes, what);
  if (reader.read<uint32_t>("the magic number") != kMagic)
    reader.error_at(0, ErrorCode::format, "not a segment's networks (no \"CSEG\")");
  const auto version = reader.read<uint8_t>("the version");
  if (version != kSegmentFileVersion) {
    reader.error_at(4, ErrorCode::unsupported, "version {} of the format; this cairn knows {}", version,
                    kSegmentFileVersion);
  }
  uint32_t stored = 0;
  if (bytes.size() < 9) fail(ErrorCode::format, "{}: truncated: {} bytes", what, bytes.size());
  std::memcpy(&stored, bytes.data() + bytes.size() - 4, 4);
  if (stored != XXH32(bytes.data(), bytes.size() - 4, 0))
    fail(ErrorCode::format, "{}: truncated or damaged: its checksum does not fit", what);
  SegmentFile segment;
  const uint64_t frames = take_count(reader, "the number of frames", kMostFrames);
  while (segment.durations.size() < frames) {
    const uint64_t count = take_count(reader, "equal durations", frames - segment.durations.size());
    const uint64_t duration = take_varint(reader, "a duration");
    if (count == 0) reader.error(ErrorCode::format, "no durations");
    segment.durations.insert(segment.durations.end(), count, duration);
  }
  const uint64_t levels = take_count(reader, "the number of levels", kMostLevels);
  for (uint64_t i = 0; i < levels; ++i)
    segment.levels.push_back(take_level(reader, frames, small_width, small_height, what));
  if (reader.remaining() != 4) reader.error(ErrorCode::format, "{} bytes too many", reader.remaining() - 4);
  return segment;
}

SegmentLevel cut_level(const Restoration& r, const std::vector<uint64_t>& files, uint64_t first, uint64_t end) {
  SegmentLevel level;
  std::vector<int> index(files.size(), -1);
  const auto number = [&](uint32_t network) {
    if (index[network] < 0) {
      // Two networks that are alike byte by byte are one file.
      const auto same = std::ranges::find(level.networks, files[network]);
      index[network] = static_cast<int>(same - level.networks.begin());
      if (same == level.networks.end()) level.networks.push_back(files[network]);
    }
    return static_cast<uint32_t>(index[network]);
  };
  if (!r.labels) {
    for (uint64_t frame = first; frame < end; ++frame) {
      const uint32_t network = number(network_of(r, frame));
      if (level.runs.empty() || level.runs.back().network != network) level.runs.push_back({0, network});
      ++level.runs.back().frames;
    }
    return level;
  }
  Labels labels = *r.labels;
  labels.frames.clear();
  for (uint64_t frame = first; frame < end; ++frame) {
    auto& patches = labels.frames.emplace_back(static_cast<size_t>(labels.columns) * labels.rows);
    for (uint32_t p = 0; p < patches.size(); ++p)
      patches[p] = static_cast<uint8_t>(number(network_of(r, frame, p)));
  }
  level.labels = std::move(labels);
  return level;
}

std::vector<std::byte> network_file(const Restoration& r, size_t network) {
  Restoration one;
  one.width = r.width;
  one.height = r.height;
  one.small_width = r.small_width;
  one.small_height = r.small_height;
  one.scale = r.scale;
  one.networks = {r.networks[network]};
  one.architectures = {r.architectures[network]};
  if (r.chroma) {
    one.chroma = r.chroma;
    one.architectures.push_back(r.architectures.back());
  }
  return write_attachment(one);
}

}  // namespace cairn::video
