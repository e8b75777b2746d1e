#include <fmt/format.h>

#include "base/error.hpp"
#include "base/output_path.hpp"
#include "base/thread_pool.hpp"
#include "cli/standard_io.hpp"
#include "cli/video/report.hpp"
#include "cli/video/work.hpp"
#include "video/farm/workers.hpp"

namespace cairn::cli {

void run_work(WorkFlags& flags) {
  const video::JobList list = video::read_job_list(flags.list);
  const bool all = flags.indices.empty();
  for (size_t i = 0; all && i < list.parts.size(); ++i) flags.indices.push_back(i);
  for (const uint64_t index : flags.indices) {
    if (index >= list.parts.size())
      fail(ErrorCode::invalid_argument, "{}: no job {}: they are 0 … {}", flags.list, index,
           list.parts.size() - 1);
  }
  ThreadPool pool(flags.threads == 0 ? usable_processors() : flags.threads, ThreadPool::Idle::sleep);
  for (const uint64_t index : flags.indices) {
    if (video::read_part(flags.list, list, index)) {
      if (!all) write_out(fmt::format("job {}: done already\n", index));
      continue;
    }
    const video::PartResult done = video::work_part(flags.list, list, index, pool);
    write_out(fmt::format("job {}: {} frames, {} bytes{}\n", index, done.frames, done.bytes,
                          done.network ? fmt::format(", a network of {} bytes", done.network->size()) : ""));
  }
}

void run_join(JoinFlags& flags) {
  video::JobList list = video::read_job_list(flags.list);
  if (!flags.output.empty()) list.output = flags.output;
  flags.files.check({list.output}, {list.input, flags.list});
  StatusLine status;
  video::EncodeProgress progress;
  progress.line = [&](const std::string& line) { status.say(line); };
  report_encoding(list.output, flags.json, video::join_parts(flags.list, list, progress));
}

}  // namespace cairn::cli
