#include "video/compare.hpp"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/atomic_file.hpp"
#include "base/progress.hpp"
#include "cli/output_flags.hpp"
#include "cli/video/commands.hpp"

namespace cairn::cli {
namespace {

struct Options {
  std::string original, coded, html;
  bool json = false;
  OutputFlags files;
  video::CompareOptions compare;
};

nlohmann::ordered_json to_json(const video::Scores& s) {
  nlohmann::ordered_json json = {
      {"psnr_y", s.psnr_y}, {"psnr_rgb", s.psnr_rgb}, {"ssim_y", s.ssim_y}, {"ms_ssim_y", s.ms_ssim_y}};
  if (s.vmaf) json["vmaf"] = *s.vmaf;
  return json;
}

nlohmann::ordered_json to_json(const video::Comparison& c) {
  nlohmann::ordered_json json = {
      {"frames", c.frames}, {"width", c.format.width}, {"height", c.format.height}, {"bits", c.format.bits},
      {"scale", c.scale},   {"codec", c.codec},        {"networks", c.networks}};
  json["bytes"] = {{"video", c.bytes.video},           {"networks", c.bytes.networks},
                   {"labels", c.bytes.labels},         {"header", c.bytes.header},
                   {"total", c.bytes.picture()},       {"audio", c.bytes.audio},
                   {"container", c.bytes.container()}, {"file", c.bytes.file}};
  json.update(to_json(c.restored));
  json["lanczos"] = to_json(c.lanczos);
  return json;
}

void print(const video::Comparison& c) {
  fmt::print(
      "{} frames of {}×{}; {} at 1/{} of the size: {} bytes ({} video, {} networks, {} labels, {} header)\n",
      c.frames, c.format.width, c.format.height, c.codec, c.scale, c.bytes.picture(), c.bytes.video,
      c.bytes.networks, c.bytes.labels, c.bytes.header);
  fmt::print("{:10}{:>10}{:>10}{:>10}{:>11}\n", "", "PSNR-Y", "PSNR-RGB", "SSIM-Y", "MS-SSIM-Y");
  for (const auto& [label, s] :
       {std::pair<const char*, const video::Scores&>{"cairn", c.restored}, {"lanczos", c.lanczos}}) {
    fmt::print("{:10}{:>10.3f}{:>10.3f}{:>10.4f}{:>11.4f}\n", label, s.psnr_y, s.psnr_rgb, s.ssim_y,
               s.ms_ssim_y);
    if (s.vmaf) fmt::print("{:10}VMAF {:.2f}\n", "", *s.vmaf);
  }
  if (!c.no_vmaf.empty()) fmt::print("no VMAF: {}\n", c.no_vmaf);
}

void run(Options& options) {
  options.files.check({options.html}, {options.original, options.coded});
  options.compare.crops = !options.html.empty();
  video::Comparison comparison;
  {
    Progress bar("comparing", 0, "frames");
    uint64_t total = 0;
    comparison =
        video::compare(options.original, options.coded, options.compare, [&](uint64_t done, uint64_t of) {
          if (total != of) bar.restart(0, total = of);
          bar.update(done);
        });
  }
  if (!options.html.empty()) {
    AtomicFile file(options.html);
    file.write(video::comparison_html(comparison, options.coded));
    file.commit();
  }
  if (options.json) {
    fmt::print("{}\n", to_json(comparison).dump(2));
  } else {
    print(comparison);
  }
}

}  // namespace

void add_video_compare(CLI::App& video) {
  auto options = std::make_shared<Options>();
  CLI::App& command =
      *video.add_subcommand("compare", "Measure a cairn video against its original, and against Lanczos");
  command.add_option("original", options->original, "what was encoded")->required();
  command.add_option("coded", options->coded, "what cairn video encode made of it")->required();
  command.add_flag("--json", options->json, "the figures as JSON");
  command.add_option("--html", options->html, "write a page with plots, a heat map and crops");
  add_output_flags(command, options->files);
  command.add_option("--frames", options->compare.frames, "the first so many only (0: all)")
      ->capture_default_str();
  command.add_option("--threads", options->compare.restore.threads, "0: all processors")
      ->capture_default_str();
  command.add_flag("--float", options->compare.restore.floats, "run the networks in floats: slow");
  command.footer("Example: cairn video compare clip.mp4 clip.mkv --html clip.html");
  command.callback([options] { run(*options); });
}

}  // namespace cairn::cli
