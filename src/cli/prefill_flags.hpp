// Flags that prefill on a matrix engine, shared by the commands that run a model.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/output_flags.hpp"
#include "cli/quantize_flags.hpp"
#include "llm/model.hpp"
#include "offload/engine.hpp"

namespace cairn::cli {

struct PrefillFlags {
  std::string device;  // empty: the engine's own prefill on the CPU
  std::string bundle;  // a folder of `cairn compile`; empty: graphs are compiled here
  std::string policy = "look-ahead", trace, timeline;
  uint32_t chunk = 0;             // 0: measured on the device
  double npu_bits = 0;            // of a stack, on devices that compile weights in; 0: offload::kUsualNpuBits
  std::string form = "products";  // offload::NpuForm
  bool sequential = false;
  QuantizeFlags quantize;
  OutputFlags files;

  // Whether any of them has been used that says how prompts are read.
  bool given() const { return !device.empty() || quantize.given() || !quantize.calibration.empty(); }
};

// --prefill --bundle --chunk --npu-bits --npu-form --policy --sequential --trace --timeline --force and those
// of quantize_flags.hpp
void add_prefill_flags(CLI::App& command, PrefillFlags& flags);
// … without --trace, --timeline and --force, for commands that run until they are told to end.
void add_served_prefill_flags(CLI::App& command, PrefillFlags& flags);

CLI::Option* add_npu_bits(CLI::App& command, double& bits);
CLI::Option* add_npu_form(CLI::App& command, std::string& form);

// Error invalid_argument: a form of whole layers with what is for products.
offload::NpuForm npu_form(const std::string& form, const QuantizeFlags& quantize, double npu_bits);

// Before the model is loaded: --trace and --timeline are none of the files that the command reads.
void check_outputs(const PrefillFlags& flags, const std::string& model, std::vector<std::string> inputs);

// The engine that the flags ask for. options.context 0: as Model::make_engine.
std::shared_ptr<engine::Engine> make_engine(const llm::Model& model, engine::Options options,
                                            const PrefillFlags& flags);

// What prefill on a device did: writes --trace and --timeline, and one line to standard error. Does nothing
// for an engine without a device.
void report_prefill(const engine::Engine& engine, const PrefillFlags& flags, bool quiet);

}  // namespace cairn::cli
