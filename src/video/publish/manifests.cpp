// What players are told: DASH, HLS and the page's own index, of one set of segments.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/html.hpp"
#include "base/utf8.hpp"
#include "video/publish/published.hpp"

namespace cairn::video {
namespace {

// Equal durations in a row: [ticks, how often].
std::vector<std::pair<int64_t, int64_t>> runs(const PublishedTrack& track) {
  std::vector<std::pair<int64_t, int64_t>> runs;
  for (const PublishedSegment& segment : track.segments) {
    if (!runs.empty() && runs.back().first == segment.duration) {
      ++runs.back().second;
    } else {
      runs.emplace_back(segment.duration, 1);
    }
  }
  return runs;
}

std::string dash_template(const PublishedTrack& track) {
  std::string text = fmt::format(
      "        <SegmentTemplate timescale=\"{}\" initialization=\"{}/init.mp4\" media=\"{}/$Number$.m4s\" "
      "startNumber=\"1\">\n          <SegmentTimeline>\n",
      track.timescale, track.folder, track.folder);
  bool first = true;
  for (const auto& [ticks, count] : runs(track)) {
    text += fmt::format("            <S{} d=\"{}\"{}/>\n",
                        first ? fmt::format(" t=\"{}\"", track.segments.front().start) : "", ticks,
                        count > 1 ? fmt::format(" r=\"{}\"", count - 1) : "");
    first = false;
  }
  return text + "          </SegmentTimeline>\n        </SegmentTemplate>\n";
}

// For texts, where names are not UTF-8.
std::string readable(const std::string& text) {
  std::string buffer;
  return std::string(valid_utf8(text, buffer));
}

std::string language_attribute(const std::string& language) {
  return language.empty() ? "" : fmt::format(" lang=\"{}\"", escape_html(readable(language)));
}

// What a quoted string of HLS may not hold.
std::string quoted(std::string text) {
  for (char& c : text) {
    if (c == '"') c = '\'';
    if (static_cast<unsigned char>(c) < 32) c = ' ';
  }
  return '"' + readable(text) + '"';
}

std::string media_line(const char* type, const char* group, const std::string& name,
                       const std::string& language, bool usual, const std::string& uri) {
  return fmt::format("#EXT-X-MEDIA:TYPE={},GROUP-ID=\"{}\",NAME={},{}DEFAULT={},AUTOSELECT=YES,URI=\"{}\"\n",
                     type, group, quoted(name), language.empty() ? "" : "LANGUAGE=" + quoted(language) + ",",
                     usual ? "YES" : "NO", uri);
}

std::string called(const std::string& title, const std::string& language, size_t number) {
  return !title.empty() ? title : !language.empty() ? language : fmt::format("{}", number + 1);
}

nlohmann::ordered_json track_json(const PublishedTrack& track) {
  nlohmann::ordered_json json = {
      {"folder", track.folder},       {"codecs", track.codecs},
      {"bandwidth", track.peak()},    {"bytes", track.bytes()},
      {"timescale", track.timescale}, {"start", track.segments.empty() ? 0 : track.segments.front().start}};
  for (const auto& [ticks, count] : runs(track)) json["segments"].push_back({ticks, count});
  return json;
}

// As RgbConverter has it where the video does not say.
int matrix_of(const Publication& p) {
  return p.colour.matrix == 2 || p.colour.matrix == 0 ? (p.height >= 720 ? 1 : 6) : p.colour.matrix;
}

}  // namespace

double Publication::seconds() const {
  double most = 0;
  for (const PublishedRate& rate : rates) most = std::max(most, rate.track.seconds());
  return most;
}

std::string dash_manifest(const Publication& p) {
  double longest = 1;
  for (const PublishedRate& rate : p.rates) {
    for (const PublishedSegment& segment : rate.track.segments)
      longest = std::max(longest, rate.track.seconds(segment.duration));
  }
  std::string text = fmt::format(
      "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
      "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" "
      "type=\"static\" mediaPresentationDuration=\"PT{:.3f}S\" minBufferTime=\"PT{:.3f}S\">\n"
      "  <ProgramInformation><Title>{}</Title></ProgramInformation>\n"
      "  <Period id=\"0\" start=\"PT0S\">\n"
      "    <AdaptationSet contentType=\"video\" mimeType=\"video/mp4\" startWithSAP=\"1\">\n",
      p.seconds(), longest, escape_html(readable(p.title)));
  for (const PublishedRate& rate : p.rates) {
    const PublishedTrack& t = rate.track;
    text += fmt::format(
        "      <Representation id=\"{}\" codecs=\"{}\" bandwidth=\"{}\" width=\"{}\" height=\"{}\" "
        "frameRate=\"{}/{}\" sar=\"{}:{}\">\n{}      </Representation>\n",
        t.folder, t.codecs, t.peak(), t.width, t.height, t.frame_rate.numerator, t.frame_rate.denominator,
        t.sample_aspect.numerator, t.sample_aspect.denominator, dash_template(t));
  }
  text += "    </AdaptationSet>\n";
  for (const PublishedTrack& t : p.sounds) {
    text += fmt::format(
        "    <AdaptationSet contentType=\"audio\" mimeType=\"audio/mp4\"{} startWithSAP=\"1\">\n"
        "      <Representation id=\"{}\" codecs=\"{}\" bandwidth=\"{}\" audioSamplingRate=\"{}\">\n{}"
        "      </Representation>\n    </AdaptationSet>\n",
        language_attribute(t.language), t.folder, t.codecs, t.peak(), t.samples_a_second, dash_template(t));
  }
  for (const PublishedText& t : p.texts) {
    text += fmt::format(
        "    <AdaptationSet contentType=\"text\" mimeType=\"text/vtt\"{}>\n"
        "      <Representation id=\"{}\" bandwidth=\"256\"><BaseURL>{}</BaseURL></Representation>\n"
        "    </AdaptationSet>\n",
        language_attribute(t.language), t.file.substr(0, t.file.find('.')), t.file);
  }
  return text + "  </Period>\n</MPD>\n";
}

std::string hls_master(const Publication& p) {
  std::string text = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n";
  std::string groups, sound_codecs;
  uint64_t sound_bits = 0;
  for (size_t i = 0; i < p.sounds.size(); ++i) {
    const PublishedTrack& t = p.sounds[i];
    text += media_line("AUDIO", "sound", called(t.title, t.language, i), t.language, t.usual,
                       t.folder + "/list.m3u8");
    sound_bits = std::max(sound_bits, t.peak());
    if (sound_codecs.find(t.codecs) == std::string::npos) sound_codecs += "," + t.codecs;
  }
  if (!p.sounds.empty()) groups += ",AUDIO=\"sound\"";
  for (size_t i = 0; i < p.texts.size(); ++i) {
    const PublishedText& t = p.texts[i];
    text += media_line("SUBTITLES", "text", called(t.title, t.language, i), t.language, t.usual,
                       t.file + ".m3u8");
  }
  if (!p.texts.empty()) groups += ",SUBTITLES=\"text\"";
  for (const PublishedRate& rate : p.rates) {
    const PublishedTrack& t = rate.track;
    text += fmt::format(
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},RESOLUTION={}x{},FRAME-RATE={:.3f},CODECS=\"{}{}"
        "\"{}\n"
        "{}/list.m3u8\n",
        t.peak() + sound_bits, t.average() + sound_bits, t.width, t.height, t.frame_rate.value(), t.codecs,
        sound_codecs, groups, t.folder);
  }
  return text;
}

