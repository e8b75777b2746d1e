#include "video/encode/encode.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <string>

#include "base/error.hpp"
#include "base/output_path.hpp"
#include "base/thread_pool.hpp"
#include "cli/json_text.hpp"
#include "cli/video/report.hpp"
#include "cli/video/work.hpp"
#include "video/farm/workers.hpp"

namespace cairn::cli {
namespace {

void list_jobs(const EncodeFlags& flags, const video::EncodeProgress& progress) {
  // One that was made of the same stays: some of its jobs may be done.
  auto found = video::job_list_of(flags.job_list, video::asked_of(flags.input, flags.encode, flags.parts));
  if (!found) {
    flags.files.check({flags.job_list}, {flags.input, flags.output});
    { const video::MatroskaFile promised(flags.output, flags.input, flags.encode.keep); }
    ThreadPool pool(flags.threads == 0 ? usable_processors() : flags.threads, ThreadPool::Idle::sleep);
    found = video::make_job_list(flags.input, flags.output, flags.encode, flags.parts, progress, pool);
    video::write_job_list(*found, flags.job_list);
  }
  const video::JobList& list = *found;
  if (flags.json) {
    fmt::print("{}", json_text({{"list", flags.job_list}, {"jobs", list.parts.size()}}));
    return;
  }
  fmt::print("{}: {} jobs, 0 … {}: cairn video work {} INDEX; then cairn video join {}\n", flags.job_list,
             list.parts.size(), list.parts.size() - 1, flags.job_list, flags.job_list);
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
  if (!flags.job_list.empty()) {
    list_jobs(flags, progress);
    return;
  }
  if (flags.jobs > 0) {
    // A worker's threads are told; the sample is encoded by as many as all workers have.
    video::WorkerOptions workers{flags.jobs, flags.threads, ""};
    if (workers.threads == 0)
      workers.threads = std::max<uint32_t>(1, static_cast<uint32_t>(usable_processors()) / flags.jobs);
    ThreadPool pool(static_cast<size_t>(workers.threads) * flags.jobs, ThreadPool::Idle::sleep);
    const auto done =
        video::encode_in_parts(flags.input, flags.output, encode, flags.parts, workers, progress, pool);
    report_encoding(flags.output, flags.json, done);
    return;
  }
  ThreadPool pool(flags.threads == 0 ? usable_processors() : flags.threads, ThreadPool::Idle::sleep);
  // Beside the output, whoever named them: trainings take minutes, and what is done of them shall not be
  // lost.
  encode.forgiving = encode.checkpoint.empty();
  if (encode.forgiving && flags.output != "-" && !is_special(flags.output))
    encode.checkpoint = flags.output + ".training";
  const video::EncodeReport done = video::encode(flags.input, flags.output, encode, progress, pool);
  report_encoding(flags.output, flags.json, done);
}

}  // namespace cairn::cli
