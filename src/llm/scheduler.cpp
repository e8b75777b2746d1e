// Requests on their way in and out; scheduler_step.cpp has what happens between.
#include "llm/scheduler.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/long_turns.hpp"
#include "llm/scheduler_job.hpp"

namespace cairn::llm {

void Scheduler::Ticket::cancel() {
  job_->cancelled = true;
}

bool Scheduler::Ticket::ready() const {
  return job_->future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

Result Scheduler::Ticket::wait() {
  return job_->future.get();
}

Scheduler::Scheduler(std::shared_ptr<engine::Engine> engine, std::shared_ptr<const text::Tokenizer> tokenizer,
                     SchedulerOptions options)
    : engine_(std::move(engine)),
      tokenizer_(std::move(tokenizer)),
      options_(std::move(options)),
      sampled_(std::min<size_t>(engine_->model().parameters.vocabulary, tokenizer_->vocabulary())),
      speculator_(engine_, sampled_),
      kept_(options_.kept_bytes) {
  if (options_.sequences == 0 || options_.queue == 0 || options_.beside == 0) {
    fail(ErrorCode::invalid_argument,
         "a scheduler needs sequences ({}), room in its queue ({}) and tokens beside others ({})",
         options_.sequences, options_.queue, options_.beside);
  }
  speculator_.set_draft(options_.draft);
  worker_ = std::thread([this] { work(); });
}

Scheduler::~Scheduler() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  worker_.join();
}

Scheduler::Ticket Scheduler::submit(Request request) {
  if (request.prompt.empty()) {
    const auto bos = tokenizer_->bos();
    if (!bos)
      fail(ErrorCode::invalid_argument, "the prompt is empty and the model has no BOS token to start from");
    request.prompt.push_back(*bos);
  }
  check_prompt(*engine_, request.prompt);
  check_options(request.options);
  speculator_.check(request.options.speculation);
  auto job = std::make_shared<Job>(std::move(request), *tokenizer_, sampled_);
  {
    const std::lock_guard lock(mutex_);
    if (!job->request.admitted && waiting_.size() >= options_.queue) {
      fail(ErrorCode::busy, "{} requests wait already, beside {} that are answered: ask again later",
           waiting_.size(), status_.running);
    }
    const auto before = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& other) {
      return other->request.priority < job->request.priority;
    });
    waiting_.insert(before, job);
  }
  wake_.notify_one();
  return Ticket(std::move(job));
}

SchedulerStatus Scheduler::status() const {
  const uint64_t kept = kept_.bytes();
  const std::lock_guard lock(mutex_);
  SchedulerStatus status = status_;
  status.waiting = static_cast<uint32_t>(waiting_.size());
  status.kept_bytes = kept;
  return status;
}

void Scheduler::work() {
  take_long_turns();
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock,
                 [&] { return stopping_ || !waiting_.empty() || !running_.empty() || !unsaved_.empty(); });
      if (stopping_) break;
    }
    ++turn_;
    drop_cancelled();
    admit();
    guess();
    const std::vector<Part> parts = plan();
    if (!parts.empty()) step(parts);
    save_one();
  }
  Jobs rest = running_;
  {
    const std::lock_guard lock(mutex_);
    rest.splice(rest.end(), waiting_);
  }
  for (const auto& job : rest) end(*job, FinishReason::cancelled);
  while (!unsaved_.empty()) save_one();
}

// Those that wait are answered in the middle of a step too.
void Scheduler::drop_cancelled_waiting() {
  Jobs out;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = waiting_.begin(); at != waiting_.end();) {
      const auto next = std::next(at);
      if ((*at)->cancelled) out.splice(out.end(), waiting_, at);
      at = next;
    }
  }
  for (const auto& job : out) end(*job, FinishReason::cancelled);
}

void Scheduler::drop_cancelled() {
  drop_cancelled_waiting();
  const Jobs running = running_;
  for (const auto& job : running) {
    try {
      if (job->wants_out()) end(*job, FinishReason::cancelled);
    } catch (...) {
      fail_with(*job, std::current_exception());
    }
  }
}

// As long as somebody waits for pages nobody else is begun.
void Scheduler::admit() {
  for (;;) {
    if (std::any_of(running_.begin(), running_.end(), [](const auto& job) { return job->no_room; })) return;
    std::shared_ptr<Job> job;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty() || running_.size() >= options_.sequences) return;
      job = std::move(waiting_.front());
      waiting_.pop_front();
      ++status_.running;
    }
    running_.push_back(job);
    try {
      begin(*job);
    } catch (...) {
      fail_with(*job, std::current_exception());
    }
  }
}

