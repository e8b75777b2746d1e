#include <fmt/format.h>

#include "cli/simulate_tables.hpp"
#include "offload/onnx/bundle.hpp"

namespace cairn::cli {

nlohmann::ordered_json bundle_table(const std::string& folder, bool json) {
  const offload::onnx::Bundle bundle = offload::onnx::Bundle::read(folder);
  const double megabytes = 1e-6 * static_cast<double>(bundle.bytes());
  nlohmann::ordered_json chunks = nlohmann::ordered_json::array();
  if (!json)
    fmt::print("{}: {} for {}, {:.1f} MB\n{:>6} {:>7} {:>6} {:>6} {:>32}\n", folder, bundle.model,
               bundle.chip, megabytes, "tokens", "graphs", "MB in", "out",
               "MB if each of 4 chunks had its own");
  for (const uint32_t tokens : bundle.chunk_lengths()) {
    const offload::onnx::Bundle::Chunk chunk = bundle.chunk(tokens);
    chunks.push_back({{"tokens", tokens}, {"graphs", chunk.graphs}, {"in", chunk.in}, {"out", chunk.out}});
    if (!json)
      fmt::print("{:>6} {:>7} {:>6.2f} {:>6.2f} {:>32.1f}\n", tokens, chunk.graphs,
                 1e-6 * static_cast<double>(chunk.in), 1e-6 * static_cast<double>(chunk.out), 4 * megabytes);
  }
  return {{"folder", folder},
          {"model", bundle.model},
          {"chip", bundle.chip},
          {"bytes", bundle.bytes()},
          {"chunks", chunks}};
}

}  // namespace cairn::cli
