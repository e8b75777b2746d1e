#include "offload/cpu_accelerator.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/buffer.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/machine.hpp"
#include "base/thread_pool.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/static_int8.hpp"

namespace cairn::offload {
namespace cpu {
namespace {

constexpr uint32_t kPanelRows = 48;  // a multiple of every target's tile_rows

// Int8 rows of one matrix with what `multiply` needs beside them.
struct Panel {
  Panel(size_t rows, size_t k)
      : values(rows * k), scales(rows * sizeof(float)), corrections(rows * sizeof(int32_t)) {}
  void fill(const Int8Linear& linear, uint32_t begin, uint32_t count, size_t at,
            const kernels::StaticKernels& kernels) {
    int8_t* to = values.as<int8_t>() + at * linear.k;
    linear.fill(begin, count, to, scales.as<float>() + at);
    kernels.corrections(to, count, linear.k, corrections.as<int32_t>() + at);
  }
  uint64_t bytes() const { return values.bytes() + scales.bytes() + corrections.bytes(); }
  Buffer values, scales, corrections;
};

using Panels = std::vector<Panel>;  // one a linear

// What runs that keep no weights work in, a thread's each; one graph runs at a time.
struct Scratch {
  Panels panels{};
  std::vector<Buffer> results{};  // of a panel and a tile
  size_t k = 0;

  void fit(size_t threads, size_t columns, size_t lanes) {
    if (columns <= k) return;
    k = columns;
    panels.clear();
    results.clear();
    for (size_t thread = 0; thread < threads; ++thread) {
      panels.emplace_back(kPanelRows, k);
      results.emplace_back(kPanelRows * lanes * sizeof(float));
    }
  }
};

class CpuGraph final : public AcceleratorGraph {
 public:
  // scratch: fits the graph.
  CpuGraph(Int8Graph graph, std::shared_ptr<const Panels> kept, std::shared_ptr<Scratch> scratch,
           const kernels::StaticKernels& kernels, ThreadPool& pool)
      : graph_(std::move(graph)),
        kept_(std::move(kept)),
        scratch_(std::move(scratch)),
        kernels_(kernels),
        pool_(pool) {
    for (uint32_t i = 0; i < graph_.linears.size(); ++i) {
      const Int8Linear& linear = graph_.linears[i];
      const auto rows = linear.moves() ? static_cast<uint32_t>(linear.order.size()) : linear.rows;
      for (uint32_t row = 0; row < rows; row += kPanelRows) tasks_.push_back({i, row});
    }
  }

  void run(const void* values, std::span<float* const> outputs) override {
    const size_t lanes = kernels_.tile_tokens, tiles = (graph_.tokens + lanes - 1) / lanes;
    pool_.run(tasks_.size(), [&](size_t thread, size_t index) {
      const Task& task = tasks_[index];
      const Int8Linear& linear = graph_.linears[task.linear];
      if (linear.moves()) return run_moving(task, thread, values, outputs[task.linear]);
      const uint32_t rows = std::min(kPanelRows, linear.rows - task.row);
      const size_t padded = round_up(rows, kernels_.tile_rows);
      const Panel& panel = kept_ ? (*kept_)[task.linear] : scratch_->panels[thread];
      const size_t at = kept_ ? task.row : 0;
      if (!kept_) scratch_->panels[thread].fill(linear, task.row, rows, 0, kernels_);
      const size_t stride = round_up(linear.rows, kernels_.tile_rows) * lanes;
      for (size_t tile = 0; tile < tiles; ++tile) {
        kernels_.multiply(panel.values.as<int8_t>() + at * linear.k, panel.corrections.as<int32_t>() + at,
                          panel.scales.as<float>() + at, padded, linear.k,
                          static_cast<const uint8_t*>(values) + tile * linear.k * lanes,
                          outputs[task.linear] + tile * stride + task.row * lanes);
      }
    });
  }

 private:
  struct Task {
    uint32_t linear, row;
  };

  // Rows as they are stored, each result to where it belongs.
  void run_moving(const Task& task, size_t thread, const void* values, float* out) {
    const Int8Linear& linear = graph_.linears[task.linear];
    const size_t lanes = kernels_.tile_tokens, tiles = (graph_.tokens + lanes - 1) / lanes;
    const auto order = linear.order.subspan(task.row);
    const auto rows = static_cast<uint32_t>(std::min<size_t>(kPanelRows, order.size()));
    Panel& panel = scratch_->panels[thread];
    float* const results = scratch_->results[thread].as<float>();
    linear.fill_stored(task.row, rows, panel.values.as<int8_t>(), panel.scales.as<float>());
    kernels_.corrections(panel.values.as<int8_t>(), rows, linear.k, panel.corrections.as<int32_t>());
    const size_t stride = round_up(linear.rows, kernels_.tile_rows) * lanes;
    for (size_t tile = 0; tile < tiles; ++tile) {
      kernels_.multiply(panel.values.as<int8_t>(), panel.corrections.as<int32_t>(), panel.scales.as<float>(),
                        round_up(rows, kernels_.tile_rows), linear.k,
                        static_cast<const uint8_t*>(values) + tile * linear.k * lanes, results);
      for (uint32_t r = 0; r < rows; ++r) {
        if (order[r] != UINT32_MAX)
          std::copy_n(results + r * lanes, lanes, out + tile * stride + order[r] * lanes);
      }
    }
  }

