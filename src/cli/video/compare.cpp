#include "video/compare.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/atomic_file.hpp"
#include "base/progress.hpp"
#include "base/standard_streams.hpp"
#include "cli/json_text.hpp"
#include "cli/video/work.hpp"

namespace cairn::cli {
namespace {

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
  json["bytes"] = {{"video", c.bytes.video},   {"networks", c.bytes.networks},     {"labels", c.bytes.labels},
                   {"header", c.bytes.header}, {"total", c.bytes.picture()},       {"audio", c.bytes.audio},
                   {"other", c.bytes.other},   {"container", c.bytes.container()}, {"file", c.bytes.file}};
  json.update(to_json(c.restored));
  json["lanczos"] = to_json(c.lanczos);
  json["warnings"] = c.warnings;
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

}  // namespace

void run_compare(CompareFlags& flags) {
  flags.files.check({flags.html}, {flags.original, flags.coded});
  flags.compare.crops = !flags.html.empty();
  std::optional<AtomicFile> html;  // what cannot be written is told before the work
  if (!flags.html.empty()) html.emplace(flags.html);
  video::Comparison comparison;
  {
    Progress bar("comparing", 0, "frames");
    uint64_t total = 0;
    comparison = video::compare(flags.original, flags.coded, flags.compare, [&](uint64_t done, uint64_t of) {
      if (total != of) bar.restart(0, total = of);
      bar.update(done);
    });
  }
  if (html) {
    html->write(video::comparison_html(comparison, flags.coded));
    html->commit();
  }
  for (const std::string& line : comparison.warnings) tell("warning: {}\n", line);
  if (flags.json) {
    fmt::print("{}", json_text(to_json(comparison)));
  } else {
    print(comparison);
  }
}

}  // namespace cairn::cli
