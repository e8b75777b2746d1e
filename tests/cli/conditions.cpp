#include "cli/conditions.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>
#include <thread>

#include "base/clock.hpp"
#include "base/temporary_folder.hpp"

namespace cairn::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr double kLongest = 240;  // seconds; far beyond what any of the commands takes, on a busy machine too

std::vector<std::string> with(const Command& command, std::vector<std::string> more) {
  std::vector<std::string> all = command.arguments;
  all.insert(all.end(), more.begin(), more.end());
  return all;
}
std::vector<std::string> to(const Command& command, const std::string& path,
                            std::vector<std::string> more = {}) {
  std::vector<std::string> all = command.arguments;
  if (!command.output.empty()) all.insert(all.end(), {command.output[0], path});
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

std::map<std::string, std::string> contents(const std::vector<std::string>& paths) {
  std::map<std::string, std::string> result;
  for (const std::string& path : paths) result[path] = read_file(path);
  return result;
}

size_t lines(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

// Files beside the output that belong to nobody, for names begin with a dot while they are written.
std::vector<std::string> hidden(const std::string& output) {
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(fs::path(output).parent_path())) {
    if (entry.path().filename().string().starts_with('.')) found.push_back(entry.path().string());
  }
  return found;
}

void clean(const Command& command) {
  if (command.output.empty()) return;
  const fs::path output = command.output[1];
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(output.parent_path())) {
    if (entry.path().filename().string().starts_with(output.filename().string()))
      fs::remove_all(entry.path(), ignored);
  }
}

int opened(Stream kind, const std::string& usual, int flags) {
  switch (kind) {
    case Stream::usual:
      return open(usual.c_str(), flags | O_CREAT, 0600);
    case Stream::full:
      return open("/dev/full", O_RDWR);
    case Stream::left: {
      int ends[2] = {-1, -1};
      if (pipe(ends) != 0) return -1;
      close(ends[0]);
      return ends[1];
    }
    case Stream::closed:
      break;
  }
  return -1;
}

