#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "graph/graph.hpp"

namespace cairn::graph {

// A model's op lists for people: the embedding, each distinct layer's six subgraphs once (layers that differ
// only in their tensors' numbers are one), the head.
std::string describe(const Model& model);

// {"parameters": {...}, "embed": [op], "layers": [{subgraph: [op]}], "head": [op]}, every layer in full. An
// op is {"kind", "input", ...}; fields that hold their default are left out.
nlohmann::ordered_json to_json(const Model& model);

}  // namespace cairn::graph
