#include "video/audio_reader.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "video/source.hpp"

extern "C" {
#include <libavutil/channel_layout.h>
#include <libswresample/swresample.h>
}

namespace cairn::video {
namespace {

struct FreeResampler {
  void operator()(SwrContext* p) const noexcept { swr_free(&p); }
};
constexpr int64_t kSilence = AudioReader::kRate;  // samples put in at once

}  // namespace

struct AudioReader::State {
  std::unique_ptr<Source> source;
  Libav<AVCodecContext> decoder;
  Libav<AVFrame> frame;
  Libav<AVPacket> packet;
  std::unique_ptr<SwrContext, FreeResampler> resampler;
  int stream = -1, rate = 0, format = -1;
  uint64_t layout = 0;
  int64_t written = 0, gap = 0;  // samples given so far; of silence before the frame that waits
  bool drained = false;

  bool open(const std::string& path);
  bool feed();
  int64_t silence_before() const;
  void convert(std::vector<int16_t>& samples);
  void give(std::vector<int16_t>& samples) {
    convert(samples);
    av_frame_unref(frame.get());
  }
};

bool AudioReader::State::open(const std::string& path) {
  try {
    source = std::make_unique<Source>(path);
  } catch (const Error&) {
    return false;
  }
  const AVCodec* codec = nullptr;
  stream = av_find_best_stream(&source->file(), AVMEDIA_TYPE_AUDIO, -1, -1, &codec, 0);
  if (stream < 0) return false;
  source->only(stream);
  decoder.reset(avcodec_alloc_context3(codec));
  frame.reset(av_frame_alloc());
  packet.reset(av_packet_alloc());
  if (decoder == nullptr || frame == nullptr || packet == nullptr) return false;
  decoder->pkt_timebase = source->stream(stream).time_base;
  return avcodec_parameters_to_context(decoder.get(), source->stream(stream).codecpar) >= 0 &&
         avcodec_open2(decoder.get(), codec, nullptr) >= 0;
}

bool AudioReader::State::feed() {
  while (source->read(*packet) >= 0) {
    const bool ours = packet->stream_index == stream;
    if (ours) avcodec_send_packet(decoder.get(), packet.get());
    av_packet_unref(packet.get());
    if (ours) return true;
  }
  if (drained) return false;
  drained = true;
  avcodec_send_packet(decoder.get(), nullptr);
  return true;
}

// Samples of silence before the frame; less than a twentieth of a second is the time stamps' rounding.
int64_t AudioReader::State::silence_before() const {
  if (frame->best_effort_timestamp == AV_NOPTS_VALUE) return 0;
  const double second =
      static_cast<double>(frame->best_effort_timestamp) * av_q2d(source->stream(stream).time_base);
  const int64_t samples = std::llround(second * kRate) - written;
  return samples > kRate / 20 ? samples : 0;
}

void AudioReader::State::convert(std::vector<int16_t>& samples) {
  const uint64_t mask = frame->ch_layout.order == AV_CHANNEL_ORDER_NATIVE ? frame->ch_layout.u.mask : 0;
  if (resampler == nullptr || rate != frame->sample_rate || format != frame->format || layout != mask) {
    AVChannelLayout stereo = AV_CHANNEL_LAYOUT_STEREO;  // not const: old libav wants to write there
    SwrContext* raw = nullptr;
    if (swr_alloc_set_opts2(&raw, &stereo, AV_SAMPLE_FMT_S16, kRate, &frame->ch_layout,
                            static_cast<AVSampleFormat>(frame->format), frame->sample_rate, 0, nullptr) < 0 ||
        swr_init(raw) < 0) {
      swr_free(&raw);
      return;
    }
    resampler.reset(raw);
    rate = frame->sample_rate;
    format = frame->format;
    layout = mask;
  }
  const int most = swr_get_out_samples(resampler.get(), frame->nb_samples);
  if (most <= 0) return;
  const size_t at = samples.size();
  samples.resize(at + static_cast<size_t>(most) * kChannels);
  auto* out = reinterpret_cast<uint8_t*>(samples.data() + at);
  const int count = swr_convert(resampler.get(), &out, most,
                                const_cast<const uint8_t**>(frame->extended_data), frame->nb_samples);
  samples.resize(at + static_cast<size_t>(std::max(count, 0)) * kChannels);
  written += std::max(count, 0);
}

AudioReader::AudioReader() : state_(std::make_unique<State>()) {}
AudioReader::~AudioReader() = default;

std::unique_ptr<AudioReader> AudioReader::open(const std::string& path) {
  std::unique_ptr<AudioReader> reader(new AudioReader);
  if (!reader->state_->open(path)) return nullptr;
  return reader;
}

bool AudioReader::read(std::vector<int16_t>& samples) {
  State& s = *state_;
  while (true) {
    if (s.gap > 0) {
      const int64_t count = std::min(s.gap, kSilence);
      samples.insert(samples.end(), static_cast<size_t>(count) * kChannels, int16_t{0});
      s.written += count;
      s.gap -= count;
      if (s.gap == 0) s.give(samples);
      return true;
    }
    const int error = avcodec_receive_frame(s.decoder.get(), s.frame.get());
    if (error == 0) {
      s.gap = s.silence_before();
      if (s.gap > 0) continue;
      s.give(samples);
      return true;
    }
    if (error == AVERROR_EOF || !s.feed()) return false;
  }
}

}  // namespace cairn::video
