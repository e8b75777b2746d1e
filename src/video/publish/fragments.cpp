#include "video/publish/fragments.hpp"

#include <span>

#include "base/error.hpp"

namespace cairn::video {
namespace {

constexpr int kBuffer = 1 << 16;

}  // namespace

void Fragmenter::check(int error) const {
  if (error < 0) fail(ErrorCode::io, "{}: cannot be written as MP4: {}", what_, libav_reason(error));
}

int Fragmenter::take(void* self, uint8_t* bytes, int count) {
  auto& written = static_cast<Fragmenter*>(self)->written_;
  written.insert(written.end(), bytes, bytes + count);
  return count;
}

Fragmenter::Fragmenter(const AVCodecParameters& parameters, const Shown& shown, bool reordered,
                       const std::string& what)
    : what_(what), late_(reordered) {
  AVFormatContext* raw = nullptr;
  check(avformat_alloc_output_context2(&raw, nullptr, "mp4", nullptr));
  file_.reset(raw);
  raw->flags |= AVFMT_FLAG_BITEXACT | AVFMT_FLAG_CUSTOM_IO;
  raw->avoid_negative_ts = 0;
  packet_.reset(av_packet_alloc());
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBuffer));
  if (buffer != nullptr) raw->pb = avio_alloc_context(buffer, kBuffer, 1, this, nullptr, take, nullptr);
  AVStream* track = avformat_new_stream(raw, nullptr);
  if (raw->pb == nullptr || track == nullptr || packet_ == nullptr ||
      avcodec_parameters_copy(track->codecpar, &parameters) < 0)
    fail(ErrorCode::out_of_memory, "{}: no memory for a track", what_);
  raw->pb->seekable = 0;
  track->codecpar->codec_tag = 0;
  from_ = {static_cast<int>(shown.time_base.numerator), static_cast<int>(shown.time_base.denominator)};
  track->time_base = from_;
  track->sample_aspect_ratio = track->codecpar->sample_aspect_ratio = {
      static_cast<int>(shown.sample_aspect.numerator), static_cast<int>(shown.sample_aspect.denominator)};
  // Of a track whose frames are reordered the first decoding time is negative: an edit list moves it, and that
  // is known with the first packet.
  AVDictionary* options = nullptr;
  av_dict_set(&options, "movflags",
              reordered ? "frag_custom+delay_moov+default_base_moof" : "frag_custom+empty_moov+default_base_moof",
              0);
  const int error = avformat_write_header(raw, &options);
  av_dict_free(&options);
  if (error < 0) {
    fail(ErrorCode::unsupported, "{}: MP4 cannot hold {}: {}", what_, avcodec_get_name(parameters.codec_id),
         libav_reason(error));
  }
  if (!late_) init_ = flush();
}

Fragmenter::~Fragmenter() {
  if (file_ == nullptr || file_->pb == nullptr) return;
  av_freep(&file_->pb->buffer);
  avio_context_free(&file_->pb);
}

AVRational Fragmenter::time_base() const {
  return file_->streams[0]->time_base;
}

void Fragmenter::write(const CodedPacket& packet) {
  if (av_new_packet(packet_.get(), static_cast<int>(packet.data.size())) < 0)
    fail(ErrorCode::out_of_memory, "{}: no memory for a packet", what_);
  std::memcpy(packet_->data, packet.data.data(), packet.data.size());
  packet_->pts = packet.pts;
  packet_->dts = packet.dts;
  packet_->duration = packet.duration;
  packet_->flags = packet.key ? AV_PKT_FLAG_KEY : 0;
  av_packet_rescale_ts(packet_.get(), from_, time_base());
  const int error = av_write_frame(file_.get(), packet_.get());
  av_packet_unref(packet_.get());
  check(error);
}

std::vector<uint8_t> Fragmenter::flush() {
  avio_flush(file_->pb);
  return std::exchange(written_, {});
}

std::vector<uint8_t> Fragmenter::cut() {
  check(av_write_frame(file_.get(), nullptr));
  if (late_ && init_.empty()) {
    init_ = flush();
    check(av_write_frame(file_.get(), nullptr));
  }
  return flush();
}

std::string codec_string(const AVCodecParameters& p, const std::string& what) {
  const std::span<const uint8_t> head(p.extradata, static_cast<size_t>(p.extradata_size));
  switch (p.codec_id) {
    case AV_CODEC_ID_H264:  // avcC: version, profile, compatibility, level
      if (head.size() < 4 || head[0] != 1) break;
      return fmt::format("avc1.{:02x}{:02x}{:02x}", head[1], head[2], head[3]);
    case AV_CODEC_ID_AV1: {  // av1C (AV1 in ISOBMFF 1.2, section 2.3)
      if (head.size() < 4 || head[0] != 0x81) break;
      const int bits = (head[2] & 0x40) == 0 ? 8 : (head[2] & 0x20) != 0 ? 12 : 10;
      return fmt::format("av01.{}.{:02}{}.{:02}", head[1] >> 5, head[1] & 31, (head[2] & 0x80) != 0 ? 'H' : 'M',
                         bits);
    }
    case AV_CODEC_ID_AAC:  // AudioSpecificConfig: five bits are the object type
      if (head.empty()) break;
      return fmt::format("mp4a.40.{}", head[0] >> 3);
    case AV_CODEC_ID_OPUS:
      return "opus";
    default:
      fail(ErrorCode::unsupported, "{}: its codec is {}", what, avcodec_get_name(p.codec_id));
  }
  fail(ErrorCode::unsupported, "{}: {} without its header", what, avcodec_get_name(p.codec_id));
}

}  // namespace cairn::video
