#include "video/farm/workers.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/output_path.hpp"

namespace cairn::video {
namespace {

constexpr uint32_t kAttempts = 3;
constexpr auto kLook = std::chrono::milliseconds(20);

// `cairn video work LIST N`, what it says on standard error kept.
class Worker {
 public:
  Worker(const std::string& list_path, size_t part, const WorkerOptions& options) : part_(part) {
    said_ = memfd_create("cairn-worker", MFD_CLOEXEC);
    const std::string program = options.program.empty() ? "/proc/self/exe" : options.program,
                      number = std::to_string(part), threads = std::to_string(options.threads);
    const char* const words[] = {"cairn",        "video",     "work",          list_path.c_str(),
                                 number.c_str(), "--threads", threads.c_str(), nullptr};
    const pid_t parent = getpid();
    pid_ = said_ < 0 ? -1 : fork();
    if (pid_ < 0) fail(ErrorCode::io, "no process for a worker: {}", std::strerror(errno));
    if (pid_ > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(1);
    dup2(said_, STDOUT_FILENO);
    dup2(said_, STDERR_FILENO);
    execv(program.c_str(), const_cast<char* const*>(words));
    const char* reason = std::strerror(errno);
    for (const char* text : {"cannot be started: ", reason, "\n"}) {
      if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) break;
    }
    _exit(1);
  }
  Worker(Worker&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)), said_(std::exchange(other.said_, -1)), part_(other.part_) {}
  Worker& operator=(Worker&& other) noexcept {
    std::swap(pid_, other.pid_);
    std::swap(said_, other.said_);
    std::swap(part_, other.part_);
    return *this;
  }
  ~Worker() {
    if (pid_ > 0) {
      kill(pid_, SIGTERM);
      int status = 0;
      while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
      }
    }
    if (said_ >= 0) close(said_);
  }

  size_t part() const { return part_; }
  void stop() const { kill(pid_, SIGTERM); }
  // Whether it has ended, and how (0 where SIGCHLD is ignored, and nobody is told).
  bool ended(int& status) {
    const pid_t found = waitpid(pid_, &status, WNOHANG);
    if (found == 0 || (found < 0 && errno == EINTR)) return false;
    pid_ = -1;
    return true;
  }
  // The last line, without the program's name.
  std::string last_words() const {
    std::string text(4096, '\0');
    const off_t size = lseek(said_, 0, SEEK_END);
    const ssize_t got = pread(said_, text.data(), text.size(), std::max<off_t>(0, size - 4096));
    text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    while (!text.empty() && text.back() == '\n') text.pop_back();
    text = text.substr(text.rfind('\n') + 1);
    for (const std::string_view prefix : {"cairn: ", "error: "}) {
      if (text.starts_with(prefix)) text = text.substr(prefix.size());
    }
    return text;
  }

 private:
  pid_t pid_ = -1;
  int said_ = -1;
  size_t part_ = 0;
};

class Jobs {
 public:
  Jobs(const std::string& list_path, const JobList& list, const WorkerOptions& options,
       const EncodeProgress& progress)
      : list_path_(list_path),
        list_(list),
        options_(options),
        progress_(progress),
        attempts_(list.parts.size()) {
    for (size_t p = 0; p < list.parts.size(); ++p) {
      const uint64_t frames = list.parts[p].end - list.parts[p].first;
      frames_ += frames;
      if (read_part(list_path, list, p)) {
        done_ += frames;
      } else {
        waiting_.push_back(p);
      }
    }
    before_ = done_;
    // The longest first: the others fill in.
    std::ranges::stable_sort(waiting_, std::greater{},
                             [&](size_t p) { return list.parts[p].end - list.parts[p].first; });
    std::ranges::reverse(waiting_);
  }

