#include "video/attachment.hpp"

#include <xxhash.h>

#include <algorithm>

#include "video/bytes.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kMagic = 0x4E524143;  // "CARN"
constexpr uint32_t kMostSide = 1u << 15;
constexpr size_t kMostNetworks = 255;
constexpr size_t kMostSegments = 1u << 20;
enum class Section : uint8_t { end = 0, network = 1, labels = 2, segments = 3, delta = 4 };

uint32_t checksum(std::span<const std::byte> bytes) {
  return XXH32(bytes.data(), bytes.size(), 0);
}

void put_section(std::vector<std::byte>& bytes, Section section, const std::vector<std::byte>& payload) {
  put(bytes, section);
  put_varint(bytes, payload.size());
  bytes.insert(bytes.end(), payload.begin(), payload.end());
}

uint32_t take_side(ByteReader& reader, const char* what) {
  const uint64_t value = take_varint(reader, what);
  if (value < 1 || value > kMostSide)
    reader.error(ErrorCode::format, "{} is {} (1 … {})", what, value, kMostSide);
  return static_cast<uint32_t>(value);
}

std::vector<Segment> take_segments(ByteReader& reader) {
  std::vector<Segment> segments;
  const uint64_t count = take_varint(reader, "the number of segments");
  if (count > kMostSegments || count > reader.remaining())
    reader.error(ErrorCode::format, "{} segments in {} bytes", count, reader.remaining());
  uint64_t frame = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t length = take_varint(reader, "a segment's first frame");
    frame += length;
    if (i > 0 && length == 0) reader.error(ErrorCode::format, "segment {} is empty", i - 1);
    const uint64_t network = take_varint(reader, "a segment's network");
    segments.push_back({frame, static_cast<uint32_t>(std::min<uint64_t>(network, UINT32_MAX))});
  }
  return segments;
}

// Labels and segments may only name networks that are there.
void check_names(const Restoration& r, const std::string& what) {
  if (r.networks.empty()) fail(ErrorCode::format, "{}: it holds no network", what);
  for (const Segment& segment : r.segments) {
    if (segment.network >= r.networks.size())
      fail(ErrorCode::format, "{}: a segment names network {}, there are {}", what, segment.network,
           r.networks.size());
  }
  if (r.labels && !r.segments.empty()) fail(ErrorCode::format, "{}: it has both labels and segments", what);
}

}  // namespace

std::vector<std::byte> write_attachment(const Restoration& r, AttachmentSizes* sizes) {
  std::vector<std::byte> bytes;
  put(bytes, kMagic);
  const bool deltas = std::ranges::any_of(r.bases, [](int32_t base) { return base >= 0; });
  put(bytes, static_cast<uint8_t>(deltas ? 2 : 1));
  put(bytes, static_cast<uint8_t>(r.scale));
  put_varint(bytes, r.width);
  put_varint(bytes, r.height);
  put_varint(bytes, r.small_width);
  put_varint(bytes, r.small_height);
  AttachmentSizes counted;
  counted.version = deltas ? 2 : 1;
  const auto add = [&](Section section, const std::vector<std::byte>& payload, uint64_t& count) {
    const size_t before = bytes.size();
    put_section(bytes, section, payload);
    count += bytes.size() - before;
    if (section == Section::network || section == Section::delta)
      counted.each.push_back(bytes.size() - before);
  };
  for (size_t i = 0; i < r.networks.size(); ++i) {
    if (i < r.bases.size() && r.bases[i] >= 0) {
      const auto base = static_cast<uint32_t>(r.bases[i]);
      add(Section::delta, encode_delta(r.networks[i], r.networks[base], base), counted.networks);
    } else {
      add(Section::network, encode_network(r.networks[i], r.architectures[i]), counted.networks);
    }
  }
  if (r.chroma) add(Section::network, encode_network(*r.chroma, r.architectures.back()), counted.networks);
  if (r.labels)
    add(Section::labels,
        encode_labels(*r.labels, static_cast<uint32_t>(std::max<size_t>(r.networks.size(), 1))),
        counted.labels);
  if (!r.segments.empty()) {
    std::vector<std::byte> payload;
    put_varint(payload, r.segments.size());
    uint64_t frame = 0;
    for (const Segment& segment : r.segments) {
      put_varint(payload, segment.first_frame - frame);
      put_varint(payload, segment.network);
      frame = segment.first_frame;
    }
    add(Section::segments, payload, counted.labels);
  }
  put(bytes, Section::end);
  put(bytes, checksum(bytes));
  counted.header = bytes.size() - counted.networks - counted.labels;
  if (sizes != nullptr) *sizes = counted;
  return bytes;
}

