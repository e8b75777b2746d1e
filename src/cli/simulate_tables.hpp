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

}  // namespace cairn::cli
