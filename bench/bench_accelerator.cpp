// The int8 graphs of one layer of SmolLM2-135M on prefill's devices, run in turn; last, what the products of
// all 30 layers alone would allow, and each device's time to make its graphs, first and from its cache.
//   bench_accelerator [--threads 2] [--tokens 256] [DEVICE...]    (cpu openvino:CPU)
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "offload/registry.hpp"

namespace {

using namespace cairn;

constexpr uint32_t kLayers = 30;
constexpr int kRounds = 40;

struct Shape {
  const char* name;
  uint32_t k;
  std::vector<uint32_t> rows;
};
const Shape kShapes[] = {{"q, k, v", 576, {576, 192, 192}},
                         {"attention's output", 576, {576}},
                         {"gate and up", 576, {1536, 1536}},
                         {"down", 1536, {576}}};

offload::Int8Graph graph_of(const Shape& shape, uint32_t layer, uint32_t tokens) {
  offload::Int8Graph graph{shape.name, layer * 10 + static_cast<uint64_t>(&shape - kShapes), tokens, {}};
  for (const uint32_t rows : shape.rows) {
    graph.linears.push_back(
        {shape.name, rows, shape.k,
         [k = shape.k, layer](uint32_t begin, uint32_t count, int8_t* values, float* scales) {
           uint64_t state = layer * 7919 + begin;
           for (size_t i = 0; i < size_t{count} * k; ++i) {
             state = state * 6364136223846793005U + 1442695040888963407U;
             values[i] = static_cast<int8_t>(static_cast<int>((state >> 40) % 255) - 127);
           }
           std::fill_n(scales, count, 0.01F);
         }});
  }
  return graph;
}

struct Engine {
  std::string name;
  std::unique_ptr<offload::Accelerator> accelerator;
  std::vector<std::unique_ptr<offload::AcceleratorGraph>> graphs;  // of each shape, of each layer
  std::vector<double> best = std::vector<double>(std::size(kShapes), 1e9);
};

void make_graphs(Engine& engine, uint32_t tokens, const offload::AcceleratorOptions& options) {
  engine.graphs.clear();
  engine.accelerator = offload::make_accelerator(engine.name, options);
  for (const Shape& shape : kShapes) {
    for (uint32_t layer = 0; layer < kLayers; ++layer)
      engine.graphs.push_back(engine.accelerator->compile(graph_of(shape, layer, tokens)));
  }
}

void measure(std::vector<Engine>& engines, uint32_t tokens) {
  const size_t most = (size_t{tokens} + 63) / 64 * 64 * 1536;  // the CPU's tiles are padded
  std::vector<uint8_t> input(most);
  for (size_t i = 0; i < most; ++i) input[i] = static_cast<uint8_t>(i * 37 % 251);
  std::vector<std::vector<float>> memory(3, std::vector<float>(most + 64));
  std::vector<float*> outputs;
  for (auto& each : memory) outputs.push_back(each.data());
  for (int round = 0; round < kRounds; ++round) {
    for (Engine& engine : engines) {
      for (size_t shape = 0; shape < std::size(kShapes); ++shape) {
        const Stopwatch watch;
        for (uint32_t layer = 0; layer < kLayers; ++layer)  // other weights each time, as in a model
          engine.graphs[shape * kLayers + layer]->run(input.data(),
                                                      {outputs.data(), kShapes[shape].rows.size()});
        engine.best[shape] = std::min(engine.best[shape], watch.seconds() / kLayers);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) try {
  offload::AcceleratorOptions options;
  options.threads = 2;
  options.notice = [](const std::string& line) { fmt::print("{}\n", line); };
  uint32_t tokens = 256;
  std::vector<Engine> engines;
  for (int i = 1; i < argc; ++i) {
    if (i + 1 < argc && std::strcmp(argv[i], "--threads") == 0) {
      options.threads = static_cast<uint32_t>(std::atoi(argv[++i]));
    } else if (i + 1 < argc && std::strcmp(argv[i], "--tokens") == 0) {
      tokens = static_cast<uint32_t>(std::atoi(argv[++i]));
    } else {
      engines.push_back({argv[i], nullptr, {}});
    }
  }
  if (engines.empty()) {
    for (const char* name : {"cpu", "openvino:CPU"}) engines.push_back({name, nullptr, {}});
  }
  std::string folder = (std::filesystem::temp_directory_path() / "cairn-bench-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) fail(ErrorCode::io, "cannot make {}", folder);
  options.cache_folder = folder;
  for (Engine& engine : engines) {
    make_graphs(engine, tokens, options);
    const double first = engine.accelerator->compile_seconds();
    make_graphs(engine, tokens, options);
    const double again = engine.accelerator->compile_seconds();
    fmt::print("{:<14} {} graphs made in {:.3f} s, again in {:.3f} s ({:.1f} %, {} from the cache)\n",
               engine.name, engine.graphs.size(), first, again, 100 * again / first,
               engine.accelerator->cached_graphs());
  }
  measure(engines, tokens);
  std::filesystem::remove_all(folder);
  for (const Engine& engine : engines) {
    double layer = 0;
    for (size_t shape = 0; shape < std::size(kShapes); ++shape) {
      uint64_t products = 0;
      for (const uint32_t rows : kShapes[shape].rows) products += uint64_t{rows} * kShapes[shape].k * tokens;
      fmt::print("{:<14} {:<20} {:.3f} ms  {:5.0f} GOPS\n", engine.name, kShapes[shape].name,
                 engine.best[shape] * 1e3, 2e-9 * static_cast<double>(products) / engine.best[shape]);
      layer += engine.best[shape];
    }
    fmt::print("{:<14} a layer in {:.2f} ms: products alone allow {:.0f} tok/s\n", engine.name, layer * 1e3,
               tokens / (layer * kLayers));
  }
} catch (const cairn::Error& error) {
  fmt::print(stderr, "bench_accelerator: {}\n", error.what());
  return 1;
}
