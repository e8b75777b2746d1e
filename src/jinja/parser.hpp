#pragma once

#include <string_view>

#include "jinja/ast.hpp"

namespace cairn::jinja {

// Parses a normalised source (normalize_source). Errors name line and column: format for what jinja2 would
// not parse either, unsupported for its tags that cairn leaves out (extends, include, import, block, ...).
ast::Frame parse(std::string_view source);

}  // namespace cairn::jinja
