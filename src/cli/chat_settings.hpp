#pragma once

#include <string>
#include <vector>

#include "llm/session.hpp"

namespace cairn::cli {

// `/set NAME VALUE` of chat: temperature, top-k, top-p, min-p, repetition-penalty, max-tokens, seed; also
// with _ for -, and ollama's "parameter" before it. Error invalid_argument says which names there are, or
// what is wrong with the value; nothing changes then.
void set_parameter(llm::GenerateOptions& options, const std::string& words);

// Each parameter and its value, a line each.
std::string parameters(const llm::GenerateOptions& options);

std::vector<std::string> parameter_names();

}  // namespace cairn::cli
