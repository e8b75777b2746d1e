#pragma once

#include "graph/graph.hpp"

namespace cairn::stack {

// Training reads the op lists that engines run: Differentiator's passes and libtorch's (src/torch) know the
// same ops in the same places. Error unsupported names the first op that they do not know, with its slot and
// place.
void check_trainable(const graph::Model& model);

}  // namespace cairn::stack
