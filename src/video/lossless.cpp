#include "video/lossless.hpp"

#include <cstring>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "base/unfinished_file.hpp"
#include "video/libav.hpp"

namespace cairn::video {
namespace {

struct CloseOutput {
  void operator()(AVFormatContext* p) const noexcept {
    if (p->pb != nullptr) avio_closep(&p->pb);
    avformat_free_context(p);
  }
};

}  // namespace

struct LosslessFile::State {
  std::string path;
  std::optional<UnfinishedFile> part;  // closed after `file` is
  Format format;
  AVRational time_base{};
  std::unique_ptr<AVFormatContext, CloseOutput> file;
  Libav<AVCodecContext> encoder;
  Libav<AVFormatContext> audio;
  std::vector<int> tracks;  // of the audio's streams: ours, or -1
  Libav<AVFrame> frame;
  Libav<AVPacket> packet, audio_packet;
  bool audio_waits = false;  // audio_packet holds the next packet

  void check(int error) const {
    if (error < 0) fail(ErrorCode::io, "{}: {}", path, libav_reason(error));
  }
  void open_video(const VideoInfo& info);
  void open_audio(const std::string& from);
  void copy_audio(double until);
  void drain();
};

void LosslessFile::State::open_video(const VideoInfo& info) {
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_FFV1);
  if (codec == nullptr) fail(ErrorCode::unsupported, "{}: this libav cannot write FFV1", path);
  encoder.reset(avcodec_alloc_context3(codec));
  time_base = {static_cast<int>(info.time_base.numerator), static_cast<int>(info.time_base.denominator)};
  encoder->width = static_cast<int>(format.width);
  encoder->height = static_cast<int>(format.height);
  encoder->pix_fmt = av_get_pix_fmt(format.pixel_format().c_str());
  encoder->time_base = time_base;
  encoder->framerate = {static_cast<int>(info.frame_rate.numerator),
                        static_cast<int>(info.frame_rate.denominator)};
  encoder->sample_aspect_ratio = {static_cast<int>(info.sample_aspect.numerator),
                                  static_cast<int>(info.sample_aspect.denominator)};
  encoder->colorspace = static_cast<AVColorSpace>(info.colour.matrix);
  encoder->color_primaries = static_cast<AVColorPrimaries>(info.colour.primaries);
  encoder->color_trc = static_cast<AVColorTransferCharacteristic>(info.colour.transfer);
  encoder->color_range = static_cast<AVColorRange>(info.colour.range);
  encoder->chroma_sample_location = static_cast<AVChromaLocation>(info.colour.siting);
  // Version 3 cuts frames into slices; of frames of a sample or two it makes zeros (libavcodec 59).
  const bool tiny = format.width < 16 || format.height < 16;
  encoder->level = tiny ? 1 : 3;
  if (tiny || format.bits > 8) av_opt_set(encoder->priv_data, "coder", "range_def", 0);
  encoder->gop_size = 1;
  encoder->strict_std_compliance = FF_COMPLIANCE_NORMAL;
  if ((file->oformat->flags & AVFMT_GLOBALHEADER) != 0) encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  check(avcodec_open2(encoder.get(), codec, nullptr));
  AVStream* stream = avformat_new_stream(file.get(), nullptr);
  if (stream == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a track", path);
  check(avcodec_parameters_from_context(stream->codecpar, encoder.get()));
  stream->time_base = time_base;
  stream->avg_frame_rate = encoder->framerate;
  stream->sample_aspect_ratio = encoder->sample_aspect_ratio;
}

void LosslessFile::State::open_audio(const std::string& from) {
  AVFormatContext* raw = nullptr;
  check(avformat_open_input(&raw, from.c_str(), nullptr, nullptr));
  audio.reset(raw);
  check(avformat_find_stream_info(raw, nullptr));
  for (unsigned i = 0; i < raw->nb_streams; ++i) {
    tracks.push_back(-1);
    AVStream& stream = *raw->streams[i];
    if (stream.codecpar->codec_type != AVMEDIA_TYPE_AUDIO) {
      stream.discard = AVDISCARD_ALL;
      continue;
    }
    AVStream* track = avformat_new_stream(file.get(), nullptr);
    if (track == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a track", path);
    check(avcodec_parameters_copy(track->codecpar, stream.codecpar));
    track->codecpar->codec_tag = 0;
    track->time_base = stream.time_base;
    av_dict_copy(&track->metadata, stream.metadata, 0);
    tracks.back() = track->index;
  }
}

// Audio packets up to a time, in seconds.
void LosslessFile::State::copy_audio(double until) {
  while (audio != nullptr) {
    if (!audio_waits && av_read_frame(audio.get(), audio_packet.get()) < 0) {
      audio.reset();
      return;
    }
    audio_waits = true;
    const auto from = static_cast<size_t>(audio_packet->stream_index);
    const int track = from < tracks.size() ? tracks[from] : -1;
    if (track >= 0) {
      const AVRational base = audio->streams[from]->time_base;
      const int64_t stamp = audio_packet->dts != AV_NOPTS_VALUE ? audio_packet->dts : audio_packet->pts;
      if (stamp != AV_NOPTS_VALUE && static_cast<double>(stamp) * av_q2d(base) > until) return;
      av_packet_rescale_ts(audio_packet.get(), base, file->streams[track]->time_base);
      audio_packet->stream_index = track;
      audio_packet->pos = -1;
      check(av_interleaved_write_frame(file.get(), audio_packet.get()));
    }
    av_packet_unref(audio_packet.get());
    audio_waits = false;
  }
}

void LosslessFile::State::drain() {
  while (avcodec_receive_packet(encoder.get(), packet.get()) == 0) {
    packet->stream_index = 0;
    av_packet_rescale_ts(packet.get(), time_base, file->streams[0]->time_base);
    check(av_interleaved_write_frame(file.get(), packet.get()));
  }
}

LosslessFile::LosslessFile(const std::string& path, const VideoInfo& info, const std::string& audio_from)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.path = path;
  s.format = info.format;
  s.part.emplace(path, path);
  AVFormatContext* raw = nullptr;
  s.check(avformat_alloc_output_context2(&raw, nullptr, "matroska", s.part->path().c_str()));
  s.file.reset(raw);
  raw->flags |= AVFMT_FLAG_BITEXACT;
  s.open_video(info);
  if (!audio_from.empty()) s.open_audio(audio_from);
  s.check(avio_open(&raw->pb, s.part->path().c_str(), AVIO_FLAG_WRITE));
  const int error = avformat_write_header(raw, nullptr);
  if (error < 0) fail(ErrorCode::unsupported, "{}: Matroska cannot hold it: {}", path, libav_reason(error));
  s.frame.reset(av_frame_alloc());
  s.packet.reset(av_packet_alloc());
  s.audio_packet.reset(av_packet_alloc());
  if (s.frame == nullptr || s.packet == nullptr || s.audio_packet == nullptr)
    fail(ErrorCode::out_of_memory, "{}: no memory for a frame", path);
}
LosslessFile::~LosslessFile() = default;
LosslessFile::LosslessFile(LosslessFile&&) noexcept = default;
LosslessFile& LosslessFile::operator=(LosslessFile&&) noexcept = default;

void LosslessFile::write(const Frame& frame) {
  State& s = *state_;
  if (frame.format != s.format) fail(ErrorCode::invalid_argument, "{}: a frame of another format", s.path);
  AVFrame& to = *s.frame;
  av_frame_unref(&to);
  to.format = s.encoder->pix_fmt;
  to.width = s.encoder->width;
  to.height = s.encoder->height;
  s.check(av_frame_get_buffer(&to, 0));
  for (size_t p = 0; p < s.format.planes(); ++p) {
    const Plane& plane = frame.planes[p];
    for (uint32_t y = 0; y < plane.height; ++y) {
      uint8_t* row = to.data[p] + static_cast<ptrdiff_t>(y) * to.linesize[p];
      if (s.format.bits > 8) {
        std::memcpy(row, plane.row(y), plane.width * 2ul);
      } else {
        for (uint32_t x = 0; x < plane.width; ++x) row[x] = static_cast<uint8_t>(plane.row(y)[x]);
      }
    }
  }
  to.pts = frame.pts;
  frame_duration(to) = frame.duration;
  s.copy_audio(static_cast<double>(frame.pts) * av_q2d(s.time_base));
  s.check(avcodec_send_frame(s.encoder.get(), &to));
  s.drain();
}

void LosslessFile::finish() {
  State& s = *state_;
  s.check(avcodec_send_frame(s.encoder.get(), nullptr));
  s.drain();
  s.copy_audio(1e18);
  s.check(av_write_trailer(s.file.get()));
  s.check(avio_closep(&s.file->pb));
  s.part->finish();
}

}  // namespace cairn::video
