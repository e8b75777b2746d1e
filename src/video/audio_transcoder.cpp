#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "video/transcoder.hpp"

extern "C" {
#include <libavutil/audio_fifo.h>
#include <libavutil/channel_layout.h>
#include <libswresample/swresample.h>
}

namespace cairn::video {
namespace {

constexpr int kOpusRate = 48000, kOpusChannels = 8;
constexpr int64_t kOpusBits = 80000;   // a second and channel: beyond what is told apart
constexpr double kLargestDrift = 0.1;  // seconds between stamps and samples

struct Free {
  void operator()(SwrContext* p) const noexcept { swr_free(&p); }
  void operator()(AVAudioFifo* p) const noexcept { av_audio_fifo_free(p); }
};

bool is_pcm(AVCodecID codec) {
  return std::strncmp(avcodec_get_name(codec), "pcm_", 4) == 0;
}

// PCM of the samples that a decoder gives.
AVCodecID pcm_of(AVSampleFormat samples) {
  switch (av_get_packed_sample_fmt(samples)) {
    case AV_SAMPLE_FMT_U8:
      return AV_CODEC_ID_PCM_U8;
    case AV_SAMPLE_FMT_S16:
      return AV_CODEC_ID_PCM_S16LE;
    case AV_SAMPLE_FMT_S32:
      return AV_CODEC_ID_PCM_S32LE;
    case AV_SAMPLE_FMT_DBL:
      return AV_CODEC_ID_PCM_F64LE;
    default:
      return AV_CODEC_ID_PCM_F32LE;
  }
}

class AudioTranscoder : public Transcoder {
 public:
  bool open(const AVStream& stream, bool keep_pcm) {
    from_ = stream.time_base;
    const AVCodec* codec = avcodec_find_decoder(stream.codecpar->codec_id);
    if (codec == nullptr) return false;
    decoder_.reset(avcodec_alloc_context3(codec));
    frame_.reset(av_frame_alloc());
    made_.reset(av_frame_alloc());
    packet_.reset(av_packet_alloc());
    if (decoder_ == nullptr || frame_ == nullptr || made_ == nullptr || packet_ == nullptr) return false;
    decoder_->pkt_timebase = stream.time_base;
    if (avcodec_parameters_to_context(decoder_.get(), stream.codecpar) < 0 ||
        avcodec_open2(decoder_.get(), codec, nullptr) < 0 || decoder_->sample_rate <= 0 ||
        decoder_->ch_layout.nb_channels <= 0)
      return false;
    return open_encoder(keep_pcm && is_pcm(stream.codecpar->codec_id));
  }

  std::string codec() const override { return avcodec_get_name(encoder_->codec_id); }
  AVRational time_base() const override { return encoder_->time_base; }
  void describe(AVStream& track) const override {
    if (avcodec_parameters_from_context(track.codecpar, encoder_.get()) < 0)
      fail(ErrorCode::out_of_memory, "no memory for a track");
    track.time_base = encoder_->time_base;
  }

  void put(const AVPacket& packet, const Emit& emit) override {
    if (avcodec_send_packet(decoder_.get(), &packet) < 0) ++failures_;
    receive(emit);
  }
  void finish(const Emit& emit) override {
    avcodec_send_packet(decoder_.get(), nullptr);
    receive(emit);
    drain(emit, true);
    avcodec_send_frame(encoder_.get(), nullptr);
    take(emit);
  }

 private:
  bool open_encoder(bool pcm) {
    const AVCodec* codec =
        pcm ? avcodec_find_encoder(pcm_of(decoder_->sample_fmt)) : avcodec_find_encoder_by_name("libopus");
    if (codec == nullptr) return false;
    encoder_.reset(avcodec_alloc_context3(codec));
    if (encoder_ == nullptr) return false;
    AVCodecContext& e = *encoder_;
    const int channels =
        pcm ? decoder_->ch_layout.nb_channels : std::min(decoder_->ch_layout.nb_channels, kOpusChannels);
    if (pcm && decoder_->ch_layout.order == AV_CHANNEL_ORDER_NATIVE) {
      if (av_channel_layout_copy(&e.ch_layout, &decoder_->ch_layout) < 0) return false;
    } else {
      av_channel_layout_default(&e.ch_layout, channels);
    }
    e.sample_fmt = pcm ? av_get_packed_sample_fmt(decoder_->sample_fmt) : AV_SAMPLE_FMT_FLT;
    e.sample_rate = pcm ? decoder_->sample_rate : kOpusRate;
    e.time_base = {1, e.sample_rate};
    if (!pcm) e.bit_rate = kOpusBits * channels;
    e.flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (avcodec_open2(&e, codec, nullptr) < 0) return false;
    fifo_.reset(av_audio_fifo_alloc(e.sample_fmt, channels, e.sample_rate));
    return fifo_ != nullptr;
  }

