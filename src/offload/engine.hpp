#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "engine/engine.hpp"
#include "offload/layer_graph.hpp"
#include "offload/registry.hpp"
#include "offload/tasks.hpp"
#include "offload/timeline.hpp"
#include "quantize/scheme.hpp"

namespace cairn::offload {

constexpr double kUsualNpuBits = 4, kMostNpuBits = 8;

struct PrefillOptions {
  // chunk: the graphs' fixed length, 0: measured on the device (profile_chunk); threads: both sides together.
  engine::Options engine;
  std::string device = "cpu";  // as make_accelerator takes it
  AcceleratorOptions accelerator;
  NpuForm form = NpuForm::products;  // others have no scheme: theirs is all the quantisation that there is
  Policy policy = Policy::look_ahead;
  // Whether device and CPU work at the same time; without it one task runs after the other, on all threads.
  bool concurrent = true;
  // A stack, on a device that compiles weights in: how many bits a weight of the file it takes, 1 to
  // kMostNpuBits, which is all planes; 0: kUsualNpuBits.
  double npu_bits = 0;
  // Every token goes through the int8 path, single ones too: for measuring what the scheme costs.
  bool everything = false;
  std::shared_ptr<const TaskSeconds> times{};  // expected, from a calibration; null: learned from run to run
  std::function<void(const std::string&)> warn{};  // gets one line when the device fails and the CPU goes on
};

struct PrefillStatistics {
  uint64_t shadow_elements = 0;      // activations beyond the int8 range that shadow execution made good
  uint64_t hot_columns = 0;          // compact columns whose weights were in memory
  uint64_t cold_columns = 0;         // … that were gathered from the model file
  uint64_t cold_bytes = 0;           // read for those
  uint64_t shadow_bytes = 0;         // memory of hot weights and compact tensors
  uint64_t device_weight_bytes = 0;  // copies of weights that the device holds
  uint64_t recomputed_outputs = 0;   // beyond the device's range, so that the CPU computed them
  uint32_t graphs = 0, cached_graphs = 0;
  double compile_seconds = 0;
  // Of whole layers: how often a chunk went to the device, and what did, there and back.
  uint64_t crossings = 0, bytes_in = 0, bytes_out = 0;
  bool fell_back = false;  // the device failed; the CPU went on
};

// An engine whose long slices run as chunks of shared int8 graphs on an accelerator with float work beside
// it, and whose decode goes on from the same pages and the same weights on the CPU. Of a stack, devices that
// take weights anew in every run get what is in memory then; others compile a copy, which counts in the
// budget and is given back for good when it leaves the blocks too little.
class PrefillEngine : public engine::Engine {
 public:
  // Another scheme for the same model: graphs are compiled anew, sequences are kept. Error invalid_argument:
  // layers that disagree with the model.
  virtual void set_scheme(const quantize::Scheme& scheme) = 0;
  virtual uint32_t chunk_length() const = 0;     // of the graphs; chunk() is what one slice takes
  virtual const Timeline& timeline() const = 0;  // of all passes of the last prompt
  virtual const PrefillStatistics& statistics() const = 0;
};

// Errors: as cpu::make_engine and make_accelerator; invalid_argument (a scheme of another model; npu_bits out
// of range, of a model that is no stack, or for a device that takes what is in memory).
std::unique_ptr<PrefillEngine> make_prefill_engine(const gguf::File& file, const quantize::Scheme& scheme,
                                                   const PrefillOptions& options);

}  // namespace cairn::offload
