// How a model calls tools: found in what its template writes of a call.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "text/chat_template.hpp"
#include "text/scan.hpp"
#include "text/tokenizer.hpp"

namespace cairn::text {

// The calls at the end of an answer: open call (between call)… close, where a call is
//   object: call_open {"name_key": NAME, "arguments_key": {…}} call_close; with `array` all calls are one
//   JSON
//           array of those, and each has no texts of its own
//   named:  call_open NAME after_name {…} call_close
//   tagged: call_open NAME after_name (key_open KEY key_close VALUE value_close)… call_close
// Values of `tagged` are JSON; strings stand for themselves.
struct ToolFormat {
  enum class Shape : uint8_t { object, named, tagged };

  Shape shape = Shape::object;
  std::string open{}, close{}, call_open{}, call_close{}, between{};
  bool several = false;  // an answer may have more than one call
  bool array = false;
  std::string name_key{}, arguments_key{};
  bool name_first = true;
  std::string after_name{};
  std::string key_open{}, key_close{}, value_close{};
  // How the template takes calls of earlier turns: their arguments as JSON's text in place of an object, a
  // content of null where there is none.
  bool arguments_as_text = false, null_content = false;

  // What a call begins with, up to where its own text does, without blanks around it; empty: nothing of its
  // own.
  std::string mark() const { return std::string(trimmed(open + call_open)); }
};

// Found by rendering a conversation with a call, with two, and without, and looking at what differs. nullopt:
// the template writes no calls, or not in one of these ways.
std::optional<ToolFormat> tool_format(const ChatTemplate& chat_template, const Tokenizer& tokenizer);

// For templates that know no tools: one that a system message can explain.
ToolFormat plain_tool_format();

}  // namespace cairn::text
