#include "cli/video/report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/json_text.hpp"

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

}  // namespace

void report_encoding(const std::string& output, bool as_json, const video::EncodeReport& report) {
  const video::Choice& result = report.result;
  if (as_json) {
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
    fmt::print("{}", json_text(json));
    return;
  }
  fmt::print(output == "-" ? stderr : stdout,
             "{}: {}{}: {} bytes ({} video, {} networks, {} labels, {} header), {:.2f} dB\n", output,
             video::name(result.mode), result.crf > 0 ? fmt::format(" at crf {:g}", result.crf) : "",
             result.bytes, report.video, report.networks, report.labels, report.header, result.psnr);
}

}  // namespace cairn::cli
