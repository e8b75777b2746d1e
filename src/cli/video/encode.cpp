#include "video/encode/encode.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "base/output_path.hpp"
#include "base/thread_pool.hpp"
#include "cli/video/status_line.hpp"
#include "cli/video/work.hpp"

namespace cairn::cli {
namespace {

nlohmann::ordered_json to_json(const video::Choice& choice) {
  return {{"mode", video::name(choice.mode)},
          {"crf", choice.crf > 0 ? nlohmann::ordered_json(choice.crf) : nullptr},
          {"downscale", choice.mode <= video::Mode::x1 ? "none"
                        : choice.crf > 0               ? video::name(choice.downscale)
                                                       : "unknown"},
          {"bytes", choice.bytes},
          {"psnr_y", choice.psnr},
          {"advantage_db", choice.advantage},
          {"train_seconds", choice.train_seconds}};
}

void report(const EncodeFlags& flags, const video::EncodeReport& report) {
  const video::Choice& result = report.result;
  if (flags.json) {
    nlohmann::ordered_json json = to_json(result);
    json["bytes"] = {{"video", report.video},
                     {"networks", report.networks},
                     {"labels", report.labels},
                     {"header", report.header},
                     {"total", result.bytes}};
    json["scenes"] = report.scenes;
    json["scene_networks"] = report.scene_networks;
    json["bicubic_psnr_y"] = report.bicubic_psnr;
    for (const video::Choice& choice : report.choices) json["choices"].push_back(to_json(choice));
    json["notes"] = report.notes;
    fmt::print("{}\n", json.dump(2));
    return;
  }
  fmt::print(flags.output == "-" ? stderr : stdout,
             "{}: {}{}: {} bytes ({} video, {} networks, {} labels, {} header), {:.2f} dB\n", flags.output,
             video::name(result.mode), result.crf > 0 ? fmt::format(" at crf {:g}", result.crf) : "",
             result.bytes, report.video, report.networks, report.labels, report.header, result.psnr);
}

}  // namespace

void run_encode(EncodeFlags& flags) {
  video::EncodeOptions& encode = flags.encode;
  const std::vector<std::string> inputs = {flags.input, encode.coded};
  flags.files.check({flags.output}, inputs);
  check_output(encode.checkpoint, inputs, {&flags.output, 1});  // what is there already is gone on from
  encode.mode = video::parse_mode(flags.mode);
  encode.codec = video::parse_codec(flags.codec);
  if (!encode.preset.empty()) video::check_preset(encode.codec, encode.preset);
  encode.network = video::parse_architecture(flags.network);
  // With a mode that is told, what a network gains over the bicubic stays comparable with what others report.
  if (flags.downscale.empty() && flags.mode != "auto") flags.downscale = "bicubic";
  if (!flags.downscale.empty() && flags.downscale != "auto")
    encode.downscale = video::parse_filter(flags.downscale);
  encode.start = flags.start == "random"    ? video::Start::random
                 : flags.start == "general" ? video::Start::general
                                            : video::Start::automatic;
  if (encode.crf && *encode.crf > video::largest_crf(encode.codec)) {
    fail(ErrorCode::invalid_argument, "--crf {:g}: {} takes 1 … {:g}", *encode.crf, flags.codec,
         video::largest_crf(encode.codec));
  }
  encode.jstdo = !flags.no_jstdo;
  if (flags.output == "-" && flags.json)
    fail(ErrorCode::invalid_argument, "--json: standard output is the video's (-o -)");
  if (flags.output == "-" && isatty(STDOUT_FILENO) == 1)
    fail(ErrorCode::invalid_argument, "-o -: standard output is a terminal");
  if (flags.jstdo && encode.chunks > 1)
    fail(ErrorCode::invalid_argument, "--jstdo has one network, --chunks several");
  StatusLine status;
  video::EncodeProgress progress;
  progress.line = [&](const std::string& line) { status.say(line); };
  progress.share = [&](const std::string& what, double share, double left) {
    status.update(what, share, left);
  };
  ThreadPool pool(flags.threads == 0 ? usable_processors() : flags.threads, ThreadPool::Idle::sleep);
  // Beside the output, whoever named them: trainings take minutes, and what is done of them shall not be
  // lost.
  encode.forgiving = encode.checkpoint.empty();
  if (encode.forgiving && flags.output != "-" && !is_special(flags.output))
    encode.checkpoint = flags.output + ".training";
  const video::EncodeReport done = video::encode(flags.input, flags.output, encode, progress, pool);
  report(flags, done);
}

}  // namespace cairn::cli
