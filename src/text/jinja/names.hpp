#pragma once

#include <string_view>

#include "text/jinja/ast.hpp"

namespace cairn::text::jinja {

// Error unsupported, with line and column, for a filter or a test that does not exist. As in jinja2, one
// inside a condition's branches is let through: templates may ask first ("{% if 'x' is filter %}").
void check_names(const ast::Frame& root, std::string_view source);

}  // namespace cairn::text::jinja
