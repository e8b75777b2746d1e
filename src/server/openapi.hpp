#pragma once

#include <string_view>
#include <vector>

#include "server/fields.hpp"

namespace cairn::server {

// The files of openapi/, compiled into the program: a part of the description each.
const std::vector<std::string_view>& openapi_parts();

// What all paths take and give, as OpenAPI 3.1 has it (/openapi.json). models: the names that are served.
Json openapi(const std::vector<std::string>& models);

}  // namespace cairn::server
