// Options and results of answers: what sessions, chats and batches share.
#pragma once

#include <optional>
#include <span>

#include "cairn/session.h"
#include "capi/objects.hpp"
#include "llm/session.hpp"
#include "llm/tool_use.hpp"

namespace cairn::capi {

// The caller's options with what they point to copied, `callbacks` too; null is the usual ones. Errors: as
// read_options(), invalid_argument, unsupported (what an answer is held to, without the library for it).
struct Wanted {
  Wanted(const cairn_generate_options* options, Model& model);
  // True where the caller's callback says so. Asked by llm's thread.
  bool is_cancelled() const { return given.is_cancelled != nullptr && given.is_cancelled(given.user) != 0; }
  llm::TokenCallback token() const;
  // The options for an answer to these tokens. A chat gives its own text to `tools`.
  llm::GenerateOptions options_for(std::span<const int32_t> prompt, const Model& model) const;

  const llm::ToolUse* tool_use() const { return tools ? &*tools : nullptr; }

  cairn_generate_options given;  // its arrays are not to be read
  llm::GenerateOptions options;  // without `cancelled`, and without what tools ask for
  std::optional<llm::ToolUse> tools{};
};

// `options`, for a call that has the session's turn: cairn_session_cancel ends it as well as `wanted`'s
// callback, which must outlive it.
llm::GenerateOptions cancellable(Session& session, const Wanted& wanted, llm::GenerateOptions options);

// Empties the caller's result, which may be null. Error invalid_argument: its size was not set.
void prepare(cairn_result* result);
// Writes it; nothing of it is handed out where that fails.
void write(cairn_result* to, const llm::Result& result);

}  // namespace cairn::capi
