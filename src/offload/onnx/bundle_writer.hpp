// Compiling into a bundle, graph by graph.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/interrupt.hpp"
#include "offload/layer_graph.hpp"
#include "offload/onnx/bundle.hpp"
#include "offload/onnx/device.hpp"

namespace cairn::offload::onnx {

struct BundleOptions {
  std::string folder;             // appears when it is whole; must not be there
  std::string chip;               // as chip_of() takes it
  std::string model{}, scheme{};  // as they are called
  WeightBits bits = WeightBits::eight;
  // A context a graph: what the emulator can load, and each chunk length has weights of its own. Else one
  // context for all, with the weights once.
  bool separate = false;
  NpuForm form = NpuForm::products;
  uint32_t context = 0;  // whole layers: positions of a sequence
};

// What is told when a session shall keep its compiled graph in a file of its own.
std::vector<std::pair<std::string, std::string>> context_entries(const std::string& path);
// Where graphs share a context, the model that names it, beside a graph's file.
std::string shared_model(const std::string& graph_file);

class BundleWriter {
 public:
  // Errors: of open_device; invalid_argument (the folder is there), io.
  explicit BundleWriter(const BundleOptions& options);
  ~BundleWriter();  // what was not finished is removed
  BundleWriter(const BundleWriter&) = delete;
  BundleWriter& operator=(const BundleWriter&) = delete;

  // last: of the whole bundle. Errors: ProductRefused (the graph is named), io (a disk that is full).
  void add(const Int8Graph& graph, bool last);
  void add(const LayerGraph& layer, bool last);
  const Bundle& finish();

 private:
  // entry: but for the file and its size.
  void add(BundleGraph entry, const std::string& identity, const WrittenModel& written, bool last);

  BundleOptions options_;
  Device device_;
  Bundle bundle_;
  std::string unfinished_;                 // beside the folder
  std::optional<BeforeForcedEnd> forced_;  // removes it: compiling one graph may take longer than patience
  std::vector<Handle<Session>> sessions_;  // those that share a context, until it is written
};

}  // namespace cairn::offload::onnx
