// What a scheduler's step takes, and what becomes of its results.
#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "llm/scheduler_job.hpp"

namespace cairn::llm {

// What everybody who decodes reads next: his last token, and guesses where rows are left for them.
void Scheduler::guess() {
  std::vector<Speculator::Text> texts;
  size_t decoding = 0;
  for (const auto& job : running_) {
    if (!job->decodes()) continue;
    ++decoding;
    if (job->guesses.kind() == Speculation::none) continue;
    const size_t room = engine_->context() - job->sequence->length(),
                 left = job->request.options.max_tokens - job->result.tokens.size();
    texts.push_back({&job->guesses, job->history, job->sequence.get(), std::min(room, left) - 1});
  }
  if (!texts.empty()) {
    speculator_.guess(texts, decoding, options_.beside, [this] {
      drop_cancelled_waiting();
      const std::lock_guard lock(mutex_);
      return stopping_;
    });
  }
  for (const auto& job : running_) {
    if (!job->decodes()) continue;
    keep_draft(*job, false);
    job->coming.assign(1, job->history.back());
    const std::span<const Token> guessed = job->guesses.tokens();
    if (guessed.empty()) continue;
    try {
      const auto allowed = guessed.first(job->constraint.count_allowed(guessed));
      job->coming.insert(job->coming.end(), allowed.begin(), allowed.end());
    } catch (const Error&) {
      // It goes without guesses; if the grammar fails for good, its next token tells.
    }
  }
}

// A token of everybody who decodes, and pieces of prompts as long as there are tokens left for them: of
// greater priority first, then whose turn was longest ago.
std::vector<Scheduler::Part> Scheduler::plan() {
  std::vector<Part> parts;
  std::vector<std::shared_ptr<Job>> prompts;
  for (const auto& job : running_) {
    if (!job->decodes()) {
      prompts.push_back(job);
    } else {
      // Guesses are worth no page that is not there.
      if (job->coming.size() > 1 && !room(*job, static_cast<uint32_t>(job->coming.size())))
        job->coming.resize(1);
      const auto tokens = static_cast<uint32_t>(job->coming.size());
      if (tokens > 1 || room(*job, 1)) parts.push_back({job, tokens});
    }
  }
  std::stable_sort(prompts.begin(), prompts.end(), [](const auto& a, const auto& b) {
    const int x = a->request.priority, y = b->request.priority;
    return x != y ? x > y : a->served < b->served;
  });
  const uint32_t chunk = engine_->chunk();
  const uint32_t most = parts.empty() ? chunk : std::min(options_.beside, chunk);
  uint32_t taken = 0;
  for (const auto& job : prompts) {
    const uint32_t done = job->sequence->length(), left = most - taken;
    const uint32_t wanted = job->request.options.prompt_logprobs ? std::min(left, kBlock) : left;
    // A model whose tokens see the whole text reads it in one step.
    const bool whole = !engine_->model().parameters.causal;
    const uint32_t piece = whole ? job->prompt() : next_piece(done, job->prompt(), chunk, wanted);
    if (taken > 0 && (piece > left || (left < kBlock && done + piece < job->prompt()))) break;
    if (!room(*job, piece)) continue;
    parts.push_back({job, piece});
    job->served = turn_;
    taken += piece;
    if (taken >= most) break;
  }
  if (parts.empty() && !running_.empty()) {
    // All wait for pages, which nobody will give back by himself.
    const std::shared_ptr<Job> last = *std::min_element(
        running_.rbegin(), running_.rend(),
        [](const auto& a, const auto& b) { return a->request.priority < b->request.priority; });
    if (running_.size() > 1 && last->result.tokens.empty()) {
      wait_again(*last);
    } else {
      fail_with(*last, last->no_room);
    }
  }
  return parts;
}

// Gives back the pages of a prompt that is half read; it is begun anew when the others have theirs.
void Scheduler::wait_again(Job& job) {
  const auto at =
      std::find_if(running_.begin(), running_.end(), [&](const auto& one) { return one.get() == &job; });
  job.sequence.reset();
  job.guesses.draft_text() = {};
  job.draft_kept = false;
  job.no_room = nullptr;
  job.result.statistics = {};
  const std::lock_guard lock(mutex_);
  --status_.running;
  const auto behind = std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& other) {
    return other->request.priority <= job.request.priority;
  });
  waiting_.splice(behind, running_, at);
}

