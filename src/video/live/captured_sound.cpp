#include "video/live/captured_sound.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "video/publish/sound_track.hpp"

namespace cairn::video {
namespace {

constexpr double kAhead = 2, kBehind = 1;  // seconds that sound comes before its pictures, and after
constexpr double kLongestHeld = 30;        // seconds
constexpr size_t kMostHeld = 1 << 16;      // packets, before the first picture

}  // namespace

bool CapturedSound::Run::near(double stamp) const {
  return stamp >= first - kBehind && stamp <= last + kAhead;
}

void CapturedSound::add(const AVStream& stream, const std::string& input) {
  tracks_.push_back({&stream, name_of_sound(input, stream)});
  states_.emplace_back();
}

void CapturedSound::take(AVPacket& packet) {
  const auto track =
      std::ranges::find(tracks_, packet.stream_index, [](const Track& t) { return t.stream->index; });
  if (track == tracks_.end() || packet.pts == AV_NOPTS_VALUE) return;
  Held held{Libav<AVPacket>(av_packet_alloc()), now_ ? now_->last + now_->shift : 0};
  if (held.packet == nullptr) fail(ErrorCode::out_of_memory, "{}: no memory for a packet", track->what);
  av_packet_move_ref(held.packet.get(), &packet);
  held.packet->stream_index = static_cast<int>(track - tracks_.begin());
  if (!place(*held.packet)) {
    if (held_.size() < kMostHeld) held_.push_back(std::move(held));
  }
}

// Whether its pictures are known: then it is ready, or dropped.
bool CapturedSound::place(AVPacket& packet) {
  State& state = states_[static_cast<size_t>(packet.stream_index)];
  const AVRational base = tracks_[static_cast<size_t>(packet.stream_index)].stream->time_base;
  const double stamp = static_cast<double>(packet.pts) * av_q2d(base);
  const bool in_now = now_ && now_->near(stamp);
  if (!in_now && (state.in_now || !before_ || !before_->near(stamp))) return false;
  state.in_now = state.in_now || in_now;
  const double shift = in_now ? now_->shift : before_->shift;
  if (stamp + shift <= state.last) return true;
  state.last = stamp + shift;
  const int64_t ticks = std::llround(shift / av_q2d(base));
  packet.pts += ticks;
  packet.dts = packet.pts;
  Libav<AVPacket> ready(av_packet_alloc());
  if (ready == nullptr) fail(ErrorCode::out_of_memory, "no memory for a packet");
  av_packet_move_ref(ready.get(), &packet);
  const std::lock_guard lock(mutex_);
  ready_.push_back(std::move(ready));
  return true;
}

void CapturedSound::picture(double in, double now, bool jumped) {
  if (tracks_.empty()) return;
  if (jumped || !now_) {
    before_ = now_;
    now_ = Run{in, in, now - in};
    for (State& state : states_) state.in_now = false;
  }
  now_->last = std::max(now_->last, in);
  now_->shift = now - in;
  std::erase_if(held_, [&](Held& held) { return place(*held.packet) || now - held.since > kLongestHeld; });
}

std::vector<Libav<AVPacket>> CapturedSound::packets() {
  const std::lock_guard lock(mutex_);
  return std::exchange(ready_, {});
}

}  // namespace cairn::video
