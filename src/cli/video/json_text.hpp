#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace cairn::cli {

// As --json prints it. Names that are not UTF-8 come with replacement characters (U+FFFD).
inline std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace cairn::cli
