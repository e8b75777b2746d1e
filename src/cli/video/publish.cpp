#include "video/publish/publish.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/output_path.hpp"
#include "base/thread_pool.hpp"
#include "cli/json_text.hpp"
#include "cli/video/status_line.hpp"
#include "cli/video/work.hpp"

namespace cairn::cli {
namespace {

void check(const PublishFlags& flags, const video::PublishOptions& options) {
  for (const std::string& input : flags.inputs) {
    if (same_file(input, flags.output))
      fail(ErrorCode::invalid_argument, "{}: input and output are the same", flags.output);
  }
  for (const video::RateRequest& rate : options.rates) {
    if (rate.crf > video::largest_crf(options.encode.codec))
      fail(ErrorCode::invalid_argument, "--rates: {:g}: {} takes 1 … {:g}", rate.crf, flags.codec,
           video::largest_crf(options.encode.codec));
  }
  if (!options.encode.preset.empty()) video::check_preset(options.encode.codec, options.encode.preset);
  for (const std::string& network : options.networks) video::parse_architecture(network);
}

}  // namespace

void run_publish(PublishFlags& flags) {
  video::PublishOptions& options = flags.publish;
  options.replace = flags.files.force;
  options.encode.codec = video::parse_codec(flags.codec);
  if (!flags.rates.empty()) options.rates = video::parse_rates(flags.rates);
  if (!flags.networks.empty()) options.networks = flags.networks;
  check(flags, options);
  StatusLine status;
  video::EncodeProgress progress;
  progress.line = [&](const std::string& line) { status.say(line); };
  progress.share = [&](const std::string& what, double share, double left) {
    status.update(what, share, left);
  };
  ThreadPool pool(flags.threads == 0 ? usable_processors() : flags.threads, ThreadPool::Idle::sleep);
  const video::PublishReport report = video::publish(flags.inputs, flags.output, options, progress, pool);
  for (const std::string& note : report.notes) status.say(note);
  if (flags.json) {
    const nlohmann::ordered_json json = {{"rates", report.rates},
                                         {"segments", report.segments},
                                         {"seconds", report.seconds},
                                         {"bytes",
                                          {{"video", report.video},
                                           {"networks", report.networks},
                                           {"original", report.original},
                                           {"all", report.all}}},
                                         {"notes", report.notes}};
    fmt::print("{}", json_text(json));
    return;
  }
  fmt::print("{}: {} rate{}, {} segments, {:.1f} s, {} ({} networks and labels)\n", flags.output,
             report.rates, report.rates == 1 ? "" : "s", report.segments, report.seconds,
             byte_size(report.all), byte_size(report.networks));
}

}  // namespace cairn::cli
