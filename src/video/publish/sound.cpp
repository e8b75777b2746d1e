#include <memory>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/publish/beside.hpp"
#include "video/publish/sound_track.hpp"
#include "video/source.hpp"

namespace cairn::video {

std::vector<PublishedTrack> publish_sound(const std::string& from, double origin,
                                          const std::vector<double>& cuts, OutputFolder& to,
                                          std::vector<std::string>& notes) {
  Source source(from);
  std::vector<std::unique_ptr<SoundTrack>> sounds(source.file().nb_streams);
  size_t count = 0;
  for (unsigned i = 0; i < source.file().nb_streams; ++i) {
    const AVStream& stream = source.stream(static_cast<int>(i));
    if (stream.codecpar->codec_type != AVMEDIA_TYPE_AUDIO) continue;
    const std::string what = name_of_sound(from, stream);
    auto sound = std::make_unique<SoundTrack>(
        stream, what, fmt::format("sound{}", count), origin,
        [&](const std::string& name, std::span<const std::byte> bytes) { to.write(name, bytes); });
    if (const std::string note = change_of(*sound, what); !note.empty()) notes.push_back(note);
    if (!sound->there()) continue;
    for (const double cut : cuts) sound->cut_at(cut);
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
    if (sound == nullptr) continue;
    sound->finish();
    if (sound->track().segments.empty()) continue;
    if (sound->failures() > 0)
      notes.push_back(fmt::format("{}: {} packets of sound could not be decoded", from, sound->failures()));
    to.write(sound->track().folder + "/list.m3u8", hls_playlist(sound->track()));
    tracks.push_back(sound->track());
  }
  choose_usual(tracks);
  return tracks;
}

}  // namespace cairn::video
