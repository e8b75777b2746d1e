// The Matroska file: the small video and copied audio as tracks, networks and labels as an attachment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "video/attachment.hpp"
#include "video/reader.hpp"

struct AVCodecParameters;

namespace cairn::video {

struct ParametersDeleter {
  void operator()(AVCodecParameters* p) const noexcept;
};

struct CodedPacket {
  std::vector<uint8_t> data;
  int64_t pts = 0, dts = 0, duration = 0;  // in CodedVideo::time_base
  bool key = false;
};

// A coded video track in memory.
struct CodedVideo {
  std::unique_ptr<AVCodecParameters, ParametersDeleter> parameters;
  Rational time_base, frame_rate, sample_aspect{1, 1};
  std::vector<CodedPacket> packets;  // in the order of decoding
};

struct MuxOptions {
  std::string audio_from;  // a file whose audio tracks are copied; empty: none
  bool in_place = false;   // into the file itself at once (one in memory has no neighbours)
};

// Writes `path` beside its name first and renames it when it is whole. attachment may be empty: then the file
// is an ordinary one. Errors: io (a full disk), unsupported (audio that Matroska cannot hold), each naming
// path.
void write_matroska(const std::string& path, const CodedVideo& video,
                    const std::vector<std::byte>& attachment, const MuxOptions& options = {});

// What each byte of a file is for.
struct FileBytes {
  uint64_t file = 0;
  uint64_t video = 0;                             // the video track's packets and codec header
  uint64_t audio = 0;                             // all other tracks'
  uint64_t networks = 0, labels = 0, header = 0;  // the attachment's parts
  uint64_t container() const { return file - video - audio - networks - labels - header; }
  // What the picture costs: all but audio and the container, whose share plain video has as well.
  uint64_t picture() const { return video + networks + labels + header; }
};

struct CairnFile {
  std::optional<Restoration> restoration;  // none: an ordinary video
  AttachmentSizes sizes;
  std::string video_codec;
};

// The attachment of a file, read and checked. Errors: those of Reader, and of read_attachment.
CairnFile read_cairn_file(const std::string& path);
// Reads the whole file.
FileBytes count_bytes(const std::string& path);

}  // namespace cairn::video
