#include "measure/evaluate.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "base/interruptible.hpp"
#include "measure/log_probability.hpp"

namespace cairn::measure {
namespace {

// Logits of an engine held at a time; a vocabulary of 262,144 takes 1 MiB a token.
constexpr size_t kLogitsBytes = size_t{128} << 20;

uint32_t rows_at_a_time(const engine::Engine& engine) {
  const size_t fit = kLogitsBytes / (sizeof(float) * engine.model().parameters.vocabulary);
  return static_cast<uint32_t>(std::clamp<size_t>(fit, 1, engine.chunk()));
}

// Summaries of rows [rows, vocabulary], computed by all threads.
std::vector<RowSummary> summaries(ThreadPool& pool, std::span<const float> logits, size_t vocabulary,
                                  std::span<const text::Token> tokens, uint32_t position) {
  std::vector<RowSummary> rows(logits.size() / vocabulary);
  run_interruptible(pool, rows.size(), [&](size_t, size_t row) {
    rows[row] = summarize(logits.subspan(row * vocabulary, vocabulary));
  });
  for (size_t row = 0; row < rows.size(); ++row) {
    if (!std::isfinite(rows[row].log_sum)) {
      fail(ErrorCode::numeric, "NaN or infinity in the logits after position {} (token {})", position + row,
           tokens[row]);
    }
  }
  return rows;
}

class LossSum {
 public:
  // A window of two tokens has one prediction, which is in either half.
  explicit LossSum(size_t context) : half_(std::min(context / 2, context - 2)) {}

  void add(size_t position, double loss) {
    all_ += loss;
    ++count_;
    if (position >= half_) {
      second_half_ += loss;
      ++second_half_count_;
    }
  }
  Perplexity result() const {
    return {std::exp(all_ / static_cast<double>(count_)),
            std::exp(second_half_ / static_cast<double>(second_half_count_)), count_};
  }

