#pragma once

#include <functional>
#include <optional>
#include <string>

#include "grammar/kind.hpp"
#include "server/fields.hpp"
#include "server/served_model.hpp"

namespace cairn::server {

// What an answer's text must match, and the field that says so.
struct OutputFormat {
  grammar::Kind kind;
  std::string text;  // as grammar::Compiler takes it
  std::string param;
};

// OpenAI's response_format, vLLM's guided_… and structured_outputs, llama.cpp's json_schema and grammar; at
// most one of them. Throws ApiError 400 that names the field: of another type, an unknown kind.
std::optional<OutputFormat> read_output_format(const Fields& fields);

// model.grammars, made when it is first wanted.
grammar::Compiler& grammars(const ServedModel& model);
// Runs `work`, which compiles: what it fails for is the request's fault and `param`'s.
void compiling(const std::string& param, const std::function<void()>& work);

}  // namespace cairn::server
