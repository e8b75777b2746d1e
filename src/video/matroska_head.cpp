#include "video/matroska_head.hpp"

#include <bit>
#include <fstream>
#include <vector>

namespace cairn::video {
namespace {

constexpr uint64_t kLargestTracks = 64 << 20;  // fonts and covers lie elsewhere
constexpr uint64_t kUnknown = UINT64_MAX;
enum Id : uint32_t {
  kEbml = 0x1A45DFA3,
  kSegment = 0x18538067,
  kTracks = 0x1654AE6B,
  kTrackEntry = 0xAE,
  kVideo = 0xE0,
  kProjection = 0x7670,
  kProjectionType = 0x7671,
  kPoseYaw = 0x7673,
  kPoseRoll = 0x7675,
  kCluster = 0x1F43B675,
};

struct Element {
  uint32_t id = 0;
  uint64_t size = 0, at = 0;  // of the payload
};

// Elements one after another, of a file or of a payload in memory.
class Elements {
 public:
  explicit Elements(std::istream& in) : in_(&in) {}
  Elements(const uint8_t* bytes, uint64_t size, uint64_t at) : bytes_(bytes), size_(size), base_(at) {}

  std::optional<Element> next() {
    const auto id = number(false);
    const auto size = number(true);
    if (!id || !size || *id > UINT32_MAX) return std::nullopt;
    return Element{static_cast<uint32_t>(*id), *size, base_ + at_};
  }
  void skip(uint64_t size) {
    at_ += size;
    if (in_ != nullptr) in_->seekg(static_cast<std::streamoff>(at_));
  }

 private:
  int byte() {
    if (in_ == nullptr) return at_ < size_ ? bytes_[at_++] : -1;
    const int c = in_->get();
    if (c >= 0) ++at_;
    return c;
  }
  // Identifiers keep the bits that tell their length; sizes of ones alone are unknown.
  std::optional<uint64_t> number(bool size) {
    const int first = byte();
    if (first <= 0) return std::nullopt;
    const int length = std::countl_zero(static_cast<uint8_t>(first)) + 1;
    uint64_t value = size ? static_cast<uint64_t>(first) & (0xFFu >> length) : static_cast<uint64_t>(first);
    bool ones = value == (0xFFu >> length);
    for (int i = 1; i < length; ++i) {
      const int c = byte();
      if (c < 0) return std::nullopt;
      ones = ones && c == 0xFF;
      value = value << 8 | static_cast<uint64_t>(c);
    }
    return size && ones ? kUnknown : value;
  }

  std::istream* in_ = nullptr;
  const uint8_t* bytes_ = nullptr;
  uint64_t size_ = 0, base_ = 0, at_ = 0;
};

uint64_t integer(const uint8_t* bytes, uint64_t size) {
  uint64_t value = 0;
  for (uint64_t i = 0; i < size; ++i) value = value << 8 | bytes[i];
  return value;
}

double real(const uint8_t* bytes, uint64_t size) {
  if (size == 4) return std::bit_cast<float>(static_cast<uint32_t>(integer(bytes, 4)));
  return size == 8 ? std::bit_cast<double>(integer(bytes, 8)) : 0;
}

// body(element, its bytes) for each child that lies within its parent.
template <class Body>
void each(const uint8_t* bytes, uint64_t size, uint64_t at, const Body& body) {
  Elements elements(bytes, size, at);
  while (const auto element = elements.next()) {
    const uint64_t inside = element->at - at;
    if (element->size > size - inside) return;
    body(*element, bytes + inside);
    elements.skip(element->size);
  }
}

void read_projection(const Element& parent, const uint8_t* bytes, MatroskaHead::Projection& projection) {
  each(bytes, parent.size, parent.at, [&](const Element& e, const uint8_t* data) {
    if (e.id == kProjectionType && e.size >= 1 && e.size <= 8) {
      projection.type = integer(data, e.size);
      projection.type_at = e.at + e.size - 1;
    }
    if (e.id == kPoseYaw) projection.yaw = real(data, e.size);
    if (e.id == kPoseRoll) projection.roll = real(data, e.size);
  });
}

void read_tracks(const Element& tracks, const uint8_t* bytes, MatroskaHead& head) {
  unsigned number = 0;
  each(bytes, tracks.size, tracks.at, [&](const Element& entry, const uint8_t* in_entry) {
    if (entry.id != kTrackEntry) return;
    each(in_entry, entry.size, entry.at, [&](const Element& video, const uint8_t* in_video) {
      if (video.id != kVideo) return;
      each(in_video, video.size, video.at, [&](const Element& e, const uint8_t* data) {
        if (e.id == kProjection) read_projection(e, data, head.projections[number]);
      });
    });
    ++number;
  });
}

}  // namespace

MatroskaHead read_matroska_head(const std::string& path) {
  MatroskaHead head;
  std::ifstream in(path, std::ios::binary);
  Elements elements(in);
  auto element = elements.next();
  if (!element || element->id != kEbml || element->size > kLargestTracks) return head;
  elements.skip(element->size);
  element = elements.next();
  if (!element || element->id != kSegment) return head;
  if (element->size != kUnknown) head.end = element->at + element->size;
  while ((element = elements.next()) && element->id != kCluster && element->size != kUnknown) {
    if (element->id == kTracks && element->size <= kLargestTracks) {
      std::vector<uint8_t> bytes(element->size);
      in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
      if (in) read_tracks(*element, bytes.data(), head);
      return head;
    }
    elements.skip(element->size);
  }
  return head;
}

}  // namespace cairn::video
