#include "video/contents.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "video/attachment.hpp"
#include "video/reader.hpp"
#include "video/source.hpp"

extern "C" {
#include <libavutil/channel_layout.h>
#include <libavutil/mastering_display_metadata.h>
}

namespace cairn::video {
namespace {

constexpr double kLate = 0.05;  // seconds; muxers move starts by less

// How the names of tags begin that tell of a container or a coding.
constexpr std::array<const char*, 13> kTechnical = {
    "encoder",      "duration",  "major_brand", "minor_version", "compatible_brands",
    "handler_name", "vendor_id", "_statistics", "number_of_",    "bps",
    "language",     "filename",  "mimetype"};

class Collector {
 public:
  explicit Collector(const std::string& path)
      : source_(path), info_(Reader(path, {.keep_going = true}).info()) {}

  std::vector<Holding> collect() {
    pictures();
    for (unsigned i = 0; i < source_.file().nb_streams; ++i) stream(*source_.file().streams[i]);
    chapters();
    tags(source_.file().metadata, "");
    return std::move(holdings_);
  }

 private:
  void add(const char* kind, const std::string& text) { holdings_.push_back({kind, text}); }

  void pictures() {
    if (info_.sample_aspect.numerator != info_.sample_aspect.denominator)
      add("picture",
          fmt::format("pixels of {}:{}", info_.sample_aspect.numerator, info_.sample_aspect.denominator));
    if (!info_.orientation.upright()) {
      add("picture",
          fmt::format("{}turned {:g}° clockwise when shown", info_.orientation.mirrored ? "mirrored, " : "",
                      info_.orientation.clockwise));
    }
    if (info_.fields != Fields::progressive)
      add("picture",
          fmt::format("interlaced, {} field first", info_.fields == Fields::top_first ? "top" : "bottom"));
    for (const SideData& data : info_.side_data) {
      AVMasteringDisplayMetadata display{};
      AVContentLightMetadata light{};
      if (data.type == AV_PKT_DATA_MASTERING_DISPLAY_METADATA && data.bytes.size() >= sizeof display) {
        std::memcpy(&display, data.bytes.data(), sizeof display);
        add("picture", fmt::format("mastering display of {:.4f} to {:.0f} cd/m²",
                                   av_q2d(display.min_luminance), av_q2d(display.max_luminance)));
      } else if (data.type == AV_PKT_DATA_CONTENT_LIGHT_LEVEL && data.bytes.size() >= sizeof light) {
        std::memcpy(&light, data.bytes.data(), sizeof light);
        add("picture", fmt::format("MaxCLL {}, MaxFALL {} cd/m²", light.MaxCLL, light.MaxFALL));
      } else if (data.type == AV_PKT_DATA_STEREO3D) {
        add("picture", "stereo");
      } else if (data.type == AV_PKT_DATA_SPHERICAL) {
        add("picture", "a sphere's projection");
      }
    }
  }

  void stream(const AVStream& stream) {
    const AVCodecParameters& p = *stream.codecpar;
    const char* codec = avcodec_get_name(p.codec_id);
    if (is_cover(stream)) {
      add("attachment", fmt::format("cover {}, {} bytes", codec, stream.attached_pic.size));
      return;
    }
    if (p.codec_type == AVMEDIA_TYPE_ATTACHMENT) {
      const std::string name = tag(stream.metadata, "filename");
      if (name != kAttachmentName) add("attachment", fmt::format("{}, {} bytes", name, p.extradata_size));
      return;
    }
    const bool pictures = stream.index == info_.stream;
    const char* kind = av_get_media_type_string(p.codec_type);
    std::string text =
        pictures ? "the pictures'" : fmt::format("{} {}", kind == nullptr ? "unknown" : kind, codec);
    if (p.codec_type == AVMEDIA_TYPE_AUDIO) {
      std::array<char, 64> layout{};
      av_channel_layout_describe(&p.ch_layout, layout.data(), layout.size());
      text += fmt::format(", {} Hz, {}", p.sample_rate, layout.data());
    }
    const std::string language = tag(stream.metadata, "language");
    if (!language.empty() && language != "und") text += ", " + language;
    for (int bit = 1; bit > 0 && bit <= AV_DISPOSITION_STILL_IMAGE; bit *= 2) {
      const char* flag = (stream.disposition & bit) != 0 ? av_disposition_to_string(bit) : nullptr;
      if (flag != nullptr) text += fmt::format(", {}", flag);
    }
    if (stream.start_time != AV_NOPTS_VALUE && p.codec_type != AVMEDIA_TYPE_SUBTITLE) {
      const double late = static_cast<double>(stream.start_time) * av_q2d(stream.time_base) - source_.start();
      if (late > kLate) text += fmt::format(", from {:.1f} s on", late);
    }
    add("track", text);
    tags(stream.metadata,
         pictures ? "the pictures' " : fmt::format("{}'s ", kind == nullptr ? "a track" : kind));
  }

  void chapters() {
    for (unsigned i = 0; i < source_.file().nb_chapters; ++i) {
      const AVChapter& chapter = *source_.file().chapters[i];
      const double at = static_cast<double>(chapter.start) * av_q2d(chapter.time_base) - source_.start();
      add("chapter", fmt::format("{:.2f} s {}", std::max(0.0, at), tag(chapter.metadata, "title")));
    }
  }

  void tags(const AVDictionary* all, const std::string& whose) {
    const AVDictionaryEntry* entry = nullptr;
    while ((entry = av_dict_get(all, "", entry, AV_DICT_IGNORE_SUFFIX)) != nullptr) {
      std::string key = entry->key;
      std::ranges::transform(key, key.begin(),
                             [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (std::ranges::none_of(kTechnical, [&](const char* name) { return key.starts_with(name); }))
        add("tag", fmt::format("{}{} = {}", whose, key, entry->value));
    }
  }

  Source source_;
  VideoInfo info_;
  std::vector<Holding> holdings_;
};

}  // namespace

std::vector<Holding> read_contents(const std::string& path) {
  return Collector(path).collect();
}

std::vector<std::string> differences(const std::string& first, const std::vector<Holding>& of_first,
                                     const std::string& second, const std::vector<Holding>& of_second) {
  std::vector<std::string> lines;
  const auto missing = [&](const std::string& has, const std::vector<Holding>& these,
                           const std::string& lacks, std::vector<Holding> those) {
    for (const Holding& holding : these) {
      const auto found = std::ranges::find(those, holding);
      if (found == those.end()) {
        lines.push_back(
            fmt::format("{} has the {} \"{}\", {} has not", has, holding.kind, holding.text, lacks));
      } else {
        those.erase(found);
      }
    }
  };
  missing(first, of_first, second, of_second);
  missing(second, of_second, first, of_first);
  return lines;
}

}  // namespace cairn::video
