#include <array>

#include "base/error.hpp"
#include "video/transcoder.hpp"

namespace cairn::video {
namespace {

constexpr AVRational kMilliseconds = {1, 1000};
constexpr size_t kLongest = 64 << 10;  // bytes of one subtitle

class SubtitleTranscoder : public Transcoder {
 public:
  explicit SubtitleTranscoder(AVCodecID to) : to_(to) {}

  bool open(const AVStream& stream) {
    from_ = stream.time_base;
    const AVCodecDescriptor* kind = avcodec_descriptor_get(stream.codecpar->codec_id);
    const AVCodec *decoder = avcodec_find_decoder(stream.codecpar->codec_id),
                  *encoder = avcodec_find_encoder(to_);
    if (kind == nullptr || (kind->props & AV_CODEC_PROP_TEXT_SUB) == 0 || decoder == nullptr ||
        encoder == nullptr)
      return false;
    decoder_.reset(avcodec_alloc_context3(decoder));
    encoder_.reset(avcodec_alloc_context3(encoder));
    packet_.reset(av_packet_alloc());
    if (decoder_ == nullptr || encoder_ == nullptr || packet_ == nullptr ||
        avcodec_parameters_to_context(decoder_.get(), stream.codecpar) < 0)
      return false;
    decoder_->pkt_timebase = from_;
    if (avcodec_open2(decoder_.get(), decoder, nullptr) < 0) return false;
    // Decoders of text say how it looks in ASS's way, which encoders read.
    const int size = decoder_->subtitle_header_size;
    if (decoder_->subtitle_header != nullptr && size > 0) {
      encoder_->subtitle_header = static_cast<uint8_t*>(av_mallocz(static_cast<size_t>(size) + 1));
      if (encoder_->subtitle_header == nullptr) return false;
      std::memcpy(encoder_->subtitle_header, decoder_->subtitle_header, static_cast<size_t>(size));
      encoder_->subtitle_header_size = size;
    }
    encoder_->time_base = kMilliseconds;
    return avcodec_open2(encoder_.get(), encoder, nullptr) >= 0;
  }

  std::string codec() const override { return avcodec_get_name(to_); }
  AVRational time_base() const override { return kMilliseconds; }
  void describe(AVStream& track) const override {
    track.codecpar->codec_type = AVMEDIA_TYPE_SUBTITLE;
    track.codecpar->codec_id = to_;
    track.time_base = kMilliseconds;
  }

  void put(const AVPacket& packet, const Emit& emit) override {
    AVSubtitle subtitle{};
    int got = 0;
    const int error =
        avcodec_decode_subtitle2(decoder_.get(), &subtitle, &got, const_cast<AVPacket*>(&packet));
    if (error < 0) ++failures_;
    if (error >= 0 && got != 0 && subtitle.num_rects > 0 && packet.pts != AV_NOPTS_VALUE)
      write(packet, subtitle, emit);
    avsubtitle_free(&subtitle);
  }
  void finish(const Emit&) override {}

 private:
  void write(const AVPacket& packet, AVSubtitle& subtitle, const Emit& emit) {
    const int64_t begin = av_rescale_q(packet.pts, from_, kMilliseconds) + subtitle.start_display_time;
    int64_t length = static_cast<int64_t>(subtitle.end_display_time) - subtitle.start_display_time;
    if (packet.duration > 0) length = av_rescale_q(packet.duration, from_, kMilliseconds);
    subtitle.pts = begin * 1000;
    subtitle.end_display_time -= subtitle.start_display_time;
    subtitle.start_display_time = 0;
    text_.resize(kLongest);
    const int size =
        avcodec_encode_subtitle(encoder_.get(), text_.data(), static_cast<int>(text_.size()), &subtitle);
    if (size < 0) ++failures_;
    if (size <= 0) return;
    if (av_new_packet(packet_.get(), size) < 0) fail(ErrorCode::out_of_memory, "no memory for a subtitle");
    std::memcpy(packet_->data, text_.data(), static_cast<size_t>(size));
    packet_->pts = packet_->dts = begin;
    packet_->duration = length;
    packet_->flags = AV_PKT_FLAG_KEY;
    emit(*packet_);
    av_packet_unref(packet_.get());
  }

  AVCodecID to_;
  AVRational from_{};
  Libav<AVCodecContext> decoder_, encoder_;
  Libav<AVPacket> packet_;
  std::vector<uint8_t> text_;
};

}  // namespace

std::unique_ptr<Transcoder> subtitle_transcoder(const AVStream& stream) {
  auto transcoder = std::make_unique<SubtitleTranscoder>(AV_CODEC_ID_SUBRIP);
  if (!transcoder->open(stream)) return nullptr;
  return transcoder;
}

std::unique_ptr<Transcoder> webvtt_transcoder(const AVStream& stream) {
  auto transcoder = std::make_unique<SubtitleTranscoder>(AV_CODEC_ID_WEBVTT);
  if (!transcoder->open(stream)) return nullptr;
  return transcoder;
}

}  // namespace cairn::video
