#pragma once

#include <CLI/CLI.hpp>
#include <optional>

#include "llm/pooling.hpp"

namespace cairn::cli {

// --pooling: empty where the model's file shall say.
void add_pooling_flag(CLI::App& command, std::optional<llm::Pooling>& pooling);

}  // namespace cairn::cli
