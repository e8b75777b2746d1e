#pragma once

#include <nlohmann/json_fwd.hpp>

namespace cairn::capi {

// Error format: no JSON, or too deep; `what` names it.
nlohmann::ordered_json parse_json(const char* text, const char* what);

}  // namespace cairn::capi
