// The commands of `cairn video` and their flags. The program has them without libav: it answers help,
// completions and mistakes by itself, and what it was asked for is done by libcairn_video.so, which parses
// the same words again.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/output_flags.hpp"
#include "video/compare.hpp"
#include "video/decode.hpp"
#include "video/encode/encode.hpp"
#include "video/farm/job_list.hpp"
#include "video/live/live.hpp"
#include "video/play/player.hpp"
#include "video/publish/publish.hpp"

namespace cairn::cli {

struct EncodeFlags {
  std::string input, output, mode = "auto", codec = "x265", network = "C8M4", start = "auto", downscale;
  uint32_t threads = 0;
  bool jstdo = false, no_jstdo = false, json = false;
  uint32_t jobs = 0;
  std::string job_list;
  video::PartOptions parts;
  video::EncodeOptions encode;
  OutputFlags files;
};

struct WorkFlags {
  std::string list;
  std::vector<uint64_t> indices;
  uint32_t threads = 0;
};

struct JoinFlags {
  std::string list, output;
  bool json = false;
  OutputFlags files;
};

struct InspectFlags {
  std::string path, attachment;
  bool json = false;
  OutputFlags files;
};

struct DecodeFlags {
  std::string input, output;
  OutputFlags files;
  video::DecodeOptions decode;
};

struct CompareFlags {
  std::string original, coded, html;
  bool json = false;
  OutputFlags files;
  video::CompareOptions compare;
};

struct ExportFlags {
  std::string input, shader, onnx;
  std::optional<uint32_t> network;
  bool chroma = false;
  OutputFlags files;
};

struct PlayFlags {
  std::string input;
  bool report = false;
  video::PlayOptions play;
};

struct PublishFlags {
  std::vector<std::string> inputs, networks;
  std::string output, rates, codec = "av1";
  uint32_t threads = 0;
  bool json = false;
  OutputFlags files;
  video::PublishOptions publish;
};

struct LiveFlags {
  std::string input, output, mode = "x1", codec = "x264", network = "C8M4", rates;
  bool json = false;
  OutputFlags files;
  video::LiveOptions live;
};

// What is called once the words were found right.
struct VideoWork {
  std::function<void(EncodeFlags&)> encode;
  std::function<void(InspectFlags&)> inspect;
  std::function<void(DecodeFlags&)> decode;
  std::function<void(CompareFlags&)> compare;
  std::function<void(PlayFlags&)> play;
  std::function<void(ExportFlags&)> export_networks;
  std::function<void(WorkFlags&)> work;
  std::function<void(JoinFlags&)> join;
  std::function<void(PublishFlags&)> publish;
  std::function<void(LiveFlags&)> live;
};

// Adds `video` with its commands.
void add_video_commands(CLI::App& program, const VideoWork& work);

void add_video_encode(CLI::App& video, const std::function<void(EncodeFlags&)>& work);
void add_video_work(CLI::App& video, const std::function<void(WorkFlags&)>& work);
void add_video_join(CLI::App& video, const std::function<void(JoinFlags&)>& work);
void add_video_publish(CLI::App& video, const std::function<void(PublishFlags&)>& work);
void add_video_live(CLI::App& video, const std::function<void(LiveFlags&)>& work);
// --no-audio and the like.
void add_keep_flags(CLI::App& command, video::Keep& keep, const std::string& leave);

}  // namespace cairn::cli