// Pages for so many more tokens; kept prefixes go before anybody waits.
bool Scheduler::room(Job& job, uint32_t tokens) {
  for (;;) {
    bool ours = false;  // the model's pages are too many
    try {
      engine_->reserve(*job.sequence, tokens);
      if (options_.kv_bytes == 0 || engine_->kv_bytes() <= options_.kv_bytes) {
        job.no_room = nullptr;
        return true;
      }
      job.sequence->truncate(job.sequence->length());  // gives them back
      ours = true;
      fail(ErrorCode::out_of_memory,
           "no room for {} more tokens behind {}: keys and values may take {} bytes in all", tokens,
           job.sequence->length(), options_.kv_bytes);
    } catch (...) {
      job.no_room = std::current_exception();
    }
    if (!(ours ? kept_.drop_oldest(Reader::model) : kept_.drop_oldest())) return false;
  }
}

engine::Slice Scheduler::slice(const Part& part) {
  Job& job = *part.job;
  if (job.decodes()) {
    const size_t vocabulary = engine_->model().parameters.vocabulary;
    job.logits.resize(std::max(job.logits.size(), part.tokens * vocabulary));
    return {job.sequence.get(), job.coming, engine::Logits::all, job.logits.data()};
  }
  const uint32_t done = job.sequence->length();
  const auto tokens = std::span<const Token>(job.history).subspan(done, part.tokens);
  const GenerateOptions& options = job.request.options;
  const graph::HyperParameters& model = engine_->model().parameters;
  if (options.prompt_states) job.states.resize(part.tokens * size_t{model.embedding});
  if (options.prompt_logprobs) job.logits.resize(part.tokens * size_t{model.vocabulary});
  const bool last = done + part.tokens >= job.prompt() && options.max_tokens > 0;
  const auto wanted = options.prompt_logprobs ? engine::Logits::all
                      : last                  ? engine::Logits::last
                                              : engine::Logits::none;
  return {job.sequence.get(), tokens, wanted,
          job.logits.data(),  0,      options.prompt_states ? job.states.data() : nullptr};
}

void Scheduler::step(const std::vector<Part>& parts) {
  std::vector<engine::Slice> slices;
  for (const Part& part : parts) slices.push_back(slice(part));
  const bool decodes =
      std::all_of(parts.begin(), parts.end(), [](const Part& part) { return part.job->decodes(); });
  const Stopwatch watch;
  try {
    engine_->step(slices, [&] {
      drop_cancelled_waiting();
      {
        const std::lock_guard lock(mutex_);
        if (stopping_) return true;
      }
      // A prompt's piece is not waited for; a token is soon there.
      return std::any_of(parts.begin(), parts.end(),
                         [](const Part& part) { return !part.job->decodes() && part.job->wants_out(); });
    });
  } catch (const Error& error) {
    if (error.code() == ErrorCode::cancelled) return;
    return step_alone(parts);
  } catch (...) {
    return step_alone(parts);
  }
  if (decodes) {
    size_t rows = 0;
    for (const Part& part : parts) rows += part.tokens;
    speculator_.learn(rows, watch.seconds());
  }
  for (const Part& part : parts) advance(part);
}

// After an error: whoever it comes from is told, the others go on.
void Scheduler::step_alone(const std::vector<Part>& parts) {
  for (const Part& part : parts) {
    try {
      engine_->step(slice(part), [&] { return part.job->wants_out(); });
    } catch (const Error& error) {
      if (error.code() != ErrorCode::cancelled) fail_with(*part.job, std::current_exception());
      continue;
    } catch (...) {
      fail_with(*part.job, std::current_exception());
      continue;
    }
    advance(part);
  }
}

