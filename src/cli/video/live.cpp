#include "video/live/live.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/output_path.hpp"
#include "cli/json_text.hpp"
#include "cli/standard_io.hpp"
#include "cli/video/status_line.hpp"
#include "cli/video/work.hpp"

namespace cairn::cli {
namespace {

std::string as_json(const video::LiveReport& report) {
  nlohmann::ordered_json json = {
      {"seconds", report.seconds},
      {"bytes", {{"video", report.video}, {"networks", report.networks}, {"sound", report.sound}}},
      {"late", report.late},
      {"notes", report.notes}};
  for (const video::LiveSegmentReport& s : report.segments) {
    json["segments"].push_back({{"rate", s.rate},
                                {"number", s.number},
                                {"frames", s.frames},
                                {"video", s.video},
                                {"network", s.network},
                                {"delta", s.delta},
                                {"from", s.from},
                                {"steps", s.steps},
                                {"seconds_after", s.seconds_after},
                                {"mse_plain", s.plain},
                                {"mse_restored", s.restored}});
  }
  return json_text(json);
}

}  // namespace

void run_live(LiveFlags& flags) {
  video::LiveOptions& live = flags.live;
  if (same_file(flags.input, flags.output))
    fail(ErrorCode::invalid_argument, "{}: input and output are the same", flags.output);
  flags.files.check({live.record}, {flags.input});
  live.replace = flags.files.force;
  live.mode = video::parse_mode(flags.mode);
  live.codec = video::parse_codec(flags.codec);
  live.network = video::parse_architecture(flags.network);
  if (!flags.rates.empty()) live.rates = video::parse_rates(flags.rates);
  const auto check_crf = [&](const char* flag, double crf) {
    if (crf > video::largest_crf(live.codec))
      fail(ErrorCode::invalid_argument, "{} {:g}: {} takes 1 … {:g}", flag, crf, flags.codec,
           video::largest_crf(live.codec));
  };
  check_crf("--crf", live.crf);
  for (const video::RateRequest& rate : live.rates) check_crf("--rates", rate.crf);
  if (!live.preset.empty()) video::check_preset(live.codec, live.preset);
  if (live.network.frames > 1)
    fail(ErrorCode::invalid_argument, "--network {}: live networks see one frame", flags.network);
  StatusLine status;
  video::EncodeProgress progress;
  progress.line = [&](const std::string& line) { status.say(line); };
  const video::LiveReport report = video::live(flags.input, flags.output, live, progress);
  clear_interrupt();  // it is how a stream without an end ends
  for (const std::string& note : report.notes) status.say(note);
  if (flags.json) {
    write_out(as_json(report));
    return;
  }
  const std::string sound = report.sound > 0 ? fmt::format(", {} of sound", report.sound) : "";
  const size_t rates = std::max<size_t>(1, live.rates.size());
  write_out(fmt::format("{}: {} segments, {:.1f} s, {} bytes and {} of networks{}; late: {}\n", flags.output,
                        report.segments.size() / rates, report.seconds, report.video, report.networks, sound,
                        report.late));
}

}  // namespace cairn::cli