  void run() {
    if (before_ > 0) say(fmt::format("{} of {} frames are done already", before_, frames_));
    while (!waiting_.empty() || !working_.empty()) {
      throw_if_interrupted();
      while (!waiting_.empty() && working_.size() < options_.jobs) {
        working_.emplace_back(list_path_, waiting_.back(), options_);
        waiting_.pop_back();
      }
      for (size_t w = 0; w < working_.size();) {
        int status = 0;
        if (!working_[w].ended(status)) {
          ++w;
          continue;
        }
        const Worker ended = std::move(working_[w]);
        working_.erase(working_.begin() + static_cast<ptrdiff_t>(w));
        look_at(ended, status);
      }
      std::this_thread::sleep_for(kLook);
    }
  }

 private:
  void say(const std::string& line) const {
    if (progress_.line) progress_.line(line);
  }

  void look_at(const Worker& worker, int status) {
    const size_t p = worker.part();
    const auto result = read_part(list_path_, list_, p);
    if (result) {
      done_ += result->frames;
      say(fmt::format(
          "part {}: {} frames, {} bytes{}", p, result->frames, result->bytes,
          result->network ? fmt::format(", a network of {} bytes", result->network->size()) : ""));
      if (progress_.share) {
        const double share = static_cast<double>(done_) / static_cast<double>(frames_),
                     now = static_cast<double>(done_ - before_);
        progress_.share(fmt::format("{} of {} frames", done_, frames_), share,
                        watch_.seconds() * static_cast<double>(frames_ - done_) / std::max(now, 1.0));
      }
      return;
    }
    throw_if_interrupted();
    if (WIFSIGNALED(status) && ++attempts_[p] < kAttempts) {
      say(fmt::format("part {}: its worker was ended by signal {}; begun again", p, WTERMSIG(status)));
      waiting_.push_back(p);
      return;
    }
    for (const Worker& other : working_) other.stop();
    const std::string words = WIFSIGNALED(status) ? fmt::format("its worker was ended by signal {} {} times",
                                                                WTERMSIG(status), kAttempts)
                                                  : worker.last_words();
    fail(ErrorCode::io, "part {} of {}: {}", p, list_.input, words);
  }

  const std::string& list_path_;
  const JobList& list_;
  const WorkerOptions& options_;
  const EncodeProgress& progress_;
  std::vector<uint32_t> attempts_;
  std::vector<size_t> waiting_;  // the last one is the next
  std::vector<Worker> working_;
  uint64_t frames_ = 0, done_ = 0, before_ = 0;
  Stopwatch watch_;
};

// Of earlier lists of this name.
void remove_parts(const std::string& list_path) {
  namespace fs = std::filesystem;
  const fs::path path = list_path;
  std::error_code ignored;
  for (const auto& entry :
       fs::directory_iterator(path.has_parent_path() ? path.parent_path() : ".", ignored)) {
    if (entry.path().filename().string().starts_with(path.filename().string() + ".part-"))
      fs::remove(entry.path(), ignored);
  }
}

}  // namespace

void do_jobs(const std::string& list_path, const JobList& list, const WorkerOptions& options,
             const EncodeProgress& progress) {
  Jobs(list_path, list, options, progress).run();
}

EncodeReport encode_in_parts(const std::string& input, const std::string& output,
                             const EncodeOptions& options, const PartOptions& parts,
                             const WorkerOptions& workers, const EncodeProgress& progress, ThreadPool& pool) {
  if (output == "-" || is_special(output))
    fail(ErrorCode::invalid_argument, "{}: parts need a file, with room for theirs beside it", output);
  { const MatroskaFile promised(output, input, options.keep); }  // what can be refused, before the work
  const std::string list_path = output + ".jobs";
  std::optional<JobList> list = job_list_of(list_path, asked_of(input, options, parts));
  if (!list) {
    remove_parts(list_path);
    list = make_job_list(input, output, options, parts, progress, pool);
    write_job_list(*list, list_path);
  }
  list->output = output;
  do_jobs(list_path, *list, workers, progress);
  return join_parts(list_path, *list, progress);
}

}  // namespace cairn::video