void Scheduler::begin(Job& job) {
  const std::span<const Token> prompt = job.request.prompt;
  job.since_begun.restart();
  job.logits.resize(engine_->model().parameters.vocabulary);
  const bool anew = job.request.options.reads_anew();
  if (!anew) job.sequence = kept_.find(prompt, engine_->chunk());
  if (!job.sequence) job.sequence = engine_->make_sequence();
  if (options_.files && !anew) {
    const uint32_t there = usable_prefix(options_.files->there(prompt), job.prompt(), engine_->chunk());
    try {
      if (there > job.sequence->length()) options_.files->load(*engine_, *job.sequence, prompt.first(there));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::out_of_memory) throw;  // its step will ask again, and wait
    }
  }
  begin_draft(job);
  Statistics& statistics = job.result.statistics;
  statistics.prompt_tokens = job.prompt();
  statistics.cached_tokens = job.sequence->length();
  const std::lock_guard lock(mutex_);
  status_.prompt_tokens += statistics.prompt_tokens;
  status_.cached_tokens += statistics.cached_tokens;
}

// What a small model has read of a text that begins alike.
void Scheduler::begin_draft(Job& job) {
  const Speculation kind = job.guesses.kind();
  if (!options_.draft || (kind != Speculation::draft && kind != Speculation::automatic)) return;
  DraftText& text = job.guesses.draft_text();
  text.sequence = kept_.find(job.request.prompt, options_.draft->chunk(), Reader::draft);
  if (!text.sequence) return;
  const auto read = job.request.prompt.begin() + static_cast<ptrdiff_t>(text.sequence->length());
  text.read.assign(job.request.prompt.begin(), read);
}

// … for those that come: when the prompt is read, and when the answer ends.
void Scheduler::keep_draft(Job& job, bool ends) {
  DraftText& text = job.guesses.draft_text();
  if (!text.sequence || (!ends && (job.draft_kept || text.read.size() < job.prompt()))) return;
  job.draft_kept = true;
  auto kept = ends ? std::move(text.sequence) : text.sequence->fork();
  const size_t most = std::min(text.read.size(), ends ? job.history.size() : size_t{job.prompt()});
  const auto differs =
      std::mismatch(text.read.begin(), text.read.begin() + static_cast<ptrdiff_t>(most), job.history.begin());
  const auto right = std::span(job.history).first(static_cast<size_t>(differs.first - text.read.begin()));
  kept_.keep(right, std::move(kept), Reader::draft);
}

void Scheduler::end(Job& job, FinishReason reason) {
  if (job.ended) return;
  Result& result = job.result;
  result.finish = reason;
  if (result.statistics.decode_tokens > 0) result.statistics.decode_seconds = job.since_first.seconds();
  try {
    job.answer.finish();
  } catch (...) {
    return fail_with(job, std::current_exception());
  }
  if (job.sequence) {
    if (job.right < job.sequence->length()) job.sequence->truncate(job.right);  // guesses
    const auto read = std::span<const Token>(job.history).first(job.sequence->length());
    if (!job.request.options.prompt_states) kept_.keep(read, std::move(job.sequence));
  }
  keep_draft(job, true);
  settle(job);
}

void Scheduler::fail_with(Job& job, std::exception_ptr error) {
  if (job.ended) return;
  settle(job, std::move(error));
}

// Whoever waits may go on before the next line here: what he can ask for is as it should be by then.
void Scheduler::settle(Job& job, std::exception_ptr error) {
  job.ended = true;
  job.sequence.reset();
  job.guesses.draft_text() = {};
  job.logits = job.states = {};
  const auto at =
      std::find_if(running_.begin(), running_.end(), [&](const auto& one) { return one.get() == &job; });
  const std::shared_ptr<Job> held = at != running_.end() ? *at : nullptr;
  if (at != running_.end()) {
    running_.erase(at);
    const std::lock_guard lock(mutex_);
    --status_.running;
  }
  if (error) {
    job.promise.set_exception(std::move(error));
  } else {
    job.promise.set_value(std::move(job.result));
  }
  if (job.request.finished) job.request.finished();
}

}  // namespace cairn::llm
