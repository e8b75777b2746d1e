#include "measure/benchmark_gap.hpp"

#include <algorithm>
#include <atomic>
#include <random>
#include <thread>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "llm/model.hpp"
#include "llm/scheduler.hpp"
#include "measure/median.hpp"

namespace cairn::measure {
namespace {

constexpr uint32_t kBegins = 16;  // tokens that those who answer have read before

class Prompts {
 public:
  explicit Prompts(const llm::Model& model)
      : tokens_(std::min<size_t>(model.parameters().vocabulary, model.tokenizer()->vocabulary())) {}
  std::vector<llm::Token> make(uint32_t size) {
    std::vector<llm::Token> prompt(size);
    for (llm::Token& token : prompt) token = static_cast<llm::Token>(random_() % tokens_);
    return prompt;
  }

 private:
  size_t tokens_;
  std::mt19937 random_{0};
};

llm::Request request(std::vector<llm::Token> prompt) {
  llm::Request made{.prompt = std::move(prompt), .options = {}};
  made.options.ignore_end = true;
  made.options.sampler.temperature = 0;
  made.options.cancelled = interrupted;
  return made;
}

double seconds_of_chunk(engine::Engine& engine, Prompts& prompts) {
  const auto sequence = engine.make_sequence();
  const std::vector<llm::Token> chunk = prompts.make(engine.chunk());
  const Stopwatch watch;
  engine.step({sequence.get(), chunk}, interrupted);
  return watch.seconds();
}

// One entry a token of somebody who answered while the prompt was read.
std::vector<double> gaps(llm::Scheduler& scheduler, uint32_t sequences, uint32_t prompt, Prompts& prompts) {
  std::atomic<bool> reads{false}, over{false};
  std::atomic<uint32_t> answering{0};
  std::vector<double> all;  // by the scheduler's thread alone until all have ended
  std::vector<llm::Scheduler::Ticket> tickets;
  for (uint32_t i = 0; i < sequences; ++i) {
    llm::Request one = request(prompts.make(kBegins));
    one.token = [&, last = Stopwatch(), first = true, beside = false](const llm::TokenEvent&) mutable {
      if (first) ++answering;
      // The gap in which the reading begins or ends is one of its gaps.
      if (!first && (beside || reads)) all.push_back(last.seconds());
      first = false;
      beside = reads;
      last.restart();
      return !over;
    };
    tickets.push_back(scheduler.submit(std::move(one)));
  }
  while (answering < sequences && !interrupted()) std::this_thread::yield();
  llm::Request reader = request(prompts.make(prompt));
  reader.options.max_tokens = 1;
  reader.token = [&](const llm::TokenEvent&) {
    reads = false;
    return true;
  };
  reads = true;
  scheduler.submit(std::move(reader)).wait();
  over = true;
  for (auto& ticket : tickets) ticket.wait();
  throw_if_interrupted();
  if (all.empty()) fail(ErrorCode::invalid_argument, "bench: nobody got a token while the prompt was read");
  return all;
}

}  // namespace

GapResult run_gap(const std::string& model_path, uint32_t sequences, const BenchmarkOptions& options,
                  const std::function<void(uint32_t done, uint32_t total)>& progress) {
  if (sequences == 0 || options.prompt == 0 || options.repeat == 0) {
    fail(ErrorCode::invalid_argument,
         "bench: --sequences ({}), --prompt ({}) and --repeat ({}) must be at least 1", sequences,
         options.prompt, options.repeat);
  }
  const std::shared_ptr<const llm::Model> model = llm::Model::load(model_path);
  engine::Options engine_options = options.engine;
  // Those who answer go on until the prompt is read: at most a token for each of its own.
  if (engine_options.context == 0) engine_options.context = options.prompt + kBegins + engine_options.chunk;
  const auto engine =
      options.make_engine ? options.make_engine(*model, engine_options) : model->make_engine(engine_options);
  Prompts prompts(*model);
  seconds_of_chunk(*engine, prompts);  // what is touched for the first time

  llm::SchedulerOptions scheduling;
  scheduling.sequences = sequences + 1;
  scheduling.kept_bytes = 0;
  GapResult result{};
  result.chunk = engine->chunk();
  std::vector<double> longest, middle, chunk, ratio;
  for (uint32_t i = 0; i < options.repeat; ++i) {
    if (progress) progress(i, options.repeat);
    chunk.push_back(seconds_of_chunk(*engine, prompts));
    llm::Scheduler scheduler(engine, model->tokenizer(), scheduling);
    const std::vector<double> all = gaps(scheduler, sequences, options.prompt, prompts);
    longest.push_back(*std::max_element(all.begin(), all.end()));
    middle.push_back(median(all));
    ratio.push_back(longest.back() / chunk.back());
    result.rounds.push_back({longest.back(), middle.back(), chunk.back()});
  }
  result.longest_s = median(std::move(longest));
  result.median_s = median(std::move(middle));
  result.chunk_s = median(std::move(chunk));
  result.ratio = median(std::move(ratio));
  return result;
}

}  // namespace cairn::measure
