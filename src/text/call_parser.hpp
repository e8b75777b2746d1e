// Finds calls of tools in an answer's text, as it comes.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/tool_format.hpp"

namespace cairn::text {

// What may be called: a name, and a JSON schema of its arguments.
struct Tool {
  std::string name;
  nlohmann::ordered_json parameters;
};

struct CallPiece {
  enum class Kind : uint8_t {
    text,
    call,       // a name; its arguments follow
    arguments,  // some of them: together they are one JSON object, unless the answer was cut
  };
  Kind kind;
  std::string text;
};

// What looks like a call and is none, or is one of no known tool, is text. White space around calls is
// nobody's.
class CallParser {
 public:
  // Both must outlive it.
  CallParser(const ToolFormat& format, const std::vector<Tool>& tools);

  std::vector<CallPiece> push(std::string_view text);
  std::vector<CallPiece> finish();  // what was held back

 private:
  enum class State : uint8_t { text, call, after };
  enum class Step : uint8_t { go_on, wait };

  Step text_step();
  Step call_step();
  Step after_step();
  Step object_step();
  Step named_step();
  Step tagged_step();
  Step arguments_step();
  bool begin_call(const std::string& name);
  void add_value(std::string_view key, std::string_view value);
  Step no_call();
  void end_call(size_t taken);
  void emit(CallPiece::Kind kind, std::string_view text);

  const ToolFormat& format_;
  const std::vector<Tool>& tools_;
  const std::string mark_, next_mark_;  // that the first call begins with, and further ones; trimmed
  State state_ = State::text;
  bool begun_ = false;     // some text or call has been
  bool any_call_ = false;  // … a call
  bool in_array_ = false;
  std::string pending_;         // not yet understood
  std::string skipped_;         // of the call that is being read: what is text again if it is none
  const Tool* tool_ = nullptr;  // whose call was told
  size_t sent_ = 0;             // bytes of its arguments; tagged: of their number
  std::vector<CallPiece> pieces_;
};

}  // namespace cairn::text