  void receive(const Emit& emit) {
    int error = 0;
    while ((error = avcodec_receive_frame(decoder_.get(), frame_.get())) != AVERROR(EAGAIN)) {
      if (error == AVERROR_EOF) return;
      if (error < 0) {
        ++failures_;
        return;
      }
      convert(emit);
      av_frame_unref(frame_.get());
      drain(emit, false);
    }
  }

  // Samples to the encoder's form, into the queue; where stamps leave them, the queue ends first.
  void convert(const Emit& emit) {
    if (frame_->best_effort_timestamp != AV_NOPTS_VALUE) {
      const int64_t at = av_rescale_q(frame_->best_effort_timestamp, from_, encoder_->time_base);
      const double off = static_cast<double>(at - next_ - av_audio_fifo_size(fifo_.get()));
      if (!began_ || std::abs(off) > kLargestDrift * encoder_->sample_rate) {
        drain(emit, true);
        next_ = began_ ? std::max(at, next_) : at;
        began_ = true;
      }
    }
    if (resampler_ == nullptr || rate_ != frame_->sample_rate) {
      SwrContext* raw = nullptr;
      if (swr_alloc_set_opts2(&raw, &encoder_->ch_layout, encoder_->sample_fmt, encoder_->sample_rate,
                              &frame_->ch_layout, static_cast<AVSampleFormat>(frame_->format),
                              frame_->sample_rate, 0, nullptr) < 0 ||
          swr_init(raw) < 0) {
        swr_free(&raw);
        ++failures_;
        return;
      }
      resampler_.reset(raw);
      rate_ = frame_->sample_rate;
    }
    if (!make(swr_get_out_samples(resampler_.get(), frame_->nb_samples))) return;
    const int count = swr_convert(resampler_.get(), made_->extended_data, made_->nb_samples,
                                  const_cast<const uint8_t**>(frame_->extended_data), frame_->nb_samples);
    if (count > 0) av_audio_fifo_write(fifo_.get(), reinterpret_cast<void**>(made_->extended_data), count);
  }

  bool make(int samples) {
    av_frame_unref(made_.get());
    if (samples <= 0) return false;
    made_->format = encoder_->sample_fmt;
    made_->sample_rate = encoder_->sample_rate;
    made_->nb_samples = samples;
    if (av_channel_layout_copy(&made_->ch_layout, &encoder_->ch_layout) < 0 ||
        av_frame_get_buffer(made_.get(), 0) < 0)
      fail(ErrorCode::out_of_memory, "no memory for sound");
    return true;
  }

  // Whole frames of the encoder's; all of the queue where it ends, the last one filled with silence.
  void drain(const Emit& emit, bool all) {
    const int whole = encoder_->frame_size > 0 ? encoder_->frame_size : 0;
    int waiting = 0;
    while ((waiting = av_audio_fifo_size(fifo_.get())) > 0 && (all || waiting >= std::max(whole, 1))) {
      const int size = whole > 0 ? whole : waiting;
      if (!make(size)) return;
      const int got = av_audio_fifo_read(fifo_.get(), reinterpret_cast<void**>(made_->extended_data),
                                         std::min(size, waiting));
      if (got < size) {
        av_samples_set_silence(made_->extended_data, got, size - got, made_->ch_layout.nb_channels,
                               encoder_->sample_fmt);
      }
      made_->pts = next_;
      next_ += got;
      if (avcodec_send_frame(encoder_.get(), made_.get()) < 0) ++failures_;
      take(emit);
    }
  }

  void take(const Emit& emit) {
    while (avcodec_receive_packet(encoder_.get(), packet_.get()) == 0) {
      emit(*packet_);
      av_packet_unref(packet_.get());
    }
  }

  AVRational from_{};
  Libav<AVCodecContext> decoder_, encoder_;
  Libav<AVFrame> frame_, made_;
  Libav<AVPacket> packet_;
  std::unique_ptr<SwrContext, Free> resampler_;
  std::unique_ptr<AVAudioFifo, Free> fifo_;
  int rate_ = 0;
  int64_t next_ = 0;  // the stamp of the queue's first sample
  bool began_ = false;
};

}  // namespace

std::unique_ptr<Transcoder> audio_transcoder(const AVStream& stream) {
  auto transcoder = std::make_unique<AudioTranscoder>();
  if (!transcoder->open(stream, true)) return nullptr;
  return transcoder;
}

std::unique_ptr<Transcoder> opus_transcoder(const AVStream& stream) {
  auto transcoder = std::make_unique<AudioTranscoder>();
  if (!transcoder->open(stream, false)) return nullptr;
  return transcoder;
}

}  // namespace cairn::video