Restoration read_attachment(std::span<const std::byte> bytes, const std::string& what,
                            AttachmentSizes* sizes) {
  ByteReader reader(bytes, what);
  if (reader.read<uint32_t>("the magic number") != kMagic)
    reader.error_at(0, ErrorCode::format, "not an attachment of cairn (no \"CARN\")");
  const auto version = reader.read<uint8_t>("the version");
  if (version < 1 || version > kAttachmentVersion) {
    reader.error_at(4, ErrorCode::unsupported, "version {} of the format; this cairn knows 1 to {}", version,
                    kAttachmentVersion);
  }
  if (bytes.size() < 16) fail(ErrorCode::format, "{}: truncated: {} bytes", what, bytes.size());
  uint32_t stored = 0;
  std::memcpy(&stored, bytes.data() + bytes.size() - 4, 4);
  if (stored != checksum(bytes.first(bytes.size() - 4)))
    fail(ErrorCode::format, "{}: truncated or damaged: its checksum does not fit", what);

  Restoration r;
  r.scale = reader.read<uint8_t>("the scale");
  if (r.scale < 1 || r.scale > kMaxScale)
    reader.error(ErrorCode::format, "scale {} (1 … {})", r.scale, kMaxScale);
  r.width = take_side(reader, "the width");
  r.height = take_side(reader, "the height");
  r.small_width = take_side(reader, "the small width");
  r.small_height = take_side(reader, "the small height");
  if (static_cast<uint64_t>(r.small_width) * r.scale < r.width ||
      static_cast<uint64_t>(r.small_height) * r.scale < r.height) {
    reader.error(ErrorCode::format, "{}×{} times {} does not cover {}×{}", r.small_width, r.small_height,
                 r.scale, r.width, r.height);
  }
  AttachmentSizes counted;
  counted.version = version;
  std::optional<Architecture> chroma;
  uint64_t weights = 0;
  std::span<const std::byte> labels;
  const auto count_network = [&](const Network& network, uint64_t size) {
    weights += parameters(network);
    if (weights > 1u << 24) fail(ErrorCode::format, "{}: more than {} parameters in all", what, 1u << 24);
    if (network.plane == Network::Plane::luma && r.networks.size() == kMostNetworks)
      fail(ErrorCode::format, "{}: more than {} networks", what, kMostNetworks);
    counted.networks += size;
    counted.each.push_back(size);
  };
  for (;;) {
    const uint64_t start = reader.offset();
    const auto section = reader.read<Section>("a section's kind");
    if (section == Section::end) break;
    const uint64_t length = take_varint(reader, "a section's length");
    const auto payload = reader.take(length, "a section");
    const std::string name = fmt::format("{}: byte {}", what, reader.offset() - length);
    const uint64_t whole = reader.offset() - start;
    ByteReader inside(payload, name);
    switch (section) {
      case Section::network: {
        Architecture architecture;
        Network network = decode_network(payload, r.scale, name, &architecture);
        count_network(network, whole);
        if (network.plane == Network::Plane::chroma) {
          r.chroma = std::move(network);
          chroma = architecture;
        } else {
          r.networks.push_back(std::move(network));
          r.architectures.push_back(architecture);
          r.bases.push_back(-1);
        }
        break;
      }
      case Section::delta: {
        if (version < 2) reader.error_at(start, ErrorCode::format, "a delta in a file of version 1");
        uint32_t base = 0;
        Network network = decode_delta(payload, r.networks, name, &base);
        count_network(network, whole);
        r.architectures.push_back(r.architectures[base]);
        r.networks.push_back(std::move(network));
        r.bases.push_back(static_cast<int32_t>(base));
        break;
      }
      case Section::labels:
        labels = payload;
        counted.labels += whole;
        break;
      case Section::segments:
        r.segments = take_segments(inside);
        counted.labels += whole;
        break;
      default:
        reader.error_at(start, ErrorCode::format, "section {} is not known", static_cast<int>(section));
    }
  }
  if (chroma) r.architectures.push_back(*chroma);
  if (!labels.empty()) {
    if (r.networks.empty()) fail(ErrorCode::format, "{}: labels of absent networks", what);
    r.labels = decode_labels(labels, r.small_width, r.small_height, static_cast<uint32_t>(r.networks.size()),
                             what + ": labels");
  }
  check_names(r, what);
  counted.header = bytes.size() - counted.networks - counted.labels;
  if (sizes != nullptr) *sizes = counted;
  return r;
}

uint32_t network_of(const Restoration& r, uint64_t frame, uint32_t patch) {
  if (r.labels) return frame < r.labels->frames.size() ? r.labels->frames[frame][patch] : 0;
  const auto after = std::upper_bound(r.segments.begin(), r.segments.end(), frame,
                                      [](uint64_t f, const Segment& s) { return f < s.first_frame; });
  return after == r.segments.begin() ? 0 : std::prev(after)->network;
}

}  // namespace cairn::video
