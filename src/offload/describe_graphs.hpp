#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "offload/chunks.hpp"

namespace cairn::offload {

// A plan and what sharing its graphs saves, for people and for scripts: {"prompt", "chunk", "lengths",
// "padding", "chunk_subgraphs", "chunk_shared", "compiled", "unshared", "bytes", "unshared_bytes",
// "saved_bytes"}.
std::string describe_graphs(const ChunkPlan& plan, const GraphCount& count);
nlohmann::ordered_json graphs_to_json(const ChunkPlan& plan, const GraphCount& count);

}  // namespace cairn::offload
