// What a model thinks before it answers, told from the answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/chat_template.hpp"
#include "text/tokenizer.hpp"

namespace cairn::text {

// Texts that stand before and behind reasoning.
struct ReasoningMarks {
  std::string open, close;
};

// What the template writes around a message's reasoning_content: "<…>" or "[…]" that stand nowhere else. If
// it writes none: <think> and </think>, if the template knows the latter or both are tokens. nullopt: the
// model does not reason in a way that could be told.
std::optional<ReasoningMarks> reasoning_marks(const ChatTemplate& chat_template, const Tokenizer& tokenizer);

// Whether what follows the prompt is reasoning: its end has opened it, and nothing closed it.
bool ends_in_reasoning(std::string_view prompt, const ReasoningMarks& marks);

// Splits an answer that begins with reasoning, as it comes. White space around the reasoning belongs to
// neither. An answer that begins otherwise is text, whatever it contains.
class ReasoningSplitter {
 public:
  struct Split {
    std::string reasoning, text;
  };
  // in_reasoning: the prompt has opened it.
  ReasoningSplitter(ReasoningMarks marks, bool in_reasoning)
      : marks_(std::move(marks)), state_(in_reasoning ? State::reasoning : State::beginning) {}

  Split push(std::string_view text);
  Split finish();  // what was held back
  bool in_reasoning() const { return state_ == State::reasoning; }

 private:
  enum class State : uint8_t { beginning, reasoning, gap, text };
  void step(Split& split);

  ReasoningMarks marks_;
  State state_;
  bool begun_ = false;  // some of the reasoning is out
  std::string pending_;
};

}  // namespace cairn::text
