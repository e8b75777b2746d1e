#include "video/farm/job_list.hpp"

#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/utf8.hpp"

namespace cairn::video {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kKind = "cairn video jobs";
constexpr int kVersion = 1;
constexpr uint64_t kChecked = 1u << 20;  // bytes at each end

// A name that is not UTF-8 is an object with its bytes in hexadecimal.
Json name_to_json(const std::string& name) {
  if (is_utf8(name)) return name;
  return {{"bytes", to_hex(std::as_bytes(std::span(name)))}};
}

std::string to_name(const Json& json, const std::string& what) {
  if (json.is_string()) return json;
  const std::vector<std::byte> bytes = from_hex(json.at("bytes").get<std::string>(), what);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Json to_json(const EncodeOptions& o) {
  Json json = {{"mode", name(o.mode)},
               {"codec", name(o.codec)},
               {"crf", o.crf ? Json(*o.crf) : Json()},
               {"target_psnr", o.target_psnr ? Json(*o.target_psnr) : Json()},
               {"downscale", o.downscale ? Json(name(*o.downscale)) : Json()},
               {"network", o.network.name()},
               {"weight_bits", o.weight_bits},
               {"jstdo", o.jstdo},
               {"scenes", o.scenes},
               {"chroma", o.chroma},
               {"train_steps", o.train_steps},
               {"seed", o.seed},
               {"start", static_cast<int>(o.start)},
               {"preset", o.preset},
               {"key_seconds", o.key_seconds},
               {"keep_going", o.keep_going}};
  json["keep"] = {{"audio", o.keep.audio},
                  {"subtitles", o.keep.subtitles},
                  {"chapters", o.keep.chapters},
                  {"attachments", o.keep.attachments},
                  {"tags", o.keep.tags}};
  return json;
}

EncodeOptions to_options(const Json& json) {
  EncodeOptions o;
  o.mode = parse_mode(json.at("mode").get<std::string>());
  o.codec = parse_codec(json.at("codec").get<std::string>());
  if (!json.at("crf").is_null()) o.crf = json.at("crf").get<double>();
  if (!json.at("target_psnr").is_null()) o.target_psnr = json.at("target_psnr").get<double>();
  if (!json.at("downscale").is_null()) o.downscale = parse_filter(json.at("downscale").get<std::string>());
  o.network = parse_architecture(json.at("network").get<std::string>());
  o.weight_bits = json.at("weight_bits");
  o.jstdo = json.at("jstdo");
  o.scenes = json.at("scenes");
  o.chroma = json.at("chroma");
  o.train_steps = json.at("train_steps");
  o.seed = json.at("seed");
  o.start = static_cast<Start>(std::clamp(json.at("start").get<int>(), 0, 2));
  o.preset = json.at("preset");
  o.key_seconds = json.at("key_seconds");
  o.keep_going = json.at("keep_going");
  const Json& keep = json.at("keep");
  o.keep = {keep.at("audio"), keep.at("subtitles"), keep.at("chapters"), keep.at("attachments"),
            keep.at("tags")};
  return o;
}

Json to_json(const std::vector<TimedRange>& parts) {
  Json json = Json::array();
  for (const TimedRange& part : parts)
    json.push_back({{"first", part.first}, {"end", part.end}, {"stamp", part.pts}});
  return json;
}

}  // namespace

std::string to_hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

std::vector<std::byte> from_hex(const std::string& text, const std::string& what) {
  const auto digit = [&](char c) {
    const size_t value = std::string_view("0123456789abcdef").find(c);
    if (value == std::string_view::npos) fail(ErrorCode::format, "{}: '{}' is no hexadecimal digit", what, c);
    return static_cast<unsigned>(value);
  };
  if (text.size() % 2 != 0) fail(ErrorCode::format, "{}: half a byte is missing", what);
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < text.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(digit(text[i]) << 4 | digit(text[i + 1])));
  return bytes;
}

uint64_t file_check(const std::string& path, uint64_t& bytes) {
  std::error_code error;
  bytes = std::filesystem::file_size(path, error);
  if (error) fail(ErrorCode::not_found, "{}: {}", path, error.message());
  std::ifstream file(path, std::ios::binary);
  std::string text(std::min(bytes, kChecked), '\0');
  uint64_t check = bytes;
  for (const uint64_t at : {uint64_t{0}, bytes - text.size()}) {
    file.seekg(static_cast<std::streamoff>(at));
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (!file) fail(ErrorCode::io, "{}: cannot be read", path);
    check = XXH3_64bits_withSeed(text.data(), text.size(), check);
  }
  return check;
}

