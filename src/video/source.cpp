#include "video/source.hpp"

#include <sys/stat.h>

#include <algorithm>

#include "base/error.hpp"

namespace cairn::video {
namespace {

constexpr AVRational kMicroseconds = {1, AV_TIME_BASE};
// ffmpeg's -dts_delta_threshold, and how far stamps may fall back.
constexpr int64_t kLargestStep = 10 * int64_t{AV_TIME_BASE}, kLargestReturn = AV_TIME_BASE / 10;

void check_readable_again(const std::string& path, const std::string& name) {
  struct stat status {};
  if (path != "-" && (stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)))
    return;
  fail(ErrorCode::invalid_argument, "{}: a pipe: cairn needs a file that can be read again", name);
}

}  // namespace

bool is_cover(const AVStream& stream) {
  return stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
         (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
}

Source::Source(const std::string& path, const std::string& called) {
  av_log_set_level(AV_LOG_FATAL);  // what matters comes back as errors
  const std::string& name = called.empty() ? path : called;
  check_readable_again(path, name);
  AVFormatContext* raw = nullptr;
  int error = avformat_open_input(&raw, file_url(path).c_str(), nullptr, nullptr);
  if (error == AVERROR(ENOENT)) fail(ErrorCode::not_found, "{}: no such file", name);
  if (error == AVERROR_INVALIDDATA || error == AVERROR_EOF)
    fail(ErrorCode::format, "{}: not a video that libav knows ({})", name, libav_reason(error));
  if (error < 0) fail(ErrorCode::io, "{}: {}", name, libav_reason(error));
  file_.reset(raw);
  error = avformat_find_stream_info(raw, nullptr);
  if (error < 0) fail(ErrorCode::format, "{}: {}", name, libav_reason(error));
  jumps_allowed_ = (raw->iformat->flags & AVFMT_TS_DISCONT) != 0;
  if (raw->start_time != AV_NOPTS_VALUE) offset_ = -raw->start_time;
  tracks_.resize(raw->nb_streams);
}

double Source::start() const {
  return file_->start_time == AV_NOPTS_VALUE ? 0 : static_cast<double>(file_->start_time) / AV_TIME_BASE;
}

int Source::video(bool* covers) const {
  const int best = av_find_best_stream(file_.get(), AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  if (best >= 0 && !is_cover(stream(best))) return best;
  int found = -1;
  for (unsigned i = 0; i < file_->nb_streams; ++i) {
    const AVStream& each = *file_->streams[i];
    if (covers != nullptr && is_cover(each)) *covers = true;
    if (found < 0 && each.codecpar->codec_type == AVMEDIA_TYPE_VIDEO && !is_cover(each))
      found = static_cast<int>(i);
  }
  return found;
}

void Source::only(int index) {
  for (unsigned i = 0; i < file_->nb_streams; ++i) {
    // The other tracks tell of jumps too: all who read the file must see the same ones.
    const AVMediaType type = file_->streams[i]->codecpar->codec_type;
    const bool tells = jumps_allowed_ && (type == AVMEDIA_TYPE_VIDEO || type == AVMEDIA_TYPE_AUDIO);
    if (static_cast<int>(i) != index && !tells) file_->streams[i]->discard = AVDISCARD_ALL;
  }
}

int Source::read(AVPacket& packet) {
  const int error = av_read_frame(file_.get(), &packet);
  if (error < 0) return error;
  if (static_cast<unsigned>(packet.stream_index) >= tracks_.size()) tracks_.resize(file_->nb_streams);
  correct(packet);
  return error;
}

bool Source::seek(int index, int64_t pts) {
  if (jumps_allowed_) return false;
  const int64_t own = pts - av_rescale_q(offset_, kMicroseconds, stream(index).time_base);
  if (av_seek_frame(file_.get(), index, own, AVSEEK_FLAG_BACKWARD) < 0) return false;
  tracks_.assign(tracks_.size(), {});
  last_ = AV_NOPTS_VALUE;
  return true;
}

void Source::move(AVPacket& packet, int64_t microseconds) const {
  const int64_t ticks = av_rescale_q(microseconds, kMicroseconds, stream(packet.stream_index).time_base);
  if (packet.pts != AV_NOPTS_VALUE) packet.pts += ticks;
  if (packet.dts != AV_NOPTS_VALUE) packet.dts += ticks;
}

int64_t Source::length(const AVPacket& packet) const {
  const AVStream& from = stream(packet.stream_index);
  if (packet.duration > 0) return av_rescale_q(packet.duration, from.time_base, kMicroseconds);
  const AVCodecParameters& p = *from.codecpar;
  if (p.codec_type == AVMEDIA_TYPE_AUDIO)
    return p.sample_rate > 0 ? av_rescale(p.frame_size, AV_TIME_BASE, p.sample_rate) : 0;
  const AVRational rate = from.avg_frame_rate.num > 0 ? from.avg_frame_rate : from.r_frame_rate;
  return rate.num > 0 ? av_rescale(AV_TIME_BASE, rate.den, rate.num) : 0;
}

void Source::correct(AVPacket& packet) {
  move(packet, offset_);
  const AVStream& from = stream(packet.stream_index);
  const AVMediaType type = from.codecpar->codec_type;
  if (packet.dts == AV_NOPTS_VALUE || is_cover(from) ||
      (type != AVMEDIA_TYPE_VIDEO && type != AVMEDIA_TYPE_AUDIO))
    return;
  Track& track = tracks_[static_cast<size_t>(packet.stream_index)];
  int64_t dts = av_rescale_q(packet.dts, from.time_base, kMicroseconds);
  const bool began = track.next != AV_NOPTS_VALUE;
  const int64_t expected = began ? track.next : last_;
  if (jumps_allowed_ && expected != AV_NOPTS_VALUE) {
    const int64_t delta = dts - expected;
    if (std::abs(delta) > kLargestStep || (began && dts + kLargestReturn < track.last)) {
      jumps_.push_back(
          {static_cast<double>(expected) / AV_TIME_BASE, static_cast<double>(delta) / AV_TIME_BASE});
      offset_ -= delta;
      move(packet, -delta);
      dts -= delta;
    }
  }
  track.last = last_ = dts;
  track.next = dts + length(packet);
}

}  // namespace cairn::video