void Scheduler::advance(const Part& part) {
  Job& job = *part.job;
  const GenerateOptions& options = job.request.options;
  Statistics& statistics = job.result.statistics;
  {
    const std::lock_guard lock(mutex_);
    ++status_.slices;
  }
  try {
    if (!job.result.tokens.empty()) return take_tokens(job);
    statistics.prefill_tokens += part.tokens;
    statistics.prefill_seconds = job.since_begun.seconds();
    piece_read(job, part.tokens);
    if (options.progress) options.progress(job.sequence->length(), job.prompt());
    const size_t vocabulary = engine_->model().parameters.vocabulary;
    if (options.prompt_states) options.prompt_states(job.sequence->length() - part.tokens, job.states);
    if (options.prompt_logprobs) {
      tell_prompt_logprobs(options, job.request.prompt, job.sequence->length() - part.tokens, part.tokens,
                           job.logits, vocabulary, sampled_);
    }
    if (job.sequence->length() < job.prompt()) return;
    if (options.max_tokens == 0) return end(job, FinishReason::length);
    // A prompt's probabilities took the logits of many rows.
    if (options.prompt_logprobs)
      job.logits = {job.logits.end() - static_cast<ptrdiff_t>(vocabulary), job.logits.end()};
    take_token(job, std::span(job.logits).last(vocabulary));
  } catch (...) {
    fail_with(job, std::current_exception());
  }
}

// What others may begin with is kept as soon as it is there.
void Scheduler::piece_read(Job& job, uint32_t tokens) {
  const uint32_t length = job.sequence->length(), first = (length - tokens) / kBlock, end = length / kBlock;
  if (job.request.options.prompt_states) return;
  if (options_.files && end > first) {
    const auto read = std::span<const Token>(job.history).first(size_t{end} * kBlock);
    unsaved_.push_back({{read.begin(), read.end()}, job.sequence->fork(), first});
  }
  if (length == job.prompt() && end > 0) kept_.keep(job.request.prompt, job.sequence->fork());
}

// A guess is right where the sampler takes it; what was read behind a wrong one goes.
void Scheduler::take_tokens(Job& job) {
  const size_t vocabulary = engine_->model().parameters.vocabulary, rows = job.coming.size();
  const auto before = static_cast<uint32_t>(job.sequence->length() - rows);
  Statistics& statistics = job.result.statistics;
  ++statistics.decode_steps;
  statistics.guessed_tokens += static_cast<uint32_t>(rows - 1);
  size_t row = 0;
  for (;; ++row) {
    job.right = before + static_cast<uint32_t>(row) + 1;
    ++statistics.decode_tokens;
    if (row > 0) ++statistics.accepted_tokens;
    if (!take_token(job, std::span(job.logits).subspan(row * vocabulary, vocabulary))) return;
    if (row + 1 == rows || job.coming[row + 1] != job.history.back()) break;
    if (job.cancelled) return end(job, FinishReason::cancelled);
  }
  {
    const std::lock_guard lock(mutex_);
    status_.guessed += rows - 1;
    status_.accepted += row;
  }
  job.guesses.learn(rows - 1, row);
  if (job.right < job.sequence->length()) job.sequence->truncate(job.right);
}

// False: it was the last one.
bool Scheduler::take_token(Job& job, std::span<float> logits) {
  const uint32_t read = std::min(job.right, job.sequence->length());
  if (const auto bad = find_non_finite(logits)) {
    fail(ErrorCode::numeric, "the logit of token {} after position {} is {}", *bad, read - 1, logits[*bad]);
  }
  const GenerateOptions& options = job.request.options;
  const auto drawn = draw(job.sampler, job.constraint, logits.first(sampled_), job.history, options.logprobs);
  if (!drawn) {
    end(job, FinishReason::stop);
    return false;
  }
  const Token token = drawn->token;
  Result& result = job.result;
  if (result.tokens.empty()) {
    result.statistics.first_token_seconds = job.since_taken.seconds();
    job.since_first.restart();
  }
  if (!options.ignore_end && tokenizer_->is_end(token)) {
    end(job, FinishReason::stop);
    return false;
  }
  job.history.push_back(token);
  job.guesses.push(token);
  {
    const std::lock_guard lock(mutex_);
    ++status_.tokens;
  }
  std::optional<FinishReason> reason = job.answer.add(*drawn);
  if (!reason && (result.tokens.size() >= options.max_tokens || read == engine_->context()))
    reason = FinishReason::length;
  if (reason) end(job, *reason);
  return !reason;
}

// One block between two steps: nobody waits long for the disk.
void Scheduler::save_one() {
  if (unsaved_.empty()) return;
  Unsaved& one = unsaved_.front();
  if (size_t{one.next} * kBlock < one.tokens.size())
    options_.files->save(*engine_, *one.sequence, one.tokens, one.next++);
  if (size_t{one.next} * kBlock >= one.tokens.size()) unsaved_.pop_front();
}

}  // namespace cairn::llm
