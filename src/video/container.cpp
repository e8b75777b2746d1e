#include "video/container.hpp"

#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/unfinished_file.hpp"
#include "video/libav.hpp"

namespace cairn::video {
namespace {

struct OutputDeleter {
  void operator()(AVFormatContext* p) const noexcept {
    if (p->pb != nullptr) avio_closep(&p->pb);
    avformat_free_context(p);
  }
};

class Muxer {
 public:
  Muxer(const std::string& path, const std::string& part) : path_(path) {
    AVFormatContext* raw = nullptr;
    check(avformat_alloc_output_context2(&raw, nullptr, "matroska", part.c_str()));
    file_.reset(raw);
    file_->flags |= AVFMT_FLAG_BITEXACT;  // no dates, no random numbers: the same input gives the same file
    check(avio_open(&file_->pb, part.c_str(), AVIO_FLAG_WRITE));
    packet_.reset(av_packet_alloc());
  }

  AVStream& add_stream() {
    AVStream* stream = avformat_new_stream(file_.get(), nullptr);
    if (stream == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a track", path_);
    return *stream;
  }

  void add_attachment(const std::vector<std::byte>& bytes) {
    AVStream& stream = add_stream();
    AVCodecParameters& p = *stream.codecpar;
    p.codec_type = AVMEDIA_TYPE_ATTACHMENT;
    p.codec_id = AV_CODEC_ID_BIN_DATA;
    p.extradata = static_cast<uint8_t*>(av_mallocz(bytes.size() + AV_INPUT_BUFFER_PADDING_SIZE));
    if (p.extradata == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for the attachment", path_);
    std::memcpy(p.extradata, bytes.data(), bytes.size());
    p.extradata_size = static_cast<int>(bytes.size());
    av_dict_set(&stream.metadata, "filename", kAttachmentName, 0);
    av_dict_set(&stream.metadata, "mimetype", kAttachmentType, 0);
  }

  void begin() { check(avformat_write_header(file_.get(), nullptr)); }

  void write(const CodedPacket& from, AVRational time_base, int index) {
    check(av_new_packet(packet_.get(), static_cast<int>(from.data.size())));
    std::memcpy(packet_->data, from.data.data(), from.data.size());
    packet_->pts = from.pts;
    packet_->dts = from.dts;
    packet_->duration = from.duration;
    packet_->flags = from.key ? AV_PKT_FLAG_KEY : 0;
    write(packet_.get(), time_base, index);
  }
  // Takes the packet's content.
  void write(AVPacket* packet, AVRational time_base, int index) {
    packet->stream_index = index;
    packet->pos = -1;
    av_packet_rescale_ts(packet, time_base, file_->streams[index]->time_base);
    check(av_interleaved_write_frame(file_.get(), packet));
  }

  void end() {
    check(av_write_trailer(file_.get()));
    avio_flush(file_->pb);
    check(file_->pb->error);
    check(avio_closep(&file_->pb));
  }

 private:
  void check(int error) const {
    if (error < 0) fail(ErrorCode::io, "{}: cannot be written: {}", path_, libav_reason(error));
  }
  const std::string& path_;
  std::unique_ptr<AVFormatContext, OutputDeleter> file_;
  Libav<AVPacket> packet_;
};

Libav<AVFormatContext> open_input(const std::string& path) {
  av_log_set_level(AV_LOG_FATAL);  // what matters comes back as errors
  AVFormatContext* raw = nullptr;
  const int error = avformat_open_input(&raw, path.c_str(), nullptr, nullptr);
  if (error == AVERROR(ENOENT)) fail(ErrorCode::not_found, "{}: no such file", path);
  if (error < 0) fail(ErrorCode::format, "{}: not a video that libav knows ({})", path, libav_reason(error));
  Libav<AVFormatContext> file(raw);
  if (const int found = avformat_find_stream_info(raw, nullptr); found < 0)
    fail(ErrorCode::format, "{}: {}", path, libav_reason(found));
  return file;
}

// The audio tracks of the input by their index there, each with a track of the output.
std::map<int, int> add_audio(Muxer& muxer, AVFormatContext& from, const std::string& path) {
  std::map<int, int> tracks;
  const AVOutputFormat* matroska = av_guess_format("matroska", nullptr, nullptr);
  for (unsigned i = 0; i < from.nb_streams; ++i) {
    const AVStream& stream = *from.streams[i];
    if (stream.codecpar->codec_type != AVMEDIA_TYPE_AUDIO) continue;
    if (avformat_query_codec(matroska, stream.codecpar->codec_id, FF_COMPLIANCE_NORMAL) != 1) {
      fail(ErrorCode::unsupported,
           "{}: its audio is {}, which Matroska cannot hold (--no-audio leaves it out)", path,
           avcodec_get_name(stream.codecpar->codec_id));
    }
    AVStream& out = muxer.add_stream();
    if (avcodec_parameters_copy(out.codecpar, stream.codecpar) < 0)
      fail(ErrorCode::out_of_memory, "{}: no memory for a track", path);
    out.codecpar->codec_tag = 0;
    out.time_base = stream.time_base;
    if (const AVDictionaryEntry* language = av_dict_get(stream.metadata, "language", nullptr, 0))
      av_dict_set(&out.metadata, "language", language->value, 0);
    tracks[static_cast<int>(i)] = out.index;
  }
  return tracks;
}

std::string tag(const AVStream& stream, const char* name) {
  const AVDictionaryEntry* entry = av_dict_get(stream.metadata, name, nullptr, 0);
  return entry == nullptr ? "" : entry->value;
}

}  // namespace

void ParametersDeleter::operator()(AVCodecParameters* p) const noexcept {
  avcodec_parameters_free(&p);
}

void write_matroska(const std::string& path, const CodedVideo& video,
                    const std::vector<std::byte>& attachment, const MuxOptions& options) {
  struct stat status {};
  const bool ordinary = !options.in_place && (stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode));
  std::optional<UnfinishedFile> part;
  if (ordinary) part.emplace(path, path);
  Muxer muxer(path, part ? part->path() : path);
  AVStream& track = muxer.add_stream();
  if (avcodec_parameters_copy(track.codecpar, video.parameters.get()) < 0)
    fail(ErrorCode::out_of_memory, "{}: no memory for a track", path);
  const AVRational time_base{static_cast<int>(video.time_base.numerator),
                             static_cast<int>(video.time_base.denominator)};
  track.time_base = time_base;
  track.avg_frame_rate = {static_cast<int>(video.frame_rate.numerator),
                          static_cast<int>(video.frame_rate.denominator)};
  track.sample_aspect_ratio = track.codecpar->sample_aspect_ratio = {
      static_cast<int>(video.sample_aspect.numerator), static_cast<int>(video.sample_aspect.denominator)};
  Libav<AVFormatContext> input;
  std::map<int, int> audio;
  if (!options.audio_from.empty()) {
    input = open_input(options.audio_from);
    audio = add_audio(muxer, *input, options.audio_from);
  }
  if (!attachment.empty()) muxer.add_attachment(attachment);
  muxer.begin();

