#include "video/publish/publish.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/error.hpp"
#include "video/packets.hpp"
#include "video/publish/beside.hpp"
#include "video/publish/inputs.hpp"
#include "video/publish/page.hpp"
#include "video/publish/published.hpp"
#include "video/publish/rate.hpp"

namespace cairn::video {
namespace {

constexpr const char* kIndex = "video.json";
constexpr double kOriginalCrf = 10;  // of an original that browsers do not play as it is

void say(const EncodeProgress& progress, const std::string& line) {
  if (progress.line) progress.line(line);
}

// Encodes a plain source at each rate, with each network; returns the files.
std::vector<std::string> encode_rates(const std::string& source, const PublishOptions& options, OutputFolder& to,
                                      const EncodeProgress& progress, ThreadPool& pool) {
  std::vector<RateRequest> rates = options.rates;
  const bool av1 = options.encode.codec == Codec::av1;
  if (rates.empty()) rates = {{Mode::x2, av1 ? 50.0 : 36.0}, {Mode::x1, av1 ? 48.0 : 34.0}, {Mode::x1, av1 ? 38.0 : 26.0}};
  std::vector<std::string> files;
  for (const RateRequest& rate : rates) {
    EncodeOptions encode = options.encode;
    encode.mode = rate.mode;
    encode.crf = rate.crf;
    encode.downscale = Filter::lanczos;
    encode.key_seconds = options.segment_seconds;
    encode.keep = {false, false, false, false, false};
    std::string first;
    for (const std::string& network : options.networks) {
      encode.network = parse_architecture(network);
      files.push_back(to.scratch(fmt::format("{}.mkv", files.size())));
      encode.checkpoint = files.back() + ".training";
      encode.coded = first;
      say(progress, fmt::format("{} at crf {:g} with {}", name(rate.mode), rate.crf, network));
      video::encode(source, files.back(), encode, progress, pool);
      if (rate.mode == Mode::plain) break;
      if (first.empty()) first = files.back();
    }
  }
  return files;
}

// The original's pictures as browsers play them.
CodedVideo playable(const std::string& path, std::vector<std::string>& notes) {
  CodedVideo coded = read_packets(path);
  const std::string why = why_not_played(coded);
  if (why.empty() && coded.packets.size() > 1) return coded;
  notes.push_back(fmt::format("{}: {}: shown beside as H.264 at crf {:g}", path, why, kOriginalCrf));
  RestoredReader reader(path, {}, {}, true);
  VideoInfo info = reader.info();
  if (info.format.bits != 8 || info.format.chroma != Chroma::c420)
    fail(ErrorCode::unsupported, "{}: as an original to show beside, pictures are {} (yuv420p wanted)", path,
         info.format.pixel_format());
  CoderOptions options{Codec::x264, kOriginalCrf, "veryfast", 0};
  options.key_seconds = 2;
  Coder coder(info.format, info, options);
  Frame frame;
  while (reader.read(frame)) coder.write(frame);
  return coder.finish();
}

std::string title_of(const std::string& path) {
  return std::filesystem::path(path).stem().string();
}

}  // namespace

std::vector<RateRequest> parse_rates(const std::string& text) {
  std::vector<RateRequest> rates;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    std::string one = text.substr(at, end - at);
    RateRequest rate;
    if (const size_t colon = one.find(':'); colon != std::string::npos) {
      rate.mode = parse_mode(one.substr(0, colon));
      one = one.substr(colon + 1);
    }
    const auto [stop, error] = std::from_chars(one.data(), one.data() + one.size(), rate.crf);
    if (error != std::errc() || stop != one.data() + one.size() || !(rate.crf >= 1 && rate.crf <= 63) ||
        rate.mode == Mode::automatic) {
      fail(ErrorCode::invalid_argument, "--rates: '{}' is no rate: a crf (1 … 63), or a mode before it: x2:40",
           text.substr(at, end - at));
    }
    rates.push_back(rate);
    at = end + 1;
  }
  return rates;
}

PublishReport publish(const std::vector<std::string>& inputs, const std::string& folder,
                      const PublishOptions& options, const EncodeProgress& progress, ThreadPool& pool) {
  PublishReport report;
  const bool source = inputs.size() == 1 && !read_cairn_file(inputs.front()).restoration;
  if (!source && !options.rates.empty())
    fail(ErrorCode::invalid_argument, "--rates: {} is published as it is", inputs.front());
  OutputFolder to(folder, kIndex, options.replace);
  Publication p;
  const Inputs read = read_inputs(source ? encode_rates(inputs.front(), options, to, progress, pool) : inputs);
  p.title = options.title.empty() ? title_of(inputs.front()) : options.title;
  p.width = read.width;
  p.height = read.height;
  p.colour = read.info.colour;
  p.sample_aspect = read.info.sample_aspect;
  p.bits = read.info.format.bits;
  for (size_t i = 0; i < read.rates.size(); ++i) {
    p.rates.push_back(publish_rate(read.rates[i], fmt::format("{}", i), options.segment_seconds, to));
    report.video += p.rates.back().track.bytes();
    report.networks += p.rates.back().network_bytes;
    report.segments += p.rates.back().track.segments.size();
  }
  const std::string& beside = inputs.front();
  const double origin = first_picture(beside);
  if (options.audio) {
    const PublishedTrack& track = p.rates.front().track;
    std::vector<double> cuts;
    for (size_t i = 1; i < track.segments.size(); ++i) cuts.push_back(track.seconds(track.segments[i].start));
    p.sounds = publish_sound(beside, origin, cuts, to, report.notes);
  }
  if (options.subtitles) p.texts = publish_texts(beside, origin, p.seconds(), to, report.notes);
  if (!options.original.empty()) {
    p.original.push_back(publish_pictures(playable(options.original, report.notes), options.original, "original",
                                          options.segment_seconds, to));
    report.original = p.original.front().bytes();
  }
  if (source || !options.original.empty())
    p.original_bytes = count_bytes(options.original.empty() ? inputs.front() : options.original).video;
  for (const PageFile& file : page_files()) to.write(std::string(file.path), file.content);
  to.write("manifest.mpd", dash_manifest(p));
  to.write("master.m3u8", hls_master(p));
  to.write(kIndex, page_index(p));
  to.keep();
  report.rates = p.rates.size();
  report.seconds = p.seconds();
  report.all = to.bytes();
  return report;
}

}  // namespace cairn::video
