#include "video/publish/sound_track.hpp"

#include <cmath>

#include "base/error.hpp"

namespace cairn::video {
namespace {

bool is_played(AVCodecID codec) {
  return codec == AV_CODEC_ID_AAC || codec == AV_CODEC_ID_OPUS;
}

}  // namespace

SoundTrack::SoundTrack(const AVStream& stream, const std::string& what, std::string folder, double origin,
                       Write write)
    : what_(what), origin_(origin), write_(std::move(write)) {
  const auto no_memory = [&] { fail(ErrorCode::out_of_memory, "{}: no memory for a track", what); };
  track_.folder = std::move(folder);
  track_.language = tag(stream.metadata, "language");
  track_.title = tag(stream.metadata, "title");
  track_.usual = (stream.disposition & AV_DISPOSITION_DEFAULT) != 0;
  parameters_.reset(avcodec_parameters_alloc());
  packet_.reset(av_packet_alloc());
  if (parameters_ == nullptr || packet_ == nullptr ||
      avcodec_parameters_copy(parameters_.get(), stream.codecpar) < 0)
    no_memory();
  base_ = stream.time_base;
  if (is_played(parameters_->codec_id) && parameters_->extradata_size > 0) {
    open();
    return;
  }
  // AAC in ADTS frames: MP4's header is made of the first one's.
  const AVBitStreamFilter* filter =
      parameters_->codec_id == AV_CODEC_ID_AAC ? av_bsf_get_by_name("aac_adtstoasc") : nullptr;
  if (filter != nullptr) {
    AVBSFContext* raw = nullptr;
    if (av_bsf_alloc(filter, &raw) < 0) no_memory();
    filter_.reset(raw);
    if (avcodec_parameters_copy(raw->par_in, stream.codecpar) < 0) no_memory();
    raw->time_base_in = base_;
    if (av_bsf_init(raw) >= 0) return;
    filter_.reset();
  }
  transcoder_ = opus_transcoder(stream);
  if (transcoder_ == nullptr) return;
  const Libav<AVFormatContext> holder(avformat_alloc_context());
  AVStream* described = holder == nullptr ? nullptr : avformat_new_stream(holder.get(), nullptr);
  if (described == nullptr) no_memory();
  transcoder_->describe(*described);
  if (avcodec_parameters_copy(parameters_.get(), described->codecpar) < 0) no_memory();
  base_ = transcoder_->time_base();
  open();
}

void SoundTrack::open() {
  track_.codecs = codec_string(*parameters_, what_);
  track_.samples_a_second = parameters_->sample_rate;
  track_.channels = parameters_->ch_layout.nb_channels;
  Shown shown;
  shown.time_base = {base_.num, base_.den};
  mp4_ = std::make_unique<Fragmenter>(*parameters_, shown, false, what_);
}

uint64_t SoundTrack::failures() const {
  return refused_ + (transcoder_ == nullptr ? 0 : transcoder_->failures());
}

void SoundTrack::put(const AVPacket& packet) {
  if (transcoder_ != nullptr) {
    transcoder_->put(packet, [this](AVPacket& made) { add(made); });
  } else if (filter_ != nullptr) {
    filter(packet);
  } else {
    add(packet);
  }
}

void SoundTrack::filter(const AVPacket& packet) {
  if (av_packet_ref(packet_.get(), &packet) < 0)
    fail(ErrorCode::out_of_memory, "{}: no memory for a packet", what_);
  if (av_bsf_send_packet(filter_.get(), packet_.get()) < 0) {
    av_packet_unref(packet_.get());
    ++refused_;
    return;
  }
  int error = 0;
  while ((error = av_bsf_receive_packet(filter_.get(), packet_.get())) == 0) {
    size_t size = 0;
    const uint8_t* header = av_packet_get_side_data(packet_.get(), AV_PKT_DATA_NEW_EXTRADATA, &size);
    if (mp4_ == nullptr && header != nullptr && size > 0) {
      auto* copy = static_cast<uint8_t*>(av_mallocz(size + AV_INPUT_BUFFER_PADDING_SIZE));
      if (copy == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a track", what_);
      std::memcpy(copy, header, size);
      av_freep(&parameters_->extradata);
      parameters_->extradata = copy;
      parameters_->extradata_size = static_cast<int>(size);
      open();
    }
    if (mp4_ != nullptr) {
      add(*packet_);
    } else {
      ++refused_;
    }
    av_packet_unref(packet_.get());
  }
  if (error != AVERROR(EAGAIN) && error != AVERROR_EOF) ++refused_;
}

// Packets wait for the next one: how long each lasts is the distance to it, so that stamps leave no gaps.
void SoundTrack::add(const AVPacket& packet) {
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

void SoundTrack::write(int64_t until) {
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

void SoundTrack::cut(int64_t end) {
  const std::vector<uint8_t> bytes = mp4_->cut();
  const AVRational base = mp4_->time_base();
  track_.timescale = base.den;
  if (track_.segments.empty()) {
    write_(track_.folder + "/init.mp4", std::as_bytes(std::span(mp4_->init())));
    track_.init_bytes = mp4_->init().size();
  }
  const int64_t from = av_rescale_q(begin_, base_, base);
  write_(fmt::format("{}/{}.m4s", track_.folder, track_.segments.size() + 1),
         std::as_bytes(std::span(bytes)));
  track_.segments.push_back({from, av_rescale_q(end, base_, base) - from, bytes.size()});
  pending_ = false;
}

void SoundTrack::cut_first() {
  if (track_.segments.empty() && pending_ && waits_) cut(waiting_.pts);
}

void SoundTrack::finish() {
  if (transcoder_ != nullptr) transcoder_->finish([this](AVPacket& made) { add(made); });
  if (waits_) write(last_ticks_ + waiting_.duration);
  if (pending_) cut(last_ticks_);
}

std::string name_of_sound(const std::string& file, const AVStream& stream) {
  return fmt::format("{}: track {} (audio {})", file, stream.index,
                     avcodec_get_name(stream.codecpar->codec_id));
}

std::string change_of(const SoundTrack& sound, const std::string& what) {
  if (!sound.there()) return what + ": left out, libav cannot make it Opus";
  return sound.transcoded() ? what + ": written as opus, for browsers" : "";
}

void choose_usual(std::vector<PublishedTrack>& tracks) {
  bool marked = false;
  for (PublishedTrack& track : tracks) {
    track.usual = track.usual && !marked;
    marked = marked || track.usual;
  }
  if (!marked && !tracks.empty()) tracks.front().usual = true;
}

}  // namespace cairn::video
