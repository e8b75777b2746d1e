#pragma once

#include "jinja/ast.hpp"

namespace cairn::jinja {

// Fills Frame::reserved throughout the tree. jinja2 decides before rendering where a name lives: a frame that
// assigns a name before it reads it owns that name from its beginning, so that an inner frame which runs
// before the assignment finds it undefined even if the caller passed a variable of this name.
void reserve_names(ast::Frame& root);

}  // namespace cairn::jinja
