// A stack's memory while tokens flow: how fast it falls and rises, and what tokens notice.
//
//   bench_elastic STACK [--step 100M] [--minutes 10] [--threads 2]
//   bench_elastic MODEL --trace SECONDS [--memory 120M|auto]
//
// --trace only decodes, and prints a line a second: seconds, tokens, the longest gap between two in
// milliseconds, resident MiB, bits a weight (0: no stack). Without it:
//
// Prints one JSON object: shrinking by a step (milliseconds until the system's count of resident memory has
// fallen; the longest gap between tokens against their median), growing it back after the file left the page
// cache (the same), and a budget that moves at random every second (the most by which resident memory
// exceeded it, sampled every 10 ms from 100 ms after each change on).
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>
#include <vector>

#include "base/byte_size.hpp"
#include "base/clock.hpp"
#include "base/memory_pressure.hpp"
#include "llm/model.hpp"
#include "measure/median.hpp"

namespace cairn {
namespace {

using std::chrono::milliseconds;

// Decodes without end in a thread of its own and notes when each token was ready.
class Decoder {
 public:
  explicit Decoder(engine::Engine& engine) : engine_(engine), thread_([this] { work(); }) {}
  ~Decoder() {
    stop_ = true;
    thread_.join();
  }
  std::vector<double> times() const {
    const std::lock_guard lock(mutex_);
    return times_;
  }

 private:
  void work() {
    std::vector<float> logits(engine_.model().parameters.vocabulary);
    const auto sequence = engine_.make_sequence();
    int32_t token = 1;
    while (!stop_) {
      if (sequence->length() + 1 == engine_.context()) sequence->truncate(0);
      engine_.step({sequence.get(), {&token, 1}, engine::Logits::last, logits.data()});
      token = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
      const std::lock_guard lock(mutex_);
      times_.push_back(clock_.seconds());
    }
  }

  engine::Engine& engine_;
  Stopwatch clock_;
  mutable std::mutex mutex_;
  std::vector<double> times_;
  std::atomic<bool> stop_{false};
  std::thread thread_;

 public:
  double now() const { return clock_.seconds(); }
};

struct Gaps {
  double median_ms, longest_ms;
};
Gaps gaps(const std::vector<double>& times, double begin, double end) {
  std::vector<double> all;
  for (size_t i = 1; i < times.size(); ++i) {
    if (times[i] >= begin && times[i - 1] <= end) all.push_back(1e3 * (times[i] - times[i - 1]));
  }
  return all.empty() ? Gaps{} : Gaps{measure::median(all), *std::max_element(all.begin(), all.end())};
}

void drop_from_page_cache(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY);
  if (file < 0) return;
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  close(file);
}

// Waits until resident memory is at most `bytes`; milliseconds, or −1 after two seconds.
double wait_for_memory(uint64_t bytes) {
  const Stopwatch watch;
  while (resident_memory() > bytes) {
    if (watch.seconds() > 2) return -1;
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  return 1e3 * watch.seconds();
}

// A line for each second of decoding.
void trace(engine::Engine& engine, double seconds) {
  Decoder decoder(engine);
  size_t seen = 0;
  for (int second = 1; second <= seconds; ++second) {
    while (decoder.now() < second) std::this_thread::sleep_for(milliseconds(5));
    const std::vector<double> times = decoder.times();
    double longest = times.empty() ? 1000 : 1e3 * (second - times.back());
    for (size_t i = std::max<size_t>(seen, 1); i < times.size(); ++i)
      longest = std::max(longest, 1e3 * (times[i] - times[i - 1]));
    fmt::print("{},{},{:.1f},{:.1f},{:.3f}\n", second, times.size() - seen, longest,
               static_cast<double>(resident_memory()) / 0x1p20, engine.memory().bits);
    std::fflush(stdout);
    seen = times.size();
  }
}

int main_(int argc, char** argv) {
  CLI::App app("a stack's memory while tokens flow");
  std::string path, step_text = "100M", memory;
  double minutes = 10, trace_seconds = 0;
  int repeat = 5;
  engine::Options options;
  options.context = 256;
  app.add_option("STACK", path)->required();
  app.add_option("--step", step_text);
  app.add_option("--minutes", minutes);
  app.add_option("--repeat", repeat);
  app.add_option("--threads", options.threads);
  app.add_option("--trace", trace_seconds);
  app.add_option("--memory", memory);
  CLI11_PARSE(app, argc, argv);
  const uint64_t step = parse_bytes(step_text, "--step");
  const auto model = llm::Model::load(path);
  model->tokenizer();
  options.memory_auto = memory == "auto";
  if (!memory.empty() && !options.memory_auto) options.memory = parse_bytes(memory, "--memory");
  const auto engine = model->make_engine(options);
  if (trace_seconds > 0) {
    trace(*engine, trace_seconds);
    return 0;
  }
  nlohmann::ordered_json json;
  Decoder decoder(*engine);
  std::this_thread::sleep_for(milliseconds(1500));
  const uint64_t full = resident_memory();
  std::vector<double> fall, quiet, shrink_gap, grow_gap, quiet_gap;
  for (int i = 0; i < repeat; ++i) {
    double begin = decoder.now();
    std::this_thread::sleep_for(milliseconds(1500));
    const Gaps calm = gaps(decoder.times(), begin, decoder.now());
    begin = decoder.now();
    engine->set_memory(full - step);
    fall.push_back(wait_for_memory(full - step));
    std::this_thread::sleep_for(milliseconds(500));
    shrink_gap.push_back(gaps(decoder.times(), begin, decoder.now() - 0.1).longest_ms);
    drop_from_page_cache(path);
    begin = decoder.now();
    engine->set_memory(full + (64 << 20));
    std::this_thread::sleep_for(milliseconds(1500));
    grow_gap.push_back(gaps(decoder.times(), begin, decoder.now() - 0.1).longest_ms);
    quiet.push_back(calm.median_ms);
    quiet_gap.push_back(calm.longest_ms);
  }
  json["step_mib"] = step >> 20;
  json["token_ms"] = measure::median(quiet);
  json["longest_gap_untouched_ms"] = quiet_gap;
  json["fall_ms"] = fall;
  json["longest_gap_shrinking_ms"] = shrink_gap;
  json["longest_gap_growing_ms"] = grow_gap;

  const engine::MemoryStatus status = engine->memory();
  const uint64_t others = status.process - status.stack;
  const uint64_t scratch = 16 << 20;  // that a pass may still touch for the first time
  const uint64_t low = others + scratch + status.stack_all / 4, high = others + status.stack_all;
  std::mt19937_64 random(1);
  int64_t most = INT64_MIN;
  uint32_t changes = 0;
  for (const Stopwatch watch; watch.seconds() < 60 * minutes; ++changes) {
    const uint64_t budget = low + random() % (high - low);
    engine->set_memory(budget);
    const Stopwatch second;
    while (second.seconds() < 1) {
      std::this_thread::sleep_for(milliseconds(10));
      if (second.seconds() > 0.1)
        most = std::max(most, static_cast<int64_t>(resident_memory()) - static_cast<int64_t>(budget));
    }
  }
  json["changes"] = changes;
  json["most_over_budget_mib"] = changes == 0 ? 0.0 : static_cast<double>(most) / 0x1p20;
  fmt::print("{}\n", json.dump(2));
  return 0;
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  try {
    return cairn::main_(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_elastic: {}\n", error.what());
    return 1;
  }
}
