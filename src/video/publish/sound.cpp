#include <cmath>
#include <memory>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/publish/beside.hpp"
#include "video/publish/fragments.hpp"
#include "video/source.hpp"
#include "video/transcoder.hpp"

namespace cairn::video {
namespace {

bool played_as_it_is(const AVCodecParameters& p) {
  return (p.codec_id == AV_CODEC_ID_AAC || p.codec_id == AV_CODEC_ID_OPUS) && p.extradata_size > 0;
}

// One track on its way into segments.
class Sound {
 public:
  Sound(const AVStream& stream, const std::string& what, std::string folder, double origin,
        const std::vector<double>& cuts, OutputFolder& to)
      : origin_(origin), cuts_(cuts), to_(to) {
    track_.folder = std::move(folder);
    track_.language = tag(stream.metadata, "language");
    track_.title = tag(stream.metadata, "title");
    track_.usual = (stream.disposition & AV_DISPOSITION_DEFAULT) != 0;
    parameters_.reset(avcodec_parameters_alloc());
    if (parameters_ == nullptr || avcodec_parameters_copy(parameters_.get(), stream.codecpar) < 0)
      fail(ErrorCode::out_of_memory, "{}: no memory for a track", what);
    base_ = stream.time_base;
    if (!played_as_it_is(*stream.codecpar)) {
      transcoder_ = opus_transcoder(stream);
      if (transcoder_ == nullptr) return;
      const Libav<AVFormatContext> holder(avformat_alloc_context());
      AVStream* described = holder == nullptr ? nullptr : avformat_new_stream(holder.get(), nullptr);
      if (described == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a track", what);
      transcoder_->describe(*described);
      if (avcodec_parameters_copy(parameters_.get(), described->codecpar) < 0)
        fail(ErrorCode::out_of_memory, "{}: no memory for a track", what);
      base_ = transcoder_->time_base();
    }
    track_.codecs = codec_string(*parameters_, what);
    track_.samples_a_second = parameters_->sample_rate;
    track_.channels = parameters_->ch_layout.nb_channels;
    Shown shown;
    shown.time_base = {base_.num, base_.den};
    mp4_ = std::make_unique<Fragmenter>(*parameters_, shown, false, what);
  }

  bool there() const { return mp4_ != nullptr; }
  bool transcoded() const { return transcoder_ != nullptr; }
  uint64_t failures() const { return transcoder_ == nullptr ? 0 : transcoder_->failures(); }

  void put(const AVPacket& packet) {
    if (transcoder_ == nullptr) {
      add(packet);
    } else {
      transcoder_->put(packet, [this](AVPacket& made) { add(made); });
    }
  }
  // False: the track is empty.
  bool finish(PublishedTrack& track) {
    if (transcoder_ != nullptr) transcoder_->finish([this](AVPacket& made) { add(made); });
    if (waits_) write(last_ticks_ + waiting_.duration);
    if (pending_) cut(last_ticks_);
    if (track_.segments.empty()) return false;
    to_.write(track_.folder + "/init.mp4", std::as_bytes(std::span(mp4_->init())));
    track_.init_bytes = mp4_->init().size();
    to_.write(track_.folder + "/list.m3u8", hls_playlist(track_));
    track = track_;
    return true;
  }

 private:
  double seconds(int64_t ticks) const { return static_cast<double>(ticks) * av_q2d(base_); }

  // Packets wait for the next one: how long each lasts is the distance to it, so that stamps leave no gaps.
  void add(const AVPacket& packet) {
    if (packet.pts == AV_NOPTS_VALUE || packet.size <= 0) return;
    const int64_t origin = static_cast<int64_t>(std::llround(origin_ / av_q2d(base_)));
    int64_t at = packet.pts - origin;
    if (at + packet.duration <= 0) return;  // before the pictures
    at = std::max<int64_t>(at, 0);
    if (waits_) {
      if (at <= waiting_.pts) return;
      write(at);
    }
    waiting_.data.assign(packet.data, packet.data + packet.size);
    waiting_.pts = waiting_.dts = at;
    waiting_.duration = packet.duration > 0 ? packet.duration : 1;
    waiting_.key = true;
    waits_ = true;
    last_ticks_ = at;
  }

  void write(int64_t until) {
    while (next_cut_ < cuts_.size() && seconds(waiting_.pts) >= cuts_[next_cut_]) {
      if (pending_) cut(waiting_.pts);
      ++next_cut_;
    }
    if (!pending_) begin_ = waiting_.pts;
    const int64_t own = waiting_.duration;
    if (std::abs(until - waiting_.pts - own) <= own) waiting_.duration = until - waiting_.pts;
    mp4_->write(waiting_);
    last_ticks_ = waiting_.pts + waiting_.duration;
    pending_ = true;
    waits_ = false;
  }

  void cut(int64_t end) {
    const std::vector<uint8_t> bytes = mp4_->cut();
    const AVRational base = mp4_->time_base();
    track_.timescale = base.den;
    const int64_t from = av_rescale_q(begin_, base_, base);
    track_.segments.push_back({from, av_rescale_q(end, base_, base) - from, bytes.size()});
    to_.write(fmt::format("{}/{}.m4s", track_.folder, track_.segments.size()), std::as_bytes(std::span(bytes)));
    pending_ = false;
  }

  double origin_;
  const std::vector<double>& cuts_;
  OutputFolder& to_;
  PublishedTrack track_;
  std::unique_ptr<AVCodecParameters, ParametersDeleter> parameters_;
  AVRational base_{};
  std::unique_ptr<Transcoder> transcoder_;
  std::unique_ptr<Fragmenter> mp4_;
  CodedPacket waiting_;
  bool waits_ = false, pending_ = false;
  int64_t begin_ = 0, last_ticks_ = 0;
  size_t next_cut_ = 0;
};

}  // namespace

std::vector<PublishedTrack> publish_sound(const std::string& from, double origin, const std::vector<double>& cuts,
                                          OutputFolder& to, std::vector<std::string>& notes) {
  Source source(from);
  std::vector<std::unique_ptr<Sound>> sounds(source.file().nb_streams);
  size_t count = 0;
  for (unsigned i = 0; i < source.file().nb_streams; ++i) {
    const AVStream& stream = source.stream(static_cast<int>(i));
    if (stream.codecpar->codec_type != AVMEDIA_TYPE_AUDIO) continue;
    const std::string what = fmt::format("{}: track {} (audio {})", from, i, avcodec_get_name(stream.codecpar->codec_id));
    auto sound = std::make_unique<Sound>(stream, what, fmt::format("sound{}", count), origin, cuts, to);
    if (!sound->there()) {
      notes.push_back(what + ": left out, libav cannot make it Opus");
      continue;
    }
    if (sound->transcoded()) notes.push_back(what + ": written as opus, for browsers");
    sounds[i] = std::move(sound);
    ++count;
  }
  std::vector<PublishedTrack> tracks;
  if (count == 0) return tracks;
  const Libav<AVPacket> packet(av_packet_alloc());
  if (packet == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory", from);
  while (source.read(*packet) >= 0) {
    throw_if_interrupted();
    const auto index = static_cast<size_t>(packet->stream_index);
    if (index < sounds.size() && sounds[index] != nullptr) sounds[index]->put(*packet);
    av_packet_unref(packet.get());
  }
  for (const auto& sound : sounds) {
    PublishedTrack track;
    if (sound == nullptr || !sound->finish(track)) continue;
    if (sound->failures() > 0)
      notes.push_back(fmt::format("{}: {} packets of sound could not be decoded", from, sound->failures()));
    tracks.push_back(track);
  }
  bool marked = false;
  for (PublishedTrack& track : tracks) {
    track.usual = track.usual && !marked;
    marked = marked || track.usual;
  }
  if (!marked && !tracks.empty()) tracks.front().usual = true;
  return tracks;
}

}  // namespace cairn::video