Json asked_of(const std::string& input, const EncodeOptions& options, const PartOptions& parts) {
  const auto refuse = [&](bool given, const char* flag, const char* instead) {
    if (given) fail(ErrorCode::invalid_argument, "{}: not done by parts: {}", flag, instead);
  };
  refuse(options.size.has_value(), "--size", "give --crf or --target-psnr");
  refuse(!options.coded.empty(), "--coded", "leave out --jobs and --job-list");
  refuse(options.chunks > 1, "--chunks", "leave it out, or --jobs and --job-list");
  refuse(options.train_minutes > 0, "--train-minutes", "give --train-steps, which are the same everywhere");
  uint64_t bytes = 0;
  const uint64_t check = file_check(input, bytes);
  Json json = to_json(options);
  json["part_seconds"] = parts.part_seconds;
  json["sample_frames"] = parts.sample_frames;
  json["input_bytes"] = bytes;
  json["input_check"] = check;
  return json;
}

std::vector<FrameRange> cut_parts(const std::vector<uint64_t>& scenes, uint64_t frames, uint64_t most) {
  std::vector<FrameRange> parts;
  for (size_t s = 0; s < scenes.size(); ++s) {
    const uint64_t first = scenes[s], end = s + 1 < scenes.size() ? scenes[s + 1] : frames,
                   pieces = (end - first + most - 1) / most;
    for (uint64_t p = 0; p < pieces; ++p) {
      const FrameRange piece = {first + (end - first) * p / pieces, first + (end - first) * (p + 1) / pieces};
      if (!parts.empty() && pieces == 1 && piece.end - parts.back().first <= most) {
        parts.back().end = piece.end;
      } else {
        parts.push_back(piece);
      }
    }
  }
  return parts;
}

void write_job_list(const JobList& list, const std::string& path) {
  const Json json = {{"kind", kKind},
                     {"version", kVersion},
                     {"input", name_to_json(list.input)},
                     {"input_bytes", list.input_bytes},
                     {"input_check", list.input_check},
                     {"output", name_to_json(list.output)},
                     {"options", to_json(list.options)},
                     {"slope", list.slope},
                     {"attachment", to_hex(list.attachment)},
                     {"parts", to_json(list.parts)},
                     {"asked", list.asked}};
  AtomicFile file(path);
  file.write(json.dump(1) + "\n");
  file.commit();
}

JobList read_job_list(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::not_found, "{}: no such list of jobs", path);
  std::stringstream text;
  text << file.rdbuf();
  JobList list;
  try {
    const Json json = Json::parse(text.str());
    if (json.at("kind") != kKind) fail(ErrorCode::format, "{}: not a list of `cairn video` jobs", path);
    if (json.at("version") != kVersion)
      fail(ErrorCode::unsupported, "{}: version {} of a list of jobs; this cairn knows {}", path,
           json.at("version").dump(), kVersion);
    list.input = to_name(json.at("input"), path + ": the input's name");
    list.input_bytes = json.at("input_bytes");
    list.input_check = json.at("input_check");
    list.output = to_name(json.at("output"), path + ": the output's name");
    list.options = to_options(json.at("options"));
    if (!list.options.crf || !list.options.downscale)
      fail(ErrorCode::format, "{}: its options have no crf or no downscale", path);
    list.slope = json.at("slope");
    list.attachment = from_hex(json.at("attachment").get<std::string>(), path + ": the attachment");
    uint64_t end = 0;
    for (const Json& part : json.at("parts")) {
      const TimedRange range = {part.at("first"), part.at("end"), part.at("stamp")};
      if (range.first != end || range.end <= range.first)
        fail(ErrorCode::format, "{}: part {} does not begin where the one before it ends", path,
             list.parts.size());
      end = range.end;
      list.parts.push_back(range);
    }
    list.asked = json.at("asked");
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::format, "{}: not a list of `cairn video` jobs: {}", path, error.what());
  }
  if (list.parts.empty()) fail(ErrorCode::format, "{}: a list of no jobs", path);
  return list;
}

std::optional<JobList> job_list_of(const std::string& path, const nlohmann::ordered_json& asked) {
  try {
    JobList list = read_job_list(path);
    if (list.asked == asked) return list;
  } catch (const Error&) {
  }
  return std::nullopt;
}

}  // namespace cairn::video
