#include "text/reasoning.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "text/scan.hpp"

namespace cairn::text {
namespace {

constexpr std::string_view kThink = "<think>", kThought = "</think>";

// "<…>" or "[…]" at the end of the text; empty: there is none.
std::string_view last_mark(std::string_view text) {
  text = trimmed_back(text);
  if (text.empty() || (text.back() != '>' && text.back() != ']')) return {};
  const size_t begin = text.rfind(text.back() == '>' ? '<' : '[');
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

// … at its beginning.
std::string_view first_mark(std::string_view text) {
  text = trimmed_front(text);
  if (text.empty() || (text.front() != '<' && text.front() != '[')) return {};
  const size_t end = text.find(text.front() == '<' ? '>' : ']');
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end + 1);
}

bool is_once(std::string_view text, std::string_view mark) {
  const size_t at = text.find(mark);
  return at != std::string_view::npos && text.find(mark, at + 1) == std::string_view::npos;
}

// What the template writes around reasoning.
std::optional<ReasoningMarks> written_marks(const ChatTemplate& chat_template) {
  constexpr std::string_view kReasoning = "cairn reasons";
  const nlohmann::ordered_json variables = {
      {"messages",
       {{{"role", "user"}, {"content", "question"}},
        {{"role", "assistant"}, {"content", "answer"}, {"reasoning_content", kReasoning}}}},
      {"bos_token", ""},
      {"eos_token", ""},
      {"add_generation_prompt", false}};
  std::string rendered;
  try {
    rendered = chat_template.render(variables);
  } catch (const Error&) {  // a template that takes no such conversation
    return std::nullopt;
  }
  if (!is_once(rendered, kReasoning)) return std::nullopt;
  const std::string_view all = rendered;
  const size_t at = all.find(kReasoning);
  const std::string_view open = last_mark(all.substr(0, at)),
                         close = first_mark(all.substr(at + kReasoning.size()));
  if (open.empty() || close.empty() || !is_once(all, open) || !is_once(all, close)) return std::nullopt;
  return ReasoningMarks{std::string(open), std::string(close)};
}

}  // namespace

std::optional<ReasoningMarks> reasoning_marks(const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  if (auto written = written_marks(chat_template)) return written;
  const bool known = chat_template.source().find(kThought) != std::string::npos ||
                     (tokenizer.find(kThink) && tokenizer.find(kThought));
  if (!known) return std::nullopt;
  return ReasoningMarks{std::string(kThink), std::string(kThought)};
}

bool ends_in_reasoning(std::string_view prompt, const ReasoningMarks& marks) {
  return trimmed_back(prompt).ends_with(marks.open);
}

ReasoningSplitter::Split ReasoningSplitter::push(std::string_view text) {
  pending_ += text;
  Split split;
  for (State before = State::text; state_ != State::text && state_ != before;) {
    before = state_;
    step(split);
  }
  if (state_ == State::text) split.text += std::exchange(pending_, {});
  return split;
}

// Takes what is certain out of pending_.
void ReasoningSplitter::step(Split& split) {
  const std::string_view pending = pending_;
  if (state_ == State::beginning) {
    const std::string_view begins = trimmed_front(pending);
    if (begins.starts_with(marks_.open)) {
      state_ = State::reasoning;
      pending_ = begins.substr(marks_.open.size());
    } else if (!std::string_view(marks_.open).starts_with(begins)) {
      state_ = State::text;
    }
  } else if (state_ == State::reasoning) {
    const size_t close = pending.find(marks_.close);
    const bool closed = close != std::string_view::npos;
    std::string_view certain = closed
                                   ? pending.substr(0, close)
                                   : pending.substr(0, pending.size() - begun_at_end(pending, marks_.close));
    certain = trimmed_back(certain);  // more may follow, and then it belongs to it
    const size_t taken = closed ? close + marks_.close.size() : certain.size();
    if (!begun_) certain = trimmed_front(certain);
    begun_ = begun_ || !certain.empty();
    split.reasoning += certain;
    if (closed) state_ = State::gap;
    pending_.erase(0, taken);
  } else if (state_ == State::gap) {
    pending_ = trimmed_front(pending);
    if (!pending_.empty()) state_ = State::text;
  }
}

ReasoningSplitter::Split ReasoningSplitter::finish() {
  Split split;
  std::string_view rest = pending_;
  if (state_ == State::beginning) split.text = rest;
  if (state_ == State::reasoning) {
    rest = trimmed_back(rest);
    split.reasoning = begun_ ? rest : trimmed_front(rest);
  }
  pending_.clear();
  return split;
}

}  // namespace cairn::text
