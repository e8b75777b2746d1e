#include "video/live/live_sound.hpp"

namespace cairn::video {

LiveSound::LiveSound(CapturedSound& from, const SoundTrack::Write& write) : from_(from) {
  for (const CapturedSound::Track& track : from.tracks()) {
    auto sound = std::make_unique<SoundTrack>(*track.stream, track.what,
                                              fmt::format("sound{}", tracks_.size()), 0.0, write);
    if (const std::string note = change_of(*sound, track.what); !note.empty()) notes_.push_back(note);
    sources_.emplace_back().track = sound->there() ? sound.get() : nullptr;
    if (sound->there()) tracks_.push_back(std::move(sound));
  }
}

void LiveSound::take() {
  for (Libav<AVPacket>& packet : from_.packets()) {
    Source& source = sources_[static_cast<size_t>(packet->stream_index)];
    if (source.track != nullptr) source.packets.push_back(std::move(packet));
  }
}

void LiveSound::cut(double end) {
  take();
  for (Source& source : sources_) {
    if (source.track == nullptr) continue;
    source.track->cut_at(end);
    for (; !source.packets.empty() && !source.track->is_cut(); source.packets.pop_front())
      source.track->put(*source.packets.front());
    source.track->cut_first();
  }
}

void LiveSound::finish() {
  take();
  for (Source& source : sources_) {
    for (const Libav<AVPacket>& packet : source.packets) source.track->put(*packet);
    source.packets.clear();
    if (source.track != nullptr) source.track->finish();
  }
}

std::vector<PublishedTrack> LiveSound::tracks(int64_t target) const {
  std::vector<PublishedTrack> tracks;
  for (const auto& track : tracks_) {
    if (track->track().segments.empty()) continue;
    tracks.push_back(track->track());
    tracks.back().target = target;
  }
  choose_usual(tracks);
  return tracks;
}

std::vector<std::string> LiveSound::notes() const {
  std::vector<std::string> notes = notes_;
  for (size_t i = 0; i < sources_.size(); ++i) {
    const SoundTrack* const track = sources_[i].track;
    if (track != nullptr && track->failures() > 0)
      notes.push_back(
          fmt::format("{}: {} packets could not be decoded", from_.tracks()[i].what, track->failures()));
  }
  return notes;
}

}  // namespace cairn::video