std::string hls_playlist(const PublishedTrack& track) {
  double longest = 0;
  for (const PublishedSegment& segment : track.segments)
    longest = std::max(longest, track.seconds(segment.duration));
  std::string text = fmt::format(
      "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-PLAYLIST-TYPE:"
      "VOD\n"
      "#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init.mp4\"\n",
      std::max({int64_t{1}, track.target, static_cast<int64_t>(std::ceil(longest - 0.5))}));
  for (size_t i = 0; i < track.segments.size(); ++i)
    text += fmt::format("#EXTINF:{:.6f},\n{}.m4s\n", track.seconds(track.segments[i].duration), i + 1);
  return text + "#EXT-X-ENDLIST\n";
}

std::string hls_text_playlist(const PublishedText& text, double seconds) {
  return fmt::format(
      "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXTINF:{:.3f},\n{}\n"
      "#EXT-X-ENDLIST\n",
      static_cast<int64_t>(std::ceil(seconds)), seconds, text.file);
}

std::string page_index(const Publication& p) {
  nlohmann::ordered_json json = {{"version", 1},
                                 {"title", p.title},
                                 {"width", p.width},
                                 {"height", p.height},
                                 {"aspect", p.sample_aspect.value()},
                                 {"seconds", p.seconds()},
                                 {"matrix", matrix_of(p)},
                                 {"guessed", p.colour.matrix == 2 || p.colour.matrix == 0},
                                 {"full", p.colour.range == 2},
                                 {"siting", p.colour.siting},
                                 {"transfer", p.colour.transfer},
                                 {"bits", p.bits},
                                 {"originalBytes", p.original_bytes}};
  for (const PublishedRate& rate : p.rates) {
    nlohmann::ordered_json one = track_json(rate.track);
    one["width"] = rate.track.width;
    one["height"] = rate.track.height;
    one["scale"] = rate.scale;
    one["levels"] = rate.levels;
    one["networkBytes"] = rate.network_bytes;
    json["rates"].push_back(one);
  }
  json["sounds"] = nlohmann::ordered_json::array();
  for (const PublishedTrack& track : p.sounds) {
    nlohmann::ordered_json one = track_json(track);
    one["label"] = track.title;
    one["language"] = track.language;
    one["usual"] = track.usual;
    json["sounds"].push_back(one);
  }
  json["texts"] = nlohmann::ordered_json::array();
  for (const PublishedText& text : p.texts)
    json["texts"].push_back(
        {{"file", text.file}, {"label", text.title}, {"language", text.language}, {"usual", text.usual}});
  if (!p.original.empty()) json["original"] = track_json(p.original.front());
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace cairn::video
