#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "cli/output_flags.hpp"

namespace cairn::cli {

// `bench --simulate`: a prefill on a simulated phone.
struct SimulateFlags {
  std::string device;  // empty: nothing is simulated
  std::string shape = "qwen1.5-1.8b", stage = "outliers";
  std::vector<std::string> policies;  // empty: look-ahead, or overlap before the last stage
  double prune = 0.85;
  std::string trace, timeline;     // files to write
  std::vector<double> span;        // of an SVG timeline, milliseconds
  uint32_t prompt = 0, chunk = 0;  // the benchmark's own flags
  bool json = false;
  OutputFlags files;
};

void add_simulate_flags(CLI::App& command, SimulateFlags& flags);
void run_simulation(const SimulateFlags& flags);

}  // namespace cairn::cli
