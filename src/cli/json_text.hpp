#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace cairn::cli {

// As --json prints it. Strings of files need not be UTF-8, JSON's must: what is not comes with replacement
// characters (U+FFFD).
inline std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace cairn::cli
