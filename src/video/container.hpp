// The Matroska file: the small video as a track beside what else the input held, networks and labels as an
// attachment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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

// What is told of the pictures of a track beside its codec's parameters.
struct Shown {
  Rational time_base, frame_rate, sample_aspect{1, 1};
  Orientation orientation;
  Fields fields = Fields::progressive;
  std::vector<SideData> side_data;
};
Shown shown(const VideoInfo& info);

// A coded video track in memory.
struct CodedVideo {
  std::unique_ptr<AVCodecParameters, ParametersDeleter> parameters;
  Shown shown;
  std::vector<CodedPacket> packets;  // in the order of decoding
};
uint64_t packet_bytes(const CodedVideo& video);  // of all packets

// What of the input's tracks and the like goes along.
struct Keep {
  bool audio = true, subtitles = true, chapters = true, attachments = true, tags = true;
};

// A Matroska file that is promised before the work and written after it. What can be refused is refused by
// the constructor. Errors: io (a full disk), those of Reader for `from`, each naming the file.
class MatroskaFile {
 public:
  // path: "-" is standard output. from: the file whose other tracks, chapters and tags go along; empty: none.
  explicit MatroskaFile(const std::string& path, const std::string& from = "", const Keep& keep = {});
  ~MatroskaFile();

  // What of `from` is changed or left out, a line each; more after write().
  const std::vector<std::string>& notes() const;
  // attachment may be empty: then the file is an ordinary one.
  void write(const CodedVideo& video, const std::vector<std::byte>& attachment);
  // The packets of part(0) … part(parts - 1) one after the other, of which one is held at a time. head: the
  // track, without packets.
  void write(const CodedVideo& head, size_t parts, const std::function<CodedVideo(size_t)>& part,
             const std::vector<std::byte>& attachment);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The same in one step, without another file's tracks. in_place: into the file itself (one in memory has no
// neighbours).
void write_matroska(const std::string& path, const CodedVideo& video,
                    const std::vector<std::byte>& attachment, bool in_place = false);

// What each byte of a file is for.
struct FileBytes {
  uint64_t file = 0;
  uint64_t video = 0;                             // the video track's packets and codec header
  uint64_t audio = 0;                             // the same of sound
  uint64_t other = 0;                             // of subtitles and other tracks; covers, fonts
  uint64_t networks = 0, labels = 0, header = 0;  // the attachment's parts
  uint64_t container() const { return file - video - audio - other - networks - labels - header; }
  // What the picture costs: all but other tracks and the container, whose share plain video has as well.
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
