// What families with Mamba-2 share: Granite 4's and Nemotron's checkpoints.
#pragma once

#include <cstdint>
#include <string>

#include "convert/config.hpp"
#include "convert/layer_rules.hpp"
#include "convert/metadata.hpp"
#include "convert/names.hpp"

namespace cairn::convert {

constexpr uint32_t kMambaContext = 1 << 20;  // what the converter writes: nothing but memory bounds it

enum class Kind : uint8_t { mamba, attention, mlp, experts };

// For attention.head_count_kv: 0 in layers that have none.
int32_t kv_heads_of(const Config& config, Kind kind);

struct MambaNames {
  const char *heads, *groups, *state, *window;  // in the config
};

struct MambaSizes {
  uint64_t width, heads, groups, state, window;  // width: channels of all heads
};

// Error format: heads that do not divide the width, groups that do not divide the heads.
MambaSizes mamba_sizes(const Config& config, const MambaNames& names, uint64_t width);
void mamba_metadata(const MambaSizes& sizes, ModelMetadata& out);
// `from`: what stands before the parts' names, "mixer.".
void mamba_layer(LayerRules& layer, const std::string& from, uint64_t hidden, const MambaSizes& sizes);
// Attention whose rows of q and k become neighbours.
void attention_layer(LayerRules& layer, const std::string& from, const TensorPlan& plan);

}  // namespace cairn::convert