[[noreturn]] void become(const std::vector<std::string>& arguments, const Circumstances& how,
                         const std::array<std::string, 3>& files) {
  std::array<int, 3> streams;
  for (int i = 0; i < 3; ++i)
    streams[static_cast<size_t>(i)] = opened(how.streams[static_cast<size_t>(i)],
                                             files[static_cast<size_t>(i)], i == 0 ? O_RDONLY : O_WRONLY);
  for (int i = 0; i < 3; ++i) {
    const int from = streams[static_cast<size_t>(i)];
    from < 0 ? close(i) : dup2(from, i);
  }
  for (int descriptor = 3; descriptor < 64; ++descriptor) close(descriptor);
  if (how.file_bytes > 0) {
    const rlimit limit = {how.file_bytes, how.file_bytes};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  std::vector<char*> argv{const_cast<char*>(CAIRN_PROGRAM)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

}  // namespace

Outcome run_under(const std::vector<std::string>& arguments, const Circumstances& how) {
  const TemporaryFolder folder;
  const std::array<std::string, 3> files = {folder / "in", folder / "out", folder / "err"};
  write_file(files[0], "");
  const pid_t child = fork();
  if (child == 0) become(arguments, how, files);
  Stopwatch watch;
  bool signalled = how.signal == 0;
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (!signalled && watch.seconds() >= how.delay) {
      kill(child, how.signal);
      signalled = true;
      watch.restart();
    }
    if (signalled && watch.seconds() > kLongest) {
      ADD_FAILURE() << "hangs";
      kill(child, SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status), read_file(files[1]),
          read_file(files[2]), watch.seconds()};
}

void expect_inputs_are_no_outputs(const Command& command) {
  const TemporaryFolder folder;
  const auto before = contents(command.inputs);
  for (const std::string& input : command.inputs) {
    const fs::path path = input;
    fs::remove(folder / "link"), fs::remove(folder / "hard");
    fs::create_symlink(path, folder / "link");
    std::vector<std::string> spellings = {input, (path.parent_path() / "." / path.filename()).string(),
                                          folder / "link"};
    std::error_code across;
    fs::create_hard_link(path, folder / "hard", across);
    if (!across) spellings.push_back(folder / "hard");
    for (const std::string& spelling : spellings) {
      SCOPED_TRACE(spelling);
      const Outcome found = run_under(to(command, spelling, {"--force"}));
      EXPECT_EQ(found.status, 2) << found.err;
      EXPECT_EQ(lines(found.err), 1u) << found.err;
      EXPECT_THAT(found.err, HasSubstr("is an input"));
    }
  }
  EXPECT_TRUE(contents(command.inputs) == before);
}

void expect_existing_outputs_stay(const Command& command) {
  const std::string& output = command.output[1];
  clean(command);
  write_file(output, "kept");
  const Outcome refused = run_under(with(command, command.output));
  EXPECT_EQ(refused.status, 2) << refused.err;
  EXPECT_EQ(lines(refused.err), 1u) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("--force"));
  EXPECT_EQ(read_file(output), "kept");
  for (const char* flag : {"--force", "-y"}) {
    const Outcome replaced = run_under(to(command, output, {flag}));
    EXPECT_EQ(replaced.status, 0) << replaced.err;
    EXPECT_NE(read_file(output), "kept");
  }
  clean(command);
}

void expect_unwritable_outputs_are_named(const Command& command) {
  const std::string nowhere = command.output[1] + ".none/file";
  const Outcome found = run_under(to(command, nowhere));
  EXPECT_EQ(found.status, 1) << found.err;
  EXPECT_EQ(lines(found.err), 1u) << found.err;
  EXPECT_THAT(found.err, HasSubstr(nowhere));
}

void expect_full_disks_are_named(const Command& command) {
  clean(command);
  const Outcome device = run_under(to(command, "/dev/full"));
  EXPECT_NE(device.status, 0);
  EXPECT_LT(device.status, 128) << device.err;
  EXPECT_THAT(device.err, HasSubstr("/dev/full"));
  for (const auto& entry : fs::directory_iterator("/dev"))
    EXPECT_FALSE(entry.path().filename().string().starts_with("full.")) << entry.path();
  // Files that may not grow, as on a disk that fills up: an error names one, and nothing half written has the
  // output's name.
  const Outcome limited = run_under(with(command, command.output), {.file_bytes = 400});
  EXPECT_NE(limited.status, 0);
  EXPECT_LT(limited.status, 128) << limited.err;
  EXPECT_EQ(lines(limited.err), 1u) << limited.err;
  EXPECT_FALSE(fs::exists(command.output[1]));
  EXPECT_TRUE(hidden(command.output[1]).empty());
  clean(command);
}

void expect_any_streams_are_survived(const Command& command) {
  const auto run = [&](const std::array<Stream, 3>& streams) {
    clean(command);
    return run_under(with(command, command.output), {.streams = streams});
  };
  for (const Stream kind : {Stream::closed, Stream::full, Stream::left}) {
    SCOPED_TRACE(static_cast<int>(kind));
    // Nobody needs standard error; a standard input that nobody reads makes no difference.
    const Outcome without_error = run({Stream::usual, Stream::usual, kind});
    EXPECT_EQ(without_error.status, 0) << without_error.out;
    if (!command.output.empty()) EXPECT_TRUE(fs::exists(command.output[1]));
    // An answer that could not be written is an error in one line, or the quiet end of a pipe.
    const Outcome without_output = run({Stream::usual, kind, Stream::usual});
    EXPECT_THAT(without_output.status, AnyOf(0, 1, 1000 + SIGPIPE)) << without_output.err;
    if (without_output.status == 1)
      EXPECT_THAT(without_output.err,
                  AnyOf(HasSubstr("cannot write to standard output"), HasSubstr("cannot write /dev/stdout")));
    if (!command.output.empty() && !command.streams)
      EXPECT_TRUE(fs::exists(command.output[1])) << "the work was lost";
    EXPECT_THAT(run({Stream::usual, kind, kind}).status, AnyOf(0, 1, 1000 + SIGPIPE));
  }
  EXPECT_THAT(run({Stream::closed, Stream::usual, Stream::usual}).status, AnyOf(0, 1));
  EXPECT_THAT(run({Stream::closed, Stream::closed, Stream::closed}).status, AnyOf(0, 1));
  clean(command);
}

// Loose in time, for slow machines under load: bench/signals.py measures.
void expect_signals_end_it(const Command& command) {
  const auto before = contents(command.inputs);
  clean(command);
  const double whole = command.long_lived ? 1.5 : run_under(with(command, command.output)).seconds;
  clean(command);
  std::mt19937 random(7);
  for (const int signal : {SIGINT, SIGTERM, SIGTERM}) {
    const double delay = std::uniform_real_distribution<double>(0, whole)(random);
    SCOPED_TRACE(delay);
    const Outcome found = run_under(with(command, command.output), {.signal = signal, .delay = delay});
    // Before the program is ready, the signal itself ends it.
    EXPECT_THAT(found.status, AnyOf(0, 130, 1000 + signal)) << found.err;
    EXPECT_LT(found.seconds, 30);
    if (!command.output.empty()) {
      EXPECT_EQ(fs::exists(command.output[1]), found.status == 0);
      if (found.status == 130) EXPECT_TRUE(hidden(command.output[1]).empty());
    }
    if (found.status == 0) clean(command);
  }
  if (!command.long_lived) {
    const Outcome again = run_under(with(command, command.output));
    EXPECT_EQ(again.status, 0) << again.err;
  }
  EXPECT_TRUE(contents(command.inputs) == before);
  clean(command);
}

}  // namespace cairn::testing
