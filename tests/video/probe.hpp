// What Debian's ffprobe says of a file, and where two files differ in it.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "video/encode_fixture.hpp"

namespace cairn::video {

using Json = nlohmann::json;

inline double number(const Json& object, const char* key) {
  return object.contains(key) ? std::atof(object[key].get<std::string>().c_str()) : NAN;
}

inline double ratio(const std::string& text) {
  const size_t at = text.find_first_of(":/");
  const double below = at == std::string::npos ? 1 : std::atof(text.c_str() + at + 1);
  return below == 0 ? 0 : std::atof(text.c_str()) / below;
}

struct Probe {
  explicit Probe(const std::string& path) {
    int status = 0;
    const std::string text = output_of(
        "ffprobe -v error -of json -show_format -show_streams -show_chapters -show_packets -show_entries "
        "packet=stream_index,pts_time,duration_time,size '" +
            path + "'",
        status);
    EXPECT_EQ(status, 0) << path;
    all = Json::parse(text, nullptr, false);
    EXPECT_TRUE(all.is_object()) << path << text;
    for (const Json& packet : all["packets"])
      times[packet["stream_index"].get<int>()].push_back(number(packet, "pts_time"));
    for (auto& [stream, list] : times) std::ranges::sort(list);
  }

  // Streams that are no pictures of their own.
  std::vector<Json> streams() const {
    std::vector<Json> out;
    for (const Json& stream : all["streams"]) {
      if (stream["disposition"].value("attached_pic", 0) == 0 &&
          stream.value("codec_type", "") != "attachment")
        out.push_back(stream);
    }
    return out;
  }
  Json first(const std::string& type) const {
    for (const Json& stream : streams()) {
      if (stream.value("codec_type", "") == type) return stream;
    }
    ADD_FAILURE() << "no " << type;
    return Json::object();
  }
  std::vector<double> frames() const { return times.at(first("video")["index"].get<int>()); }
  double duration() const { return number(all["format"], "duration"); }

  Json all;
  std::map<int, std::vector<double>> times;  // seconds, by stream
};

// Tags but those that a muxer or a coder makes of its own.
inline std::map<std::string, std::string> tags_of(const Json& object) {
  std::map<std::string, std::string> tags;
  if (!object.contains("tags")) return tags;
  for (const auto& [name, value] : object["tags"].items()) {
    std::string key = name;
    std::ranges::transform(key, key.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (key != "encoder" && key != "duration" && key != "creation_time") tags[key] = value.get<std::string>();
  }
  return tags;
}

struct Tolerance {
  double time = 0.0021;     // seconds: two roundings to Matroska's milliseconds
  double duration = 0.045;  // a frame of 25 a second
};

// A line for each difference of a file from what ffmpeg made of the same input.
inline std::vector<std::string> unlike(const Probe& file, const Probe& reference,
                                       const Tolerance& tolerance = {}) {
  std::vector<std::string> lines;
  const auto check = [&](bool same, const std::string& what, const auto& got, const auto& wanted) {
    if (!same) lines.push_back(fmt::format("{}: {} instead of {}", what, got, wanted));
  };
  const std::vector<Json> ours = file.streams(), theirs = reference.streams();
  check(ours.size() == theirs.size(), "streams", ours.size(), theirs.size());
  if (ours.size() != theirs.size()) return lines;
  int videos = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const Json &a = ours[i], &b = theirs[i];
    const std::string type = b["codec_type"], what = fmt::format("stream {} ({})", i, type);
    check(a["codec_type"] == type, what + " type", a["codec_type"].dump(), type);
    if (type != "video" || videos++ != 0)  // the first is coded anew
      check(a["codec_name"] == b["codec_name"], what + " codec", a["codec_name"].dump(),
            b["codec_name"].dump());
    check(a["disposition"] == b["disposition"], what + " flags", a["disposition"].dump(),
          b["disposition"].dump());
    check(tags_of(a) == tags_of(b), what + " tags", Json(tags_of(a)).dump(), Json(tags_of(b)).dump());
    for (const char* key : {"channels", "sample_rate", "channel_layout"}) {
      const auto field = [&](const Json& stream) { return stream.value(key, Json()); };
      if (type == "audio") check(field(a) == field(b), what + " " + key, field(a).dump(), field(b).dump());
    }
    const auto none = std::vector<double>();
    const auto times_of = [&](const Probe& probe, const Json& stream) {
      const auto found = probe.times.find(stream["index"].get<int>());
      return found == probe.times.end() ? none : found->second;
    };
    // Of subtitles ffprobe has a start only where it came to one while it looked for parameters, of pictures
    // whose times jump ffprobe 7 takes a later one: their packets' times are compared below.
    const double start = number(a, "start_time"), start_wanted = number(b, "start_time");
    const bool unknown = type == "subtitle" || std::isnan(start_wanted) ||
                         (type == "video" && !times_of(file, a).empty() && times_of(file, a).front() < start);
    check(unknown || std::abs(start - start_wanted) <= tolerance.time, what + " start", start, start_wanted);
    const std::vector<double> got = times_of(file, a), wanted = times_of(reference, b);
    check(got.size() == wanted.size(), what + " packets", got.size(), wanted.size());
    double most = 0;
    for (size_t k = 0; k < std::min(got.size(), wanted.size()); ++k)
      most = std::max(most, std::abs(got[k] - wanted[k]));
    check(most <= tolerance.time, what + " times", most, 0.0);
    if (type != "video") continue;
    check(std::abs(ratio(a["avg_frame_rate"]) / ratio(b["avg_frame_rate"]) - 1) < 1e-3, what + " rate",
          a["avg_frame_rate"].dump(), b["avg_frame_rate"].dump());
    const auto shape = [](const Json& s) { return ratio(s.value("sample_aspect_ratio", "1:1")); };
    // Matroska counts the shown width in whole pixels.
    check(std::abs(shape(a) - shape(b)) * a["width"].get<double>() <= 1, what + " pixels' shape", shape(a),
          shape(b));
    for (const char* key : {"color_space", "color_primaries", "color_transfer"}) {
      const std::string colour = a.value(key, "unknown"), wanted_colour = b.value(key, "unknown");
      // Of RGB, ffmpeg does not say by which matrix it made Y'CbCr.
      check(wanted_colour == "unknown" || colour == wanted_colour, what + " " + key, colour, wanted_colour);
    }
  }
  const Json &chapters = file.all["chapters"], &wanted = reference.all["chapters"];
  check(chapters.size() == wanted.size(), "chapters", chapters.size(), wanted.size());
  for (size_t i = 0; i < std::min(chapters.size(), wanted.size()); ++i) {
    const std::string what = fmt::format("chapter {}", i);
    check(std::abs(number(chapters[i], "start_time") - number(wanted[i], "start_time")) <= tolerance.time,
          what + " start", number(chapters[i], "start_time"), number(wanted[i], "start_time"));
    check(tags_of(chapters[i]) == tags_of(wanted[i]), what + " tags", Json(tags_of(chapters[i])).dump(),
          Json(tags_of(wanted[i])).dump());
  }
  check(tags_of(file.all["format"]) == tags_of(reference.all["format"]), "tags",
        Json(tags_of(file.all["format"])).dump(), Json(tags_of(reference.all["format"])).dump());
  check(std::abs(file.duration() - reference.duration()) <= tolerance.duration, "duration", file.duration(),
        reference.duration());
  return lines;
}

}  // namespace cairn::video
