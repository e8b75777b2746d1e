// The jobs of a list, done by processes of this machine.
#pragma once

#include "video/farm/part.hpp"

namespace cairn::video {

struct WorkerOptions {
  uint32_t jobs = 1;     // processes at a time
  uint32_t threads = 1;  // of each
  std::string program;   // that knows `video work`; empty: this process's own
};

// Does what is not done yet. A process that is killed is begun again, twice at most. Errors: io (no process);
// that of a process which failed, in its own words and with its job; cancelled.
void do_jobs(const std::string& list_path, const JobList& list, const WorkerOptions& options,
             const EncodeProgress& progress);

// Makes a list beside the output (or goes on with one that was made of the same input and options), does its
// jobs and joins them: the same bytes for any number of jobs.
EncodeReport encode_in_parts(const std::string& input, const std::string& output,
                             const EncodeOptions& options, const PartOptions& parts,
                             const WorkerOptions& workers, const EncodeProgress& progress, ThreadPool& pool);

}  // namespace cairn::video
