#include "offload/describe_graphs.hpp"

#include <fmt/format.h>

namespace cairn::offload {
namespace {

double mib(uint64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

}  // namespace

std::string describe_graphs(const ChunkPlan& plan, const GraphCount& count) {
  const uint32_t padding = plan.padding();
  std::string text = fmt::format("prefill of {} tokens: {} chunk{} of {}", plan.prompt,
                                 plan.lengths.size() - (plan.tail() ? 1 : 0),
                                 plan.lengths.size() - (plan.tail() ? 1 : 0) == 1 ? "" : "s", plan.chunk);
  if (plan.tail()) text += fmt::format(", the last by graphs of {}", plan.lengths.back());
  text += fmt::format(", {} tokens of padding\n", padding);
  text += fmt::format("  subgraphs of a chunk   {} ({} shared with other chunks, {} attention)\n",
                      count.chunk_subgraphs, count.chunk_shared, count.chunk_subgraphs - count.chunk_shared);
  text += fmt::format("  graphs compiled        {} instead of {}\n", count.compiled, count.unshared);
  text += fmt::format("  int8 weights, buffers  {:.1f} MiB instead of {:.1f}: {:.1f} MiB ({:.0f} %) saved\n",
                      mib(count.bytes), mib(count.unshared_bytes), mib(count.saved()),
                      100 * mib(count.saved()) / mib(count.unshared_bytes));
  return text;
}

nlohmann::ordered_json graphs_to_json(const ChunkPlan& plan, const GraphCount& count) {
  return {{"prompt", plan.prompt},
          {"chunk", plan.chunk},
          {"lengths", plan.lengths},
          {"padding", plan.padding()},
          {"chunk_subgraphs", count.chunk_subgraphs},
          {"chunk_shared", count.chunk_shared},
          {"compiled", count.compiled},
          {"unshared", count.unshared},
          {"bytes", count.bytes},
          {"unshared_bytes", count.unshared_bytes},
          {"saved_bytes", count.saved()}};
}

}  // namespace cairn::offload