  const Int8Graph graph_;
  const std::shared_ptr<const Panels> kept_;
  const std::shared_ptr<Scratch> scratch_;
  const kernels::StaticKernels& kernels_;
  ThreadPool& pool_;
  std::vector<Task> tasks_;
};

class CpuAccelerator final : public Accelerator {
 public:
  CpuAccelerator(const AcceleratorOptions& options, const AcceleratorTraits& traits)
      : traits_(traits),
        keep_(options.keep_weights),
        kernels_(kernels::kernel_set(kernels::default_target()).exact),
        pool_(options.threads) {}

  const AcceleratorTraits& traits() const override { return traits_; }

  std::unique_ptr<AcceleratorGraph> compile(const Int8Graph& graph) override {
    const Stopwatch clock;
    for (const Int8Linear& linear : graph.linears) {
      if (linear.k % 4 != 0) {
        fail(ErrorCode::unsupported, "device cpu: {}: rows of {} values are no multiple of 4", linear.name,
             linear.k);
      }
      if (linear.k > kernels::kMostStaticColumns) {
        fail(ErrorCode::unsupported, "device cpu: {}: rows of {} values are longer than {}", linear.name,
             linear.k, kernels::kMostStaticColumns);
      }
    }
    std::shared_ptr<const Panels> kept;
    if (keeps(graph)) {
      kept = weights(graph);
    } else {
      scratch_->fit(pool_.threads(), graph.linears.front().k, kernels_.tile_tokens);
    }
    auto compiled = std::make_unique<CpuGraph>(graph, std::move(kept), scratch_, kernels_, pool_);
    seconds_ += clock.seconds();
    return compiled;
  }
  uint64_t weight_bytes() const override {
    uint64_t total = 0;
    for (const auto& [key, panels] : weights_) {
      if (const auto alive = panels.lock()) {
        for (const Panel& panel : *alive) total += panel.bytes();
      }
    }
    return total;
  }
  double compile_seconds() const override { return seconds_; }
  uint32_t cached_graphs() const override { return 0; }

 private:
  bool keeps(const Int8Graph& graph) const {
    return keep_ && std::ranges::none_of(graph.linears, &Int8Linear::moves);
  }
  // Graphs of another chunk length share the same weights.
  std::shared_ptr<const Panels> weights(const Int8Graph& graph) {
    std::weak_ptr<const Panels>& known = weights_[graph.key];
    if (auto alive = known.lock()) return alive;
    auto panels = std::make_shared<Panels>();
    for (const Int8Linear& linear : graph.linears) {
      Panel& panel = panels->emplace_back(round_up(linear.rows, kernels_.tile_rows), linear.k);
      pool_.run((linear.rows + kPanelRows - 1) / kPanelRows, [&](size_t, size_t index) {
        const auto row = static_cast<uint32_t>(index * kPanelRows);
        panel.fill(linear, row, std::min(kPanelRows, linear.rows - row), row, kernels_);
      });
    }
    known = panels;
    return panels;
  }

  const AcceleratorTraits traits_;
  const bool keep_;
  const kernels::StaticKernels& kernels_;
  ThreadPool pool_;
  const std::shared_ptr<Scratch> scratch_ = std::make_shared<Scratch>();
  std::unordered_map<uint64_t, std::weak_ptr<const Panels>> weights_;
  double seconds_ = 0;
};

}  // namespace
}  // namespace cpu

AcceleratorTraits cpu_traits() {
  return {.name = "cpu", .label = "CPU", .layout = ActivationLayout::tiles, .takes_moving_weights = true};
}

std::unique_ptr<Accelerator> make_cpu_accelerator(const AcceleratorOptions& options,
                                                  const AcceleratorTraits& traits) {
  return std::make_unique<cpu::CpuAccelerator>(options, traits);
}

AcceleratorKind cpu_kind() {
  const auto traits = [](const std::string& device) {
    if (!device.empty())
      fail(ErrorCode::invalid_argument, "no device is called 'cpu:{}': cpu is one", device);
    return cpu_traits();
  };
  return {.name = "cpu",
          .names = {"cpu"},
          .list =
              [] {
                return std::vector<AcceleratorInfo>{
                    {"cpu", true, processor_name() + ", int8 products on some threads, float on the others"}};
              },
          .traits = traits,
          .make =
              [traits](const std::string& device, const AcceleratorOptions& options) {
                return make_cpu_accelerator(options, traits(device));
              }};
}

}  // namespace cairn::offload
