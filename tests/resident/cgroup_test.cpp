// A real memory cgroup: while a second process takes memory, a stack gives way and goes on, where the same
// file held whole is killed.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <optional>

#include "backends/cpu/engine.hpp"
#include "base/sanitized.hpp"
#include "engine/one_sequence.hpp"
#include "resident/fixture.hpp"

namespace cairn::resident {
namespace {

constexpr uint64_t kLimit = uint64_t{200} << 20;
constexpr size_t kHogBytes = size_t{100} << 20, kHogStep = size_t{1} << 20;

bool write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  return file.good();
}

// A group of our own with a limit, below this process's where it can be seen.
class MemoryGroup {
 public:
  // version: of the controller, 1 or 2.
  explicit MemoryGroup(int version) {
    std::ifstream groups("/proc/self/cgroup");
    for (std::string line; std::getline(groups, line) && !made();) {
      const size_t at = version == 2 ? (line.starts_with("0::") ? 3 : std::string::npos) : memory_path(line);
      if (at == std::string::npos) continue;
      const std::string mount = version == 2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
      if (!make(mount + line.substr(at), version)) make(mount, version);
    }
  }
  ~MemoryGroup() {
    // The system takes a moment to forget processes that have ended.
    for (int i = 0; i < 200 && made() && rmdir(folder_.c_str()) != 0; ++i) usleep(10'000);
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;
  bool made() const { return !folder_.empty(); }
  void enter() const { write_text(folder_ + "/cgroup.procs", std::to_string(getpid())); }

 private:
  static size_t memory_path(const std::string& line) {
    const size_t at = line.find(":memory:");
    return at == std::string::npos ? at : at + 8;
  }
  bool make(const std::string& parent, int version) {
    const std::string folder = parent + "/cairn-test-" + std::to_string(getpid());
    std::error_code error;
    // Where both versions are mounted, the second's usual place is an ordinary folder.
    if (!std::filesystem::exists(parent + "/cgroup.procs", error)) return false;
    if (!std::filesystem::create_directory(folder, error)) return false;
    const std::string limit = std::to_string(kLimit);
    if (write_text(folder + (version == 2 ? "/memory.max" : "/memory.limit_in_bytes"), limit)) {
      folder_ = folder;
      version == 2 ? write_text(folder + "/memory.swap.max", "0")
                   : write_text(folder + "/memory.memsw.limit_in_bytes", limit);
    } else {
      std::filesystem::remove(folder, error);
    }
    return made();
  }

  std::string folder_;
};

// The controllers that let this process make a group: none where that needs another user, nor in a
// sanitizer's program, whose own memory breaks the limit.
std::vector<int> controllers() {
  std::vector<int> versions;
  for (const int version : {1, 2}) {
    if (!cairn::testing::kSanitized && MemoryGroup(version).made()) versions.push_back(version);
  }
  return versions;
}

// A child in the group, with a pipe from it and one to it.
struct Child {
  pid_t pid = -1;
  int from = -1, to = -1;

  template <class Body>
  Child(const MemoryGroup& group, const Body& body) {
    int out[2], in[2];
    EXPECT_EQ(pipe(out), 0);
    EXPECT_EQ(pipe(in), 0);
    pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      close(out[0]);
      close(in[1]);
      group.enter();
      int status = 1;
      try {
        status = body(in[0], out[1]);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "child: %s\n", error.what());
      }
      _exit(status);
    }
    close(out[1]);
    close(in[0]);
    from = out[0];
    to = in[1];
  }
  ~Child() {
    close(from);
    if (to >= 0) close(to);
  }
  // False when the child has ended.
  bool hear(void* data, size_t bytes) const { return read(from, data, bytes) == static_cast<ssize_t>(bytes); }
  int end() {
    close(to);
    to = -1;
    int status = 0;
    waitpid(pid, &status, 0);
    return status;
  }
};

struct Report {
  uint64_t stack;  // bytes of blocks in memory
};

int decode(const std::string& path, bool elastic, int in, int out) {
  engine::Options options;
  options.context = 64;
  options.chunk = 32;
  options.threads = 1;
  options.memory_auto = elastic;
  engine::OneSequence runner(cpu::make_engine(gguf::File(path), options));
  std::vector<float> logits(runner.vocabulary());
  const int32_t token = 1;
  for (uint32_t i = 0;; ++i) {
    runner.run({&token, 1}, i % 32, engine::Logits::last, logits.data());
    const Report report{runner.engine->memory().stack};
    if (write(out, &report, sizeof report) != sizeof report) return 1;
    char answer;
    if (read(in, &answer, 1) != 1) return 0;
  }
}

// Takes a step of memory for each byte it is sent, and holds it.
int hog(int in, int out) {
  write_text("/proc/self/oom_score_adj", "-1000");  // it is the model that shall give way or go
  char order;
  while (read(in, &order, 1) == 1) {
    void* p = mmap(nullptr, kHogStep, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(p, 1, kHogStep);
    if (write(out, &order, 1) != 1) return 1;
  }
  return 0;
}

class MemoryCgroup : public ::testing::TestWithParam<int> {
 protected:
  // Tokens flow while a second process takes kHogBytes. Returns how the model's process ended, and how much
  // of its stack was in memory before and after.
  struct Outcome {
    int status;
    uint64_t before, after;
    bool hog_lived;
  };
  static Outcome run(const std::string& path, bool elastic, const MemoryGroup& group) {
    Child taker(group, hog);
    Child model(group, [&](int in, int out) { return decode(path, elastic, in, out); });
    Outcome outcome{};
    bool alive = true;
    const auto token = [&](uint64_t& stack) {
      Report report{};
      alive = alive && model.hear(&report, sizeof report) && write(model.to, "t", 1) == 1;
      if (alive) stack = report.stack;
    };
    for (int i = 0; i < 5; ++i) token(outcome.before);
    bool taken = true;
    for (size_t bytes = 0; bytes < kHogBytes && alive && taken; bytes += kHogStep) {
      char done;
      taken = write(taker.to, "m", 1) == 1 && taker.hear(&done, 1);
      token(outcome.after);
    }
    for (int i = 0; i < 5 && alive; ++i) token(outcome.after);
    outcome.status = model.end();  // first: it has copies of the other's pipes
    outcome.hog_lived = taken && WIFEXITED(taker.end());
    return outcome;
  }
};

TEST_P(MemoryCgroup, AStackGivesWayWhereTheSameFileHeldWholeIsKilled) {
  std::signal(SIGPIPE, SIG_IGN);
  const MemoryGroup group(GetParam());
  ASSERT_TRUE(group.made());
  const cairn::testing::TemporaryFolder folder;
  const std::string model = folder / "model.gguf", stack = folder / "stack.gguf";
  write_model(model, 18'432);
  PlainStack options;
  options.rows_per_group = 256;
  options.random = true;
  options.exact = true;
  options.rotate = false;
  write_plain_stack(model, stack, options);
  std::filesystem::remove(model);
  const uint64_t whole = stack::read_layout(gguf::File(stack)).file_bytes;
  ASSERT_GT(whole + kHogBytes, kLimit);

  const Outcome fixed = run(stack, false, group);
  EXPECT_TRUE(WIFSIGNALED(fixed.status) && WTERMSIG(fixed.status) == SIGKILL)
      << "held whole, with " << (fixed.after >> 20) << " MiB of blocks, it was to be killed; status "
      << fixed.status;

  const Outcome elastic = run(stack, true, group);
  EXPECT_TRUE(elastic.hog_lived);
  EXPECT_TRUE(WIFEXITED(elastic.status) && WEXITSTATUS(elastic.status) == 0) << elastic.status;
  EXPECT_GT(elastic.before, whole / 2);
  EXPECT_LT(elastic.after, elastic.before - (uint64_t{30} << 20));
}
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(MemoryCgroup);
INSTANTIATE_TEST_SUITE_P(Version, MemoryCgroup, ::testing::ValuesIn(controllers()),
                         [](const auto& version) { return std::to_string(version.param); });

}  // namespace
}  // namespace cairn::resident
