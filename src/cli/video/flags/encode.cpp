#include <memory>
#include <vector>

#include "cli/parser/values.hpp"
#include "cli/video/flags/flags.hpp"

namespace cairn::cli {
namespace {

// What --coded leaves nothing to do for.
std::vector<CLI::Option*> add_coder_flags(CLI::App& command, EncodeFlags& flags) {
  std::vector<CLI::Option*> added;
  added.push_back(command.add_option("--codec", flags.codec, "of the small video")
                      ->capture_default_str()
                      ->transform(one_of({"x264", "x265", "av1"})));
  auto* rate = command.add_option_group("rate", "at most one");
  added.push_back(
      rate->add_option("--crf", flags.encode.crf,
                       "constant rate factor of the coded video (usual: x264 24, x265 28, av1 35)")
          ->check(between(1.0, 63.0)));
  added.push_back(rate->add_option("--target-psnr", flags.encode.target_psnr, "luma PSNR to reach, dB")
                      ->check(between(10.0, 80.0)));
  added.push_back(add_size(*rate, "--size", flags.encode.size, "most bytes of the picture"));
  rate->require_option(0, 1);
  added.push_back(
      command
          .add_option(
              "--downscale", flags.downscale,
              "filter that makes the small video: bicubic (usual where a mode is given), lanczos, sharp, "
              "soft; auto: lanczos or sharp, as measured (usual with --mode auto)")
          ->transform(one_of({"auto", "bicubic", "lanczos", "sharp", "soft"})));
  return added;
}

void add_network_flags(CLI::App& command, EncodeFlags& flags) {
  video::EncodeOptions& encode = flags.encode;
  command
      .add_option(
          "--network", flags.network,
          "C8M4: channels and inner layers; T3 after it: neighbouring frames too; ESPCN, EDSR:2, WDSR:4, …")
      ->capture_default_str();
  command.add_option("--weight-bits", encode.weight_bits, "of each weight, 4 … 8")
      ->check(between(4, 8))
      ->capture_default_str();
  command.add_option("--chunks", encode.chunks, "networks, by how hard patches are (STDO)")
      ->check(between(1, 16))
      ->capture_default_str();
  CLI::Option* jstdo =
      command.add_flag("--jstdo", flags.jstdo, "one network is trained on the harder patches (usual)");
  command.add_flag("--no-jstdo", flags.no_jstdo, "it is trained on all patches alike")->excludes(jstdo);
  command
      .add_option("--scenes", encode.scenes,
                  "further networks for scenes, at most, where they pay (0: one network for the clip)")
      ->check(between(0, 200))
      ->capture_default_str();
  command.add_flag("--chroma", encode.chroma, "a small network for chroma as well");
}

void add_training_flags(CLI::App& command, EncodeFlags& flags) {
  video::EncodeOptions& encode = flags.encode;
  command.add_option("--train-minutes", encode.train_minutes, "for each network, instead of --train-steps")
      ->check(between(0.0, 10000.0));
  command.add_option("--train-steps", encode.train_steps, "of eight crops each")
      ->check(between(1, 1000000))
      ->capture_default_str();
  command.add_option(
      "--checkpoint", encode.checkpoint,
      "file that keeps trainings' states, to go on when it was stopped (usual: beside the output)");
}

}  // namespace

void add_video_encode(CLI::App& video, const std::function<void(EncodeFlags&)>& work) {
  auto flags = std::make_shared<EncodeFlags>();
  CLI::App& command = *video.add_subcommand("encode", "encode a video small, with networks overfitted to it");
  command.add_option("INPUT", flags->input, "a video that libav reads")->required();
  command.add_option("-o,--output", flags->output, "the Matroska file to write; -: standard output")
      ->required();
  add_output_flags(command, flags->files);
  command
      .add_option("--mode", flags->mode,
                  "plain; x1: same size, restored; x2, x3, x4: smaller, upscaled; auto: what measures best")
      ->transform(one_of({"auto", "plain", "x1", "x2", "x3", "x4"}))
      ->capture_default_str();
  std::vector<CLI::Option*> of_coder = add_coder_flags(command, *flags);
  CLI::Option* coded =
      command
          .add_option(
              "--coded", flags->encode.coded,
              "the small video, made of the input by another encoder, of its size or a half, a third, a "
              "quarter: taken as it is")
          ->type_name("FILE");
  add_network_flags(command, *flags);
  add_training_flags(command, *flags);
  of_coder.push_back(
      command.add_option("--preset", flags->encode.preset, "of the encoder (usual: slow; av1: 5)"));
  of_coder.push_back(
      command
          .add_option("--key-seconds", flags->encode.key_seconds,
                      "a key frame at least so often, for `publish` (usual: as the encoder does)")
          ->check(between(0.1, 60.0)));
  for (CLI::Option* option : of_coder) coded->excludes(option);
  command
      .add_option(
          "--start", flags->start,
          "random weights; general: those of another video (C8M4 only); auto: general below 1000 steps")
      ->transform(one_of({"auto", "general", "random"}))
      ->capture_default_str();
  command.add_option("--seed", flags->encode.seed, "of the training's random numbers")->capture_default_str();
  command.add_option("--threads", flags->threads, "of the training (0: all processors)")
      ->capture_default_str();
  CLI::Option* jobs =
      command
          .add_option("--jobs", flags->jobs,
                      "encode the video by parts of some seconds, with so many processes; memory does not "
                      "grow with its length, and the bytes are the same for any number")
          ->check(between(1, 256))
          ->type_name("N");
  command
      .add_option("--job-list", flags->job_list,
                  "only write the list of these parts' jobs, for `cairn video work` on any machine")
      ->excludes(jobs)
      ->type_name("FILE");
  for (const char* other : {"--jobs", "--job-list"})
    command.get_option(other)->excludes(coded)->excludes(command.get_option("--checkpoint"));
  command.add_option("--part-seconds", flags->parts.part_seconds, "of the longest part")
      ->check(between(0.5, 600.0))
      ->capture_default_str();
  command
      .add_option("--sample-frames", flags->parts.sample_frames, "on which mode and first network are found")
      ->check(between(4, 100000))
      ->capture_default_str();
  add_keep_flags(command, flags->encode.keep, "leave the input's");
  command.add_flag("--keep-going", flags->encode.keep_going,
                   "pass over what is broken in the input, and count it");
  command.add_flag("--json", flags->json, "the result, and what else was measured, as JSON");
  for (const char* name :
       {"--coded", "--downscale", "--network", "--weight-bits", "--chunks", "--jstdo", "--no-jstdo",
        "--scenes", "--chroma", "--checkpoint", "--start", "--seed", "--part-seconds", "--sample-frames"})
    command.get_option(name)->group(kResearch);
  command.footer(
      "What was done before an interrupt stays in OUTPUT.training…, and the same command goes on from "
      "there.\n"
      "Examples: cairn video encode clip.mp4 -o clip.mkv --codec av1 --crf 41 --train-minutes 1\n"
      "          cairn video encode film.mkv -o small.mkv --jobs 8\n"
      "          cairn video encode film.mkv -o small.mkv --job-list film.jobs");
  command.callback([flags, work] { work(*flags); });
}

}  // namespace cairn::cli