  size_t next = 0;
  const auto video_until = [&](double seconds) {
    for (; next < video.packets.size() &&
           static_cast<double>(video.packets[next].dts) * av_q2d(time_base) <= seconds;
         ++next)
      muxer.write(video.packets[next], time_base, track.index);
  };
  Libav<AVPacket> packet(av_packet_alloc());
  while (!audio.empty() && av_read_frame(input.get(), packet.get()) >= 0) {
    const auto to = audio.find(packet->stream_index);
    if (to != audio.end()) {
      const AVRational base = input->streams[packet->stream_index]->time_base;
      const int64_t stamp = packet->dts != AV_NOPTS_VALUE ? packet->dts : packet->pts;
      if (stamp != AV_NOPTS_VALUE) video_until(static_cast<double>(stamp) * av_q2d(base));
      muxer.write(packet.get(), base, to->second);
    }
    av_packet_unref(packet.get());
    throw_if_interrupted();
  }
  video_until(INFINITY);
  muxer.end();
  if (part) part->finish();
}

CairnFile read_cairn_file(const std::string& path) {
  const Libav<AVFormatContext> file = open_input(path);
  CairnFile result;
  for (unsigned i = 0; i < file->nb_streams; ++i) {
    const AVStream& stream = *file->streams[i];
    const AVCodecParameters& p = *stream.codecpar;
    if (p.codec_type == AVMEDIA_TYPE_VIDEO && result.video_codec.empty())
      result.video_codec = avcodec_get_name(p.codec_id);
    if (p.codec_type != AVMEDIA_TYPE_ATTACHMENT) continue;
    if (tag(stream, "mimetype") != kAttachmentType && tag(stream, "filename") != kAttachmentName) continue;
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
  const Libav<AVFormatContext> file = open_input(path);
  const int video = av_find_best_stream(file.get(), AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  for (unsigned i = 0; i < file->nb_streams; ++i) {
    const AVCodecParameters& p = *file->streams[i]->codecpar;
    if (p.codec_type == AVMEDIA_TYPE_ATTACHMENT) continue;
    (static_cast<int>(i) == video ? bytes.video : bytes.audio) += static_cast<uint64_t>(p.extradata_size);
  }
  Libav<AVPacket> packet(av_packet_alloc());
  while (av_read_frame(file.get(), packet.get()) >= 0) {
    (packet->stream_index == video ? bytes.video : bytes.audio) += static_cast<uint64_t>(packet->size);
    av_packet_unref(packet.get());
  }
  return bytes;
}

}  // namespace cairn::video
