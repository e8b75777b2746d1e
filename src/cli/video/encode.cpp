#include "video/encode/encode.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "base/output_path.hpp"
#include "base/standard_streams.hpp"
#include "base/thread_pool.hpp"
#include "cli/output_flags.hpp"
#include "cli/video/commands.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::string input, output, mode = "auto", codec = "x265", network = "C8M4", start = "auto", downscale;
  double crf = -1, target_psnr = 0;
  CLI::Option *crf_given = nullptr, *psnr_given = nullptr, *size_given = nullptr;
  uint64_t size = 0;
  uint32_t threads = 0;
  std::vector<CLI::Option*> of_coder;  // those that --coded leaves nothing to do for
  bool jstdo = false, no_jstdo = false, no_audio = false, json = false, quiet = false;
  video::EncodeOptions encode;
  OutputFlags files;
};

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

// One line that is drawn over, on a terminal; nothing elsewhere.
class StatusLine {
 public:
  explicit StatusLine(bool quiet) : shown_(!quiet), terminal_(!quiet && isatty(STDERR_FILENO) == 1) {}
  ~StatusLine() { wipe(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  void say(const std::string& line) {
    wipe();
    if (shown_) tell("{}\n", line);
  }
  void update(const std::string& what, double share, double seconds_left) {
    if (!terminal_) return;
    tell("\r\x1b[K{:3.0f} %  {}, {:.0f} s left", 100 * share, what, seconds_left);
    drawn_ = true;
  }

 private:
  void wipe() {
    if (drawn_) write_error("\r\x1b[K");
    drawn_ = false;
  }
  bool shown_, terminal_, drawn_ = false;
};

void report(const Options& options, const video::EncodeReport& report) {
  const video::Choice& result = report.result;
  if (options.json) {
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
    fmt::print("{}\n", json.dump(2));
    return;
  }
  fmt::print("{}: {}{}: {} bytes ({} video, {} networks, {} labels, {} header), {:.2f} dB\n", options.output,
             video::name(result.mode), result.crf > 0 ? fmt::format(" at crf {:g}", result.crf) : "",
             result.bytes, report.video, report.networks, report.labels, report.header, result.psnr);
}

void run(Options& options) {
  video::EncodeOptions& encode = options.encode;
  const std::vector<std::string> inputs = {options.input, encode.coded};
  options.files.check({options.output}, inputs);
  check_output(encode.checkpoint, inputs, {&options.output, 1});  // what is there already is gone on from
  encode.mode = video::parse_mode(options.mode);
  encode.codec = video::parse_codec(options.codec);
  encode.network = video::parse_architecture(options.network);
  encode.audio = !options.no_audio;
  // With a mode that is told, what a network gains over the bicubic stays comparable with what others report.
  if (options.downscale.empty() && options.mode != "auto") options.downscale = "bicubic";
  if (!options.downscale.empty() && options.downscale != "auto")
    encode.downscale = video::parse_filter(options.downscale);
  encode.start = options.start == "random"    ? video::Start::random
                 : options.start == "general" ? video::Start::general
                                              : video::Start::automatic;
  if (options.crf_given->count() > 0) encode.crf = options.crf;
  if (options.psnr_given->count() > 0) encode.target_psnr = options.target_psnr;
  if (options.size_given->count() > 0) encode.size = options.size;
  if (encode.crf && *encode.crf > video::largest_crf(encode.codec)) {
    fail(ErrorCode::invalid_argument, "--crf {:g}: {} takes 1 … {:g}", *encode.crf, options.codec,
         video::largest_crf(encode.codec));
  }
  for (const CLI::Option* option : options.of_coder) {
    if (!encode.coded.empty() && option->count() > 0)
      fail(ErrorCode::invalid_argument, "--coded {}: it is coded already, {} does not go with it",
           encode.coded, option->get_name());
  }
  encode.jstdo = !options.no_jstdo;
  if (options.jstdo && encode.chunks > 1)
    fail(ErrorCode::invalid_argument, "--jstdo has one network, --chunks several");
  StatusLine status(options.quiet);
  video::EncodeProgress progress;
  progress.line = [&](const std::string& line) { status.say(line); };
  progress.share = [&](const std::string& what, double share, double left) {
    status.update(what, share, left);
  };
  ThreadPool pool(options.threads == 0 ? usable_processors() : options.threads, ThreadPool::Idle::sleep);
  // Beside the output, whoever named them: trainings take minutes, and what is done of them shall not be
  // lost.
  encode.forgiving = encode.checkpoint.empty();
  if (encode.forgiving && !is_special(options.output)) encode.checkpoint = options.output + ".training";
  const video::EncodeReport done = video::encode(options.input, options.output, encode, progress, pool);
  report(options, done);
}

}  // namespace

void add_video_encode(CLI::App& video) {
  auto options = std::make_shared<Options>();
  CLI::App& command = *video.add_subcommand("encode", "Encode a video small, with networks overfitted to it");
  command.add_option("input", options->input, "a video that libav reads")->required();
  command.add_option("-o,--output", options->output, "the Matroska file to write")->required();
  add_output_flags(command, options->files);
  command
      .add_option("--mode", options->mode,
                  "plain; x1: same size, restored; x2, x3, x4: smaller, upscaled; auto: what measures best")
      ->capture_default_str();
  options->of_coder.push_back(
      command.add_option("--codec", options->codec, "x264, x265 or av1")->capture_default_str());
  command
      .add_option("--coded", options->encode.coded,
                  "the small video, made of the input by another encoder, of its size or a half, a third, a "
                  "quarter: taken as it is")
      ->type_name("FILE");
  auto* rate = command.add_option_group("rate", "at most one");
  options->crf_given =
      rate->add_option("--crf", options->crf,
                       "constant rate factor of the coded video (usual: x264 24, x265 28, av1 35)")
          ->check(CLI::Range(1.0, 63.0));
  options->psnr_given = rate->add_option("--target-psnr", options->target_psnr, "luma PSNR to reach, dB")
                            ->check(CLI::Range(10.0, 80.0));
  options->size_given = rate->add_option("--size", options->size, "bytes of the picture not to exceed")
                            ->check(CLI::Range(uint64_t{1}, UINT64_MAX));
  rate->require_option(0, 1);
  for (CLI::Option* option : {options->crf_given, options->psnr_given, options->size_given})
    options->of_coder.push_back(option);
  CLI::Option* downscale =
      command
          .add_option(
              "--downscale", options->downscale,
              "filter that makes the small video: bicubic (usual where a mode is told), lanczos, sharp, "
              "soft; auto: lanczos or sharp, as measured (usual with --mode auto)")
          ->type_name("NAME");
  options->of_coder.push_back(downscale);
  command
      .add_option(
          "--network", options->network,
          "C8M4: channels and inner layers; T3 after it: neighbouring frames too; ESPCN, EDSR:2, WDSR:4, …")
      ->capture_default_str();
  command.add_option("--weight-bits", options->encode.weight_bits, "of each weight, 4 … 8")
      ->check(CLI::Range(4, 8))
      ->capture_default_str();
  command.add_option("--chunks", options->encode.chunks, "networks, by how hard patches are (STDO)")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  CLI::Option* jstdo =
      command.add_flag("--jstdo", options->jstdo, "one network is trained on the harder patches (usual)");
  command.add_flag("--no-jstdo", options->no_jstdo, "it is trained on all patches alike")->excludes(jstdo);
  command
      .add_option("--scenes", options->encode.scenes,
                  "further networks for scenes, at most, where they pay (0: one network for the clip)")
      ->check(CLI::Range(0, 200))
      ->capture_default_str();
  command.add_flag("--chroma", options->encode.chroma, "a small network for chroma as well");
  command
      .add_option("--train-minutes", options->encode.train_minutes,
                  "for each network, instead of --train-steps")
      ->check(CLI::Range(0.0, 10000.0));
  command.add_option("--train-steps", options->encode.train_steps, "of eight crops each")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  command.add_option(
      "--checkpoint", options->encode.checkpoint,
      "file that keeps trainings' states, to go on when it was stopped (usual: beside the output)");
  options->of_coder.push_back(
      command.add_option("--preset", options->encode.preset, "of the encoder (usual: slow; av1: 5)"));
  command
      .add_option(
          "--start", options->start,
          "random weights; general: those of another video (C8M4 only); auto: general below 1000 steps")
      ->check(CLI::IsMember({"auto", "general", "random"}))
      ->capture_default_str();
  command.add_option("--seed", options->encode.seed, "of the training's random numbers")
      ->capture_default_str();
  command.add_option("--threads", options->threads, "of the training (0: all processors)")
      ->capture_default_str();
  command.add_flag("--no-audio", options->no_audio, "leave the audio out");
  command.add_flag("--json", options->json, "the result, and what else was measured, as JSON");
  command.add_flag("--quiet", options->quiet, "no progress on standard error");
  command.footer(
      "What was done before an interrupt stays in OUTPUT.training…, and the same command goes on from "
      "there.\nExample: cairn video encode clip.mp4 -o clip.mkv --codec av1 --crf 41 --train-minutes 1");
  command.callback([options] { run(*options); });
}

}  // namespace cairn::cli
