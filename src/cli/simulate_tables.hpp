#pragma once

#include <array>
#include <nlohmann/json.hpp>
#include <string>

#include "measure/phone_tables.hpp"

namespace cairn::cli {

inline constexpr std::array kSimulateTables = {"prefill",  "stages", "tasks",    "energy",
                                               "schedule", "forms",  "constants"};

struct SimulateTables {
  measure::TableOptions table;  // what is empty is the paper's
  bool json = false;            // nothing is printed
};

// Prints one of them for people, unless JSON is wanted; returns it as JSON.
nlohmann::ordered_json simulate_table(const std::string& name, const SimulateTables& options);
// Of a folder of `cairn compile`: graphs that a chunk runs and what crosses for them. Errors: Bundle::read's.
nlohmann::ordered_json bundle_table(const std::string& folder, bool json);

}  // namespace cairn::cli
