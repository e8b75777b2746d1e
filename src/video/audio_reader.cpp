#include "video/audio_reader.hpp"

#include <algorithm>
#include <cmath>

#include "video/libav.hpp"

extern "C" {
#include <libavutil/channel_layout.h>
#include <libswresample/swresample.h>
}

namespace cairn::video {
namespace {

struct FreeResampler {
  void operator()(SwrContext* p) const noexcept { swr_free(&p); }
};
constexpr int64_t kLargestGap = 10 * AudioReader::kRate;  // seconds of silence put in at once

}  // namespace

struct AudioReader::State {
  Libav<AVFormatContext> file;
  Libav<AVCodecContext> decoder;
  Libav<AVFrame> frame;
  Libav<AVPacket> packet;
  std::unique_ptr<SwrContext, FreeResampler> resampler;
  int stream = -1, rate = 0, format = -1;
  uint64_t layout = 0;
  int64_t written = 0;  // samples given so far
  bool drained = false;

  bool open(const std::string& path);
  bool feed();
  void convert(std::vector<int16_t>& samples);
};

bool AudioReader::State::open(const std::string& path) {
  AVFormatContext* raw = nullptr;
  if (avformat_open_input(&raw, path.c_str(), nullptr, nullptr) < 0) return false;
  file.reset(raw);
  if (avformat_find_stream_info(raw, nullptr) < 0) return false;
  const AVCodec* codec = nullptr;
  stream = av_find_best_stream(raw, AVMEDIA_TYPE_AUDIO, -1, -1, &codec, 0);
  if (stream < 0) return false;
  for (unsigned i = 0; i < raw->nb_streams; ++i) {
    if (static_cast<int>(i) != stream) raw->streams[i]->discard = AVDISCARD_ALL;
  }
  decoder.reset(avcodec_alloc_context3(codec));
  frame.reset(av_frame_alloc());
  packet.reset(av_packet_alloc());
  if (decoder == nullptr || frame == nullptr || packet == nullptr) return false;
  decoder->pkt_timebase = raw->streams[stream]->time_base;
  return avcodec_parameters_to_context(decoder.get(), raw->streams[stream]->codecpar) >= 0 &&
         avcodec_open2(decoder.get(), codec, nullptr) >= 0;
}

bool AudioReader::State::feed() {
  while (av_read_frame(file.get(), packet.get()) >= 0) {
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
  if (frame->best_effort_timestamp != AV_NOPTS_VALUE) {
    const double second =
        static_cast<double>(frame->best_effort_timestamp) * av_q2d(file->streams[stream]->time_base);
    const int64_t gap = std::llround(second * kRate) - written;
    // Less than a twentieth of a second is the time stamps' rounding.
    if (gap > kRate / 20 && gap < kLargestGap) {
      samples.insert(samples.end(), static_cast<size_t>(gap) * kChannels, int16_t{0});
      written += gap;
    }
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
    const int error = avcodec_receive_frame(s.decoder.get(), s.frame.get());
    if (error == 0) {
      s.convert(samples);
      av_frame_unref(s.frame.get());
      return true;
    }
    if (error != AVERROR(EAGAIN) || !s.feed()) return false;
  }
}

}  // namespace cairn::video
