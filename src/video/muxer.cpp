#include "video/muxer.hpp"

#include <fstream>

#include "base/error.hpp"
#include "video/matroska_head.hpp"

extern "C" {
#include <libavutil/spherical.h>
}

namespace cairn::video {
namespace {

AVRational ratio(const Rational& r) {
  AVRational out{};
  av_reduce(&out.num, &out.den, r.numerator, r.denominator, INT32_MAX);
  return out;
}

// Before FFmpeg 7 libav writes Matroska's projection for spheres alone: the turn of a plain picture is
// written as a sphere's, whose type is put right when the file is there.
bool add_turn(AVStream& track, const Orientation& orientation) {
  size_t size = 0;
  AVSphericalMapping* mapping = av_spherical_alloc(&size);
  if (mapping == nullptr) return false;
  mapping->projection = AV_SPHERICAL_EQUIRECTANGULAR;
  mapping->yaw = static_cast<int32_t>(orientation.yaw() * 65536);
  mapping->roll = static_cast<int32_t>(orientation.roll() * 65536);
  const bool added =
      add_side_data(track, AV_PKT_DATA_SPHERICAL, {reinterpret_cast<const uint8_t*>(mapping), size});
  av_free(mapping);
  return added;
}

}  // namespace

Muxer::Muxer(const std::string& path, const std::string& to) : path_(path), to_(to) {
  AVFormatContext* raw = nullptr;
  check(avformat_alloc_output_context2(&raw, nullptr, "matroska", to.c_str()));
  file_.reset(raw);
  file_->flags |= AVFMT_FLAG_BITEXACT;  // no dates, no random numbers: the same input gives the same file
  check(avio_open(&file_->pb, file_url(to).c_str(), AVIO_FLAG_WRITE));
}

void Muxer::check(int error) const {
  if (error < 0) fail(ErrorCode::io, "{}: cannot be written: {}", path_, libav_reason(error));
}

AVStream& Muxer::add_stream() {
  AVStream* stream = avformat_new_stream(file_.get(), nullptr);
  if (stream == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a track", path_);
  return *stream;
}

void Muxer::describe(AVStream& track, const Shown& shown) {
  track.time_base = ratio(shown.time_base);
  track.avg_frame_rate = track.r_frame_rate = ratio(shown.frame_rate);
  track.sample_aspect_ratio = track.codecpar->sample_aspect_ratio = ratio(shown.sample_aspect);
  track.codecpar->field_order = shown.fields == Fields::progressive ? AV_FIELD_PROGRESSIVE
                                : shown.fields == Fields::top_first ? AV_FIELD_TT
                                                                    : AV_FIELD_BB;
  bool sphere = false;
  for (const SideData& data : shown.side_data) {
    const auto type = static_cast<AVPacketSideDataType>(data.type);
    sphere = sphere || type == AV_PKT_DATA_SPHERICAL;
    if (!add_side_data(track, type, data.bytes)) fail(ErrorCode::out_of_memory, "{}: no memory", path_);
  }
  if (shown.orientation.upright() || sphere) return;
  if (!add_turn(track, shown.orientation)) fail(ErrorCode::out_of_memory, "{}: no memory", path_);
  turned_ = track.index;
}

void Muxer::add_attachment(std::span<const uint8_t> bytes, const std::string& name, const std::string& type,
                           const AVDictionary* tags) {
  AVStream& stream = add_stream();
  AVCodecParameters& p = *stream.codecpar;
  p.codec_type = AVMEDIA_TYPE_ATTACHMENT;
  p.codec_id = AV_CODEC_ID_BIN_DATA;
  p.extradata = static_cast<uint8_t*>(av_mallocz(bytes.size() + AV_INPUT_BUFFER_PADDING_SIZE));
  if (p.extradata == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for the attachment", path_);
  std::memcpy(p.extradata, bytes.data(), bytes.size());
  p.extradata_size = static_cast<int>(bytes.size());
  av_dict_copy(&stream.metadata, tags, 0);
  av_dict_set(&stream.metadata, "filename", name.c_str(), 0);
  av_dict_set(&stream.metadata, "mimetype", type.c_str(), 0);
}

void Muxer::begin() {
  // A byte of the tracks is put right afterwards.
  if (turned_ >= 0) av_opt_set(file_->priv_data, "write_crc32", "0", 0);
  check(avformat_write_header(file_.get(), nullptr));
  last_.assign(file_->nb_streams, AV_NOPTS_VALUE);
}

void Muxer::write(AVPacket& packet, AVRational time_base, int index) {
  packet.stream_index = index;
  packet.pos = -1;
  av_packet_rescale_ts(&packet, time_base, file_->streams[index]->time_base);
  int64_t& last = last_[static_cast<size_t>(index)];
  if (packet.dts == AV_NOPTS_VALUE) packet.dts = packet.pts != AV_NOPTS_VALUE ? packet.pts : last;
  if (packet.dts == AV_NOPTS_VALUE) packet.dts = 0;
  if (last != AV_NOPTS_VALUE) packet.dts = std::max(packet.dts, last);
  packet.pts = packet.pts == AV_NOPTS_VALUE ? packet.dts : std::max(packet.pts, packet.dts);
  last = packet.dts;
  check(av_interleaved_write_frame(file_.get(), &packet));
}

void Muxer::end() {
  check(av_write_trailer(file_.get()));
  avio_flush(file_->pb);
  check(file_->pb->error);
  check(avio_closep(&file_->pb));
  if (turned_ < 0) return;
  unsigned number = 0;  // attachments have no entry
  for (int i = 0; i < turned_; ++i)
    number += file_->streams[i]->codecpar->codec_type != AVMEDIA_TYPE_ATTACHMENT ? 1 : 0;
  const MatroskaHead::Projection projection = read_matroska_head(to_).projections[number];
  std::fstream file(to_, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(projection.type_at));
  file.put(0);
  if (projection.type_at == 0 || !file.flush()) fail(ErrorCode::io, "{}: cannot be written", path_);
}

bool matroska_holds(const AVStream& stream) {
  AVFormatContext* raw = nullptr;
  if (avformat_alloc_output_context2(&raw, nullptr, "matroska", nullptr) < 0) return false;
  AVStream* track = avformat_new_stream(raw, nullptr);
  uint8_t* bytes = nullptr;
  bool holds = false;
  if (track != nullptr && avcodec_parameters_copy(track->codecpar, stream.codecpar) >= 0 &&
      avio_open_dyn_buf(&raw->pb) >= 0) {
    track->codecpar->codec_tag = 0;
    track->time_base = stream.time_base;
    holds = avformat_write_header(raw, nullptr) >= 0;
    avio_close_dyn_buf(raw->pb, &bytes);
    raw->pb = nullptr;
  }
  av_free(bytes);
  avformat_free_context(raw);
  return holds;
}

}  // namespace cairn::video
