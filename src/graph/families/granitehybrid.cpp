// granitehybrid: Granite 4 H: granite's factors; Mamba-2 in the layers without kv heads, attention without
// RoPE in the others; experts beside one that all tokens share, or a usual feed-forward part.
#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  (p.experts != 0 ? granitemoe_family() : granite_family()).read(file, p);
  read_mamba2(file, p);
}

Model build_granitehybrid(const HyperParameters& p) {
  return build_sequential(p, {.recurrent = add_mamba2});
}

}  // namespace

void read_mamba2(const gguf::File& file, HyperParameters& p) {
  const Metadata in(file);
  p.conv_window = in.size("ssm.conv_kernel", kMostConvWindow);
  p.scan_state = in.size("ssm.state_size", kMaxDeltaSize);
  const uint32_t width = read_state_heads(in, p);
  if (width % p.delta_heads != 0) {
    fail(ErrorCode::format, "{}: {} is {}, not a multiple of {} = {}", in.path(), in.key("ssm.inner_size"),
         width, in.key("ssm.time_step_rank"), p.delta_heads);
  }
  p.delta_size = width / p.delta_heads;
  if (p.delta_size > kMaxDeltaSize) {
    fail(ErrorCode::format, "{}: {} is {}: {} heads of {}, expected at most {}", in.path(),
         in.key("ssm.inner_size"), width, p.delta_heads, p.delta_size, kMaxDeltaSize);
  }
  check_state(in, width, p.scan_state);
  p.conv_channels = width + 2 * p.delta_key_heads * p.scan_state;  // fits, as the sizes are bounded
  for (uint32_t layer = 0; layer < p.layers; ++layer) {
    if (!p.is_recurrent(layer)) continue;
    p.conv_bias = file.find_tensor(layer_tensor(layer, "ssm_conv1d.bias")) != nullptr;
    p.scan_bias = file.find_tensor(layer_tensor(layer, "ssm_in.bias")) != nullptr;
    break;
  }
}

const Family& granitehybrid_family() {
  static constexpr Family family{.architecture = "granitehybrid",
                                 .read = read,
                                 .build = build_granitehybrid,
                                 .recurrent = true,
                                 .some_mixtures = true};
  return family;
}

}  // namespace cairn::graph