 private:
  size_t half_;
  double all_ = 0, second_half_ = 0;
  uint64_t count_ = 0, second_half_count_ = 0;
};

size_t total_tokens(std::span<const std::vector<text::Token>> windows) {
  size_t total = 0;
  for (const auto& window : windows) total += window.size();
  return total;
}

void require_windows(std::span<const std::vector<text::Token>> windows) {
  if (windows.empty() || windows.front().size() < 2) {
    fail(ErrorCode::invalid_argument, "nothing to evaluate: no window of at least 2 tokens");
  }
}

// −log p of each row's next token within the window.
void add_losses(LossSum& sum, std::span<const text::Token> window, uint32_t position,
                std::span<const float> logits, std::span<const RowSummary> rows) {
  const size_t vocabulary = logits.size() / rows.size();
  for (size_t row = 0; row < rows.size(); ++row) {
    const size_t next = position + row + 1;
    if (next == window.size()) break;
    sum.add(next - 1, rows[row].log_sum -
                          static_cast<double>(logits[row * vocabulary + static_cast<size_t>(window[next])]));
  }
}

}  // namespace

std::vector<std::vector<text::Token>> evaluation_windows(const text::Tokenizer& tokenizer,
                                                         std::string_view text, uint32_t context,
                                                         size_t limit) {
  if (context < 2)
    fail(ErrorCode::invalid_argument, "a window of {} tokens is too short: at least 2", context);
  const std::vector<text::Token> special = tokenizer.encode("");
  const bool begins = !special.empty() && tokenizer.bos() && special.front() == *tokenizer.bos();
  std::vector<text::Token> tokens;
  if (begins) tokens.push_back(*tokenizer.bos());
  const std::vector<text::Token> encoded = tokenizer.encode(text, {.add_bos = false, .add_eos = false});
  tokens.insert(tokens.end(), encoded.begin(), encoded.end());
  if (tokens.size() < context) {
    fail(ErrorCode::invalid_argument, "the text has {} tokens, fewer than one window of {}", tokens.size(),
         context);
  }
  size_t count = tokens.size() / context;
  if (limit != 0) count = std::min(count, limit);
  std::vector<std::vector<text::Token>> windows(count);
  for (size_t i = 0; i < count; ++i) {
    const auto begin = tokens.begin() + static_cast<ptrdiff_t>(i * context);
    windows[i].assign(begin, begin + static_cast<ptrdiff_t>(context));
    if (begins) windows[i].front() = *tokenizer.bos();
  }
  return windows;
}

Evaluator::Evaluator(engine::Engine& engine, ThreadPool& pool, EvaluateProgress progress,
                     engine::Cancelled cancelled)
    : engine_(engine),
      pool_(pool),
      progress_(progress ? std::move(progress) : [](uint64_t, uint64_t) {}),
      cancelled_(std::move(cancelled)) {}

Perplexity Evaluator::perplexity(std::span<const std::vector<text::Token>> windows, const LogitsSink& sink) {
  require_windows(windows);
  const size_t vocabulary = engine_.model().parameters.vocabulary, step = rows_at_a_time(engine_);
  const uint64_t total = total_tokens(windows);
  std::vector<float> buffer(step * vocabulary);
  LossSum sum(windows.front().size());
  uint64_t done = 0;
  for (size_t i = 0; i < windows.size(); ++i) {
    const auto sequence = engine_.make_sequence();
    for (size_t begin = 0; begin < windows[i].size(); begin += step) {
      progress_(done, total);
      const auto tokens = std::span(windows[i]).subspan(begin, std::min(step, windows[i].size() - begin));
      const auto position = static_cast<uint32_t>(begin);
      engine_.step({sequence.get(), tokens, engine::Logits::all, buffer.data()}, cancelled_);
      const auto logits = std::span<const float>(buffer).first(tokens.size() * vocabulary);
      add_losses(sum, windows[i], position, logits, summaries(pool_, logits, vocabulary, tokens, position));
      if (sink) {
        for (size_t row = 0; row < tokens.size(); ++row) {
          sink(i, static_cast<uint32_t>(begin + row), logits.subspan(row * vocabulary, vocabulary));
        }
      }
      done += tokens.size();
    }
  }
  progress_(done, total);
  return sum.result();
}

Agreement Evaluator::agreement(engine::Engine& reference, std::span<const std::vector<text::Token>> windows) {
  require_windows(windows);
  const size_t vocabulary = engine_.model().parameters.vocabulary;
  // The passes of perplexity(): attention in prefill rounds by tiles of a pass, so others would not agree.
  const size_t step = std::min(rows_at_a_time(engine_), rows_at_a_time(reference));
  const uint64_t total = total_tokens(windows);
  std::vector<float> buffer(step * vocabulary), reference_buffer(step * vocabulary);
  LossSum sum(windows.front().size()), reference_sum(windows.front().size());
  Agreement result;
  uint64_t same = 0;
  for (const std::vector<text::Token>& window : windows) {
    const auto sequence = engine_.make_sequence(), reference_sequence = reference.make_sequence();
    for (size_t begin = 0; begin < window.size(); begin += step) {
      progress_(result.positions, total);
      const auto tokens = std::span(window).subspan(begin, std::min(step, window.size() - begin));
      const auto position = static_cast<uint32_t>(begin);
      const auto run = [&](engine::Engine& engine, engine::Sequence& its, std::vector<float>& into,
                           LossSum& losses) {
        engine.step({&its, tokens, engine::Logits::all, into.data()}, cancelled_);
        const auto logits = std::span<const float>(into).first(tokens.size() * vocabulary);
        std::vector<RowSummary> rows = summaries(pool_, logits, vocabulary, tokens, position);
        add_losses(losses, window, position, logits, rows);
        return rows;
      };
      const std::vector<RowSummary> rows = run(engine_, *sequence, buffer, sum);
      const std::vector<RowSummary> reference_rows =
          run(reference, *reference_sequence, reference_buffer, reference_sum);
      std::vector<double> divergences(tokens.size());
      run_interruptible(pool_, tokens.size(), [&](size_t, size_t row) {
        const auto of = [&](const std::vector<float>& all) {
          return std::span<const float>(all).subspan(row * vocabulary, vocabulary);
        };
        divergences[row] = kl_divergence(of(reference_buffer), reference_rows[row], of(buffer), rows[row]);
      });
      for (size_t row = 0; row < tokens.size(); ++row) {
        result.mean_kl += divergences[row];
        result.max_kl = std::max(result.max_kl, divergences[row]);
        same += rows[row].best == reference_rows[row].best ? 1 : 0;
      }
      result.positions += tokens.size();
    }
  }
  progress_(result.positions, total);
  result.mean_kl /= static_cast<double>(result.positions);
  result.top1 = static_cast<double>(same) / static_cast<double>(result.positions);
  result.engine = sum.result();
  result.reference = reference_sum.result();
  return result;
}

}  // namespace cairn::measure
