#pragma once

#include <string_view>

#include "jinja/ast.hpp"

namespace cairn::jinja {

// Error unsupported, with line and column, for a filter or a test that does not exist. As in jinja2, one
// inside a condition's branches is let through: templates may ask first ("{% if 'x' is filter %}").
void check_names(const ast::Frame& root, std::string_view source);

}  // namespace cairn::jinja
