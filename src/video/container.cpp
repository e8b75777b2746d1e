#include "video/container.hpp"

#include <sys/stat.h>

#include <cmath>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/muxer.hpp"
#include "video/output_file.hpp"
#include "video/rest.hpp"
#include "video/source.hpp"

namespace cairn::video {
namespace {

void write_packets(Muxer& muxer, const std::vector<CodedPacket>& packets, const AVStream& track,
                   AVRational base, Rest* rest) {
  const Libav<AVPacket> packet(av_packet_alloc());
  for (const CodedPacket& from : packets) {
    if (rest != nullptr) rest->copy(muxer, static_cast<double>(from.dts) * av_q2d(base));
    if (packet == nullptr || av_new_packet(packet.get(), static_cast<int>(from.data.size())) < 0)
      fail(ErrorCode::out_of_memory, "no memory for a packet");
    std::memcpy(packet->data, from.data.data(), from.data.size());
    packet->pts = from.pts;
    packet->dts = from.dts;
    packet->duration = from.duration;
    packet->flags = from.key ? AV_PKT_FLAG_KEY : 0;
    muxer.write(*packet, base, track.index);
  }
}

using Parts = std::function<CodedVideo(size_t)>;

// Writes the pictures and, up to each one's time, what goes beside them. `parts`: where the packets are, if
// not in `video`.
void write(Muxer& muxer, const CodedVideo& video, const std::vector<std::byte>& attachment, Rest* rest,
           size_t count = 0, const Parts& parts = nullptr) {
  AVStream& track = rest != nullptr ? rest->declare(muxer) : muxer.add_stream();
  if (avcodec_parameters_copy(track.codecpar, video.parameters.get()) < 0)
    fail(ErrorCode::out_of_memory, "no memory for a track");
  muxer.describe(track, video.shown);
  if (!attachment.empty()) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(attachment.data());
    muxer.add_attachment({bytes, attachment.size()}, kAttachmentName, kAttachmentType);
  }
  const AVRational base = track.time_base;
  muxer.begin();
  write_packets(muxer, video.packets, track, base, rest);
  for (size_t i = 0; i < count; ++i) write_packets(muxer, parts(i).packets, track, base, rest);
  if (rest != nullptr) rest->copy(muxer, INFINITY);
  muxer.end();
}

// A name that promises no other format.
const std::string& honest(const std::string& path) {
  const AVOutputFormat* promised = av_guess_format(nullptr, path.c_str(), nullptr);
  if (promised == nullptr || std::string_view(promised->name) == "matroska") return path;
  fail(ErrorCode::invalid_argument,
       "{}: cairn writes Matroska, and this name promises {}: let it end in .mkv", path, promised->name);
}

}  // namespace

void ParametersDeleter::operator()(AVCodecParameters* p) const noexcept {
  avcodec_parameters_free(&p);
}

Shown shown(const VideoInfo& info) {
  return {info.time_base, info.frame_rate, info.sample_aspect, info.orientation, info.fields, info.side_data};
}

struct MatroskaFile::State {
  State(const std::string& path, const std::string& from, const Keep& keep) : output(honest(path)) {
    if (!from.empty()) rest = std::make_unique<Rest>(from, keep);
  }
  OutputFile output;
  std::unique_ptr<Rest> rest;
  std::vector<std::string> none;
};

uint64_t packet_bytes(const CodedVideo& video) {
  uint64_t bytes = 0;
  for (const CodedPacket& packet : video.packets) bytes += packet.data.size();
  return bytes;
}

MatroskaFile::MatroskaFile(const std::string& path, const std::string& from, const Keep& keep)
    : state_(std::make_unique<State>(path, from, keep)) {}
MatroskaFile::~MatroskaFile() = default;

const std::vector<std::string>& MatroskaFile::notes() const {
  return state_->rest != nullptr ? state_->rest->notes() : state_->none;
}

void MatroskaFile::write(const CodedVideo& video, const std::vector<std::byte>& attachment) {
  Muxer muxer(state_->output.path(), state_->output.part());
  video::write(muxer, video, attachment, state_->rest.get());
  state_->output.keep();
}

void MatroskaFile::write(const CodedVideo& head, size_t parts, const std::function<CodedVideo(size_t)>& part,
                         const std::vector<std::byte>& attachment) {
  Muxer muxer(state_->output.path(), state_->output.part());
  video::write(muxer, head, attachment, state_->rest.get(), parts, part);
  state_->output.keep();
}

void write_matroska(const std::string& path, const CodedVideo& video,
                    const std::vector<std::byte>& attachment, bool in_place) {
  if (!in_place) {
    MatroskaFile(path).write(video, attachment);
    return;
  }
  Muxer muxer(path, path);
  write(muxer, video, attachment, nullptr);
}

CairnFile read_cairn_file(const std::string& path) {
  const Source source(path);
  CairnFile result;
  const int video = source.video();
  if (video >= 0) result.video_codec = avcodec_get_name(source.stream(video).codecpar->codec_id);
  for (unsigned i = 0; i < source.file().nb_streams; ++i) {
    const AVStream& stream = *source.file().streams[i];
    const AVCodecParameters& p = *stream.codecpar;
    if (p.codec_type != AVMEDIA_TYPE_ATTACHMENT) continue;
    if (tag(stream.metadata, "mimetype") != kAttachmentType &&
        tag(stream.metadata, "filename") != kAttachmentName)
      continue;
    const std::span<const uint8_t> bytes(p.extradata, static_cast<size_t>(p.extradata_size));
    result.restoration =
        read_attachment(std::as_bytes(bytes), path + ": attachment " + kAttachmentName, &result.sizes);
    break;
  }
  return result;
}

FileBytes count_bytes(const std::string& path) {
  const CairnFile cairn = read_cairn_file(path);
  FileBytes bytes;
  bytes.networks = cairn.sizes.networks;
  bytes.labels = cairn.sizes.labels;
  bytes.header = cairn.sizes.header;
  struct stat status {};
  if (stat(path.c_str(), &status) == 0) bytes.file = static_cast<uint64_t>(status.st_size);
  Source source(path);
  const int video = source.video();
  const auto part = [&](int index) -> uint64_t& {
    if (index == video) return bytes.video;
    return source.stream(index).codecpar->codec_type == AVMEDIA_TYPE_AUDIO ? bytes.audio : bytes.other;
  };
  for (unsigned i = 0; i < source.file().nb_streams; ++i) {
    const AVStream& stream = *source.file().streams[i];
    if (stream.codecpar->codec_type == AVMEDIA_TYPE_ATTACHMENT &&
        tag(stream.metadata, "filename") == kAttachmentName)
      continue;
    part(static_cast<int>(i)) += static_cast<uint64_t>(stream.codecpar->extradata_size);
  }
  const Libav<AVPacket> packet(av_packet_alloc());
  while (source.read(*packet) >= 0) {
    part(packet->stream_index) += static_cast<uint64_t>(packet->size);
    av_packet_unref(packet.get());
  }
  return bytes;
}

}  // namespace cairn::video
