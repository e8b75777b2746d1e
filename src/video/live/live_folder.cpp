#include "video/live/live_folder.hpp"

#include <xxhash.h>

#include <cmath>
#include <ctime>
#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "video/live/live_sound.hpp"
#include "video/publish/fragments.hpp"
#include "video/publish/page.hpp"
#include "video/publish/published.hpp"
#include "video/publish/segment_file.hpp"

namespace cairn::video {
namespace {

namespace fs = std::filesystem;
constexpr const char* kMark = "video.json";
using Manifests = std::vector<std::pair<std::string, std::string>>;  // names and contents

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

std::string utc(std::time_t time) {
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

struct LiveFolder::State {
  fs::path path;
  Publication publication;
  double segment_seconds = 4;
  std::deque<std::optional<Fragmenter>> mp4;  // of each rate
  std::optional<LiveSound> sound;
  std::set<uint64_t> networks;
  std::time_t began = 0;
  // What the manifests are to say when no segment comes any more, by name; for whoever is ended without being
  // asked.
  std::shared_ptr<const Manifests> as_ended;
  std::mutex mutex;  // of as_ended

  void write(const std::string& name, std::span<const std::byte> bytes) const {
    AtomicFile file((path / name).string());
    file.write(bytes);
    file.commit();
  }
  void write(const std::string& name, std::string_view text) const {
    write(name, std::as_bytes(std::span(text)));
  }
  // What of the segment is new at a rate, but for what names it.
  uint64_t add(const LiveSegment& segment, size_t number, const Restoration* restoration);
  Manifests manifests(bool ended) const;
  void write_manifests(bool ended);
};

// A list that grows is an event's; DASH has a clock instead of a length.
Manifests LiveFolder::State::manifests(bool ended) const {
  Manifests made;
  const auto add_list = [&](const PublishedTrack& track) {
    std::string list = hls_playlist(track);
    if (!ended)
      list = replaced(replaced(list, "#EXT-X-ENDLIST\n", ""), "PLAYLIST-TYPE:VOD", "PLAYLIST-TYPE:EVENT");
    made.emplace_back(track.folder + "/list.m3u8", std::move(list));
  };
  for (const PublishedRate& rate : publication.rates) add_list(rate.track);
  for (const PublishedTrack& track : publication.sounds) add_list(track);
  std::string dash = dash_manifest(publication);
  nlohmann::ordered_json index = nlohmann::ordered_json::parse(page_index(publication));
  if (!ended) {
    const size_t from = dash.find("type=\"static\""), to = dash.find(" minBufferTime");
    dash.replace(from, to - from,
                 fmt::format("type=\"dynamic\" availabilityStartTime=\"{}\" publishTime=\"{}\" "
                             "minimumUpdatePeriod=\"PT{:.3f}S\" suggestedPresentationDelay=\"PT{:.3f}S\"",
                             utc(began), utc(std::time(nullptr)), segment_seconds, 3 * segment_seconds));
    index["live"] = true;
  }
  made.emplace_back("manifest.mpd", std::move(dash));
  made.emplace_back("master.m3u8", hls_master(publication));
  made.emplace_back(kMark, index.dump());
  return made;
}

void LiveFolder::State::write_manifests(bool ended) {
  publication.sounds = sound->tracks(publication.rates[0].track.target);
  auto last = std::make_shared<const Manifests>(manifests(true));
  {
    const std::lock_guard lock(mutex);
    as_ended = last;
  }
  for (const auto& [name, text] : ended ? *last : manifests(false)) write(name, text);
}

LiveFolder::LiveFolder(const std::string& path, const std::string& title, const VideoInfo& original,
                       const std::vector<LiveRate>& rates, double segment_seconds, CapturedSound& sound,
                       bool replace)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.path = path;
  s.segment_seconds = segment_seconds;
  s.began = std::time(nullptr);
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_empty(path, error)) {
    if (!fs::is_directory(path, error) || !fs::exists(s.path / kMark, error))
      fail(ErrorCode::invalid_argument, "{}: it is there and no published folder", path);
    if (!replace)
      fail(ErrorCode::invalid_argument, "{}: published before (-y, --force writes over it)", path);
    for (const auto& entry : fs::directory_iterator(s.path, error)) fs::remove_all(entry.path(), error);
  }
  const auto make_folder = [&](const std::string& part) {
    fs::create_directories(s.path / part, error);
    if (error) fail(ErrorCode::io, "{}: cannot be written: {}", (s.path / part).string(), error.message());
  };
  make_folder("networks");
  Publication& p = s.publication;
  p.title = title;
  p.width = original.format.width;
  p.height = original.format.height;
  p.sample_aspect = original.sample_aspect;
  p.colour = original.colour;
  for (const LiveRate& asked : rates) {
    PublishedRate& rate = p.rates.emplace_back();
    rate.scale = asked.scale;
    if (!asked.level.empty()) rate.levels = {asked.level};
    rate.track.folder = std::to_string(p.rates.size() - 1);
    // A segment ends with the first frame after its time.
    rate.track.target = std::max<int64_t>(1, std::llround(segment_seconds + 1 / original.frame_rate.value()));
    make_folder(rate.track.folder);
    s.mp4.emplace_back();
  }
  s.sound.emplace(sound,
                  [&s](const std::string& name, std::span<const std::byte> bytes) { s.write(name, bytes); });
  for (size_t i = 0; i < s.sound->count(); ++i) make_folder(fmt::format("sound{}", i));
  for (const PageFile& file : page_files()) {
    fs::create_directories((s.path / file.path).parent_path(), error);
    s.write(std::string(file.path), file.content);
  }
}
LiveFolder::~LiveFolder() = default;

uint64_t LiveFolder::State::add(const LiveSegment& segment, size_t number, const Restoration* restoration) {
  PublishedRate& rate = publication.rates[number];
  PublishedTrack& track = rate.track;
  std::optional<Fragmenter>& fragments = mp4[number];
  const CodedVideo& coded = segment.rates[number].video;
  const AVCodecParameters& parameters = *coded.parameters;
  const std::string what = path.string();
  const bool first = !fragments;
  if (first) {
    fragments.emplace(parameters, coded.shown, true, what);
    track.codecs = codec_string(parameters, what);
    track.width = static_cast<uint32_t>(parameters.width);
    track.height = static_cast<uint32_t>(parameters.height);
    track.frame_rate = coded.shown.frame_rate;
    track.sample_aspect = coded.shown.sample_aspect;
  }
  for (size_t k = 0; k < coded.packets.size(); ++k) {
    CodedPacket packet = coded.packets[k];
    if (k + 1 < coded.packets.size()) packet.duration = coded.packets[k + 1].dts - packet.dts;
    fragments->write(packet);
  }
  const std::vector<uint8_t> bytes = fragments->cut();
  const AVRational base = fragments->time_base(),
                   from = {static_cast<int>(coded.shown.time_base.numerator),
                           static_cast<int>(coded.shown.time_base.denominator)};
  const auto ticks = [&](int64_t t) { return av_rescale_q(t, from, base); };
  track.timescale = base.den;
  uint64_t beside = 0;
  if (restoration != nullptr) {
    SegmentFile file;
    for (size_t i = 0; i + 1 < segment.stamps.size(); ++i)
      file.durations.push_back(
          static_cast<uint64_t>(ticks(segment.stamps[i + 1]) - ticks(segment.stamps[i])));
    const std::vector<std::byte> network = network_file(*restoration, 0);
    const uint64_t name = XXH64(network.data(), network.size(), 0);
    if (!networks.contains(name)) {
      write(fmt::format("networks/{:016x}.bin", name), network);
      beside += network.size();
    }
    file.levels.push_back(cut_level(*restoration, {name}, 0, file.durations.size()));
    const std::vector<std::byte> told = write_segment_file(file);
    write(fmt::format("{}/{}.cairn", track.folder, segment.number), told);
    beside += told.size();
    networks.insert(name);
    rate.network_bytes += beside;
  }
  if (first) {
    write(track.folder + "/init.mp4", std::as_bytes(std::span(fragments->init())));
    track.init_bytes = fragments->init().size();
  }
  write(fmt::format("{}/{}.m4s", track.folder, segment.number), std::as_bytes(std::span(bytes)));
  const int64_t start = ticks(segment.stamps.front());
  track.segments.push_back({start, ticks(segment.stamps.back()) - start, bytes.size()});
  return beside;
}

std::vector<uint64_t> LiveFolder::add(const LiveSegment& segment,
                                      const std::vector<std::optional<Restoration>>& restorations) {
  State& s = *state_;
  std::vector<uint64_t> beside;
  for (size_t i = 0; i < restorations.size(); ++i)
    beside.push_back(s.add(segment, i, restorations[i] ? &*restorations[i] : nullptr));
  const Rational tick = segment.rates[0].video.shown.time_base;
  s.sound->cut(static_cast<double>(segment.stamps.back()) * tick.value());
  s.write_manifests(false);
  return beside;
}

void LiveFolder::end() {
  State& s = *state_;
  if (s.publication.rates[0].track.segments.empty()) return;
  s.sound->finish();
  s.write_manifests(true);
}

uint64_t LiveFolder::sound_bytes() const {
  uint64_t bytes = 0;
  for (const PublishedTrack& track : state_->publication.sounds) bytes += track.bytes();
  return bytes;
}

std::vector<std::string> LiveFolder::notes() const {
  return state_->sound->notes();
}

void LiveFolder::end_at_once() noexcept {
  State& s = *state_;
  try {
    std::shared_ptr<const Manifests> last;
    {
      const std::lock_guard lock(s.mutex);
      last = s.as_ended;
    }
    if (last == nullptr) return;
    for (const auto& [name, text] : *last) {  // an AtomicFile waits for who calls this
      const std::string part = (s.path / (name + ".part")).string();
      std::ofstream(part, std::ios::binary) << text;
      fs::rename(part, s.path / name);
    }
  } catch (...) {  // what is there plays too
  }
}

}  // namespace cairn::video
