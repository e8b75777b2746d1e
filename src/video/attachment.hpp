// What a cairn video carries beside its small video: networks, which of them restores what, and the
// original's size. As bytes it is one attachment of the Matroska file; docs/video.md describes it byte by
// byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "video/network.hpp"

namespace cairn::video {

constexpr const char* kAttachmentName = "cairn.bin";
constexpr const char* kAttachmentType = "application/x-cairn-video";
constexpr uint32_t kAttachmentVersion =
    2;  // 1 is read as well, and written where 2's sections are not needed

// Patches of patch_width × patch_height small pixels, row by row; those at the right and bottom may be cut.
struct Labels {
  uint32_t patch_width = 0, patch_height = 0;
  uint32_t columns = 0, rows = 0;
  std::vector<std::vector<uint8_t>> frames;  // [frame][row · columns + column]: a luma network's number
};

struct Segment {
  uint64_t first_frame = 0;
  uint32_t network = 0;  // a luma network's number, for every frame up to the next segment
};

struct Restoration {
  uint32_t width = 0, height = 0;  // of the original; the restored small video is cut to it
  uint32_t small_width = 0, small_height = 0;
  uint32_t scale = 1;
  std::vector<Architecture> architectures;  // of `networks`, then of `chroma`
  // Of `networks`: the earlier one against which it is coded (as what differs), or -1; may be shorter.
  std::vector<int32_t> bases;
  std::vector<Network> networks;  // luma; at least one
  std::optional<Network> chroma;  // none: chroma is upscaled by the bicubic
  std::optional<Labels> labels;   // which network restores each patch; frames beyond them: network 0
  std::vector<Segment> segments;  // without labels; empty: network 0 all along
};

// Bytes of the parts, for reports.
struct AttachmentSizes {
  uint32_t version = 1;  // of the format
  uint64_t networks = 0, labels = 0, header = 0;
  std::vector<uint64_t> each;  // network by network
};

std::vector<std::byte> write_attachment(const Restoration& restoration, AttachmentSizes* sizes = nullptr);

// Everything is checked; networks have passed validate(). Errors, naming `what` and the byte: format (broken,
// truncated, sizes that lie, labels of absent networks), unsupported (another version).
Restoration read_attachment(std::span<const std::byte> bytes, const std::string& what,
                            AttachmentSizes* sizes = nullptr);

// The bytes of one quantised or float network, as they are in the attachment.
std::vector<std::byte> encode_network(const Network& network, const Architecture& architecture);
Network decode_network(std::span<const std::byte> bytes, uint32_t scale, const std::string& what,
                       Architecture* architecture = nullptr);

// Whether b can be coded as what differs from a: quantised alike, of one shape.
bool can_differ(const Network& a, const Network& b);
// The bytes of `network` as what differs from `base`, number base_number of the attachment's luma networks.
std::vector<std::byte> encode_delta(const Network& network, const Network& base, uint32_t base_number);
// networks: those that precede it. Errors: format.
Network decode_delta(std::span<const std::byte> bytes, const std::vector<Network>& networks,
                     const std::string& what, uint32_t* base_number = nullptr);

std::vector<std::byte> encode_labels(const Labels& labels, uint32_t networks);
Labels decode_labels(std::span<const std::byte> bytes, uint32_t small_width, uint32_t small_height,
                     uint32_t networks, const std::string& what);

// The luma network of a frame's patch, or of the frame.
uint32_t network_of(const Restoration& restoration, uint64_t frame, uint32_t patch = 0);

}  // namespace cairn::video
