#include "offload/openvino/accelerator.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <filesystem>
#include <map>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "offload/openvino/device.hpp"
#include "offload/openvino/program.hpp"
#include "offload/openvino/weights.hpp"

namespace cairn::offload {
namespace openvino {
namespace {

// int8 sums rounded to float once are off by 6e-8; devices that compute in half precision by up to 5e-4.
constexpr double kCpuTolerance = 1e-5, kDeviceTolerance = 4e-3;

// Weights that drive int8 sums to their extremes: rows of one sign, of alternating ones, and of both in runs.
Int8Graph extreme_graph(const GraphShape& shape) {
  Int8Graph graph{"probe", 0, shape.tokens, {}};
  for (const uint32_t rows : shape.rows) {
    const uint32_t k = shape.k;
    graph.linears.push_back(
        {"probe", rows, k, [k](uint32_t begin, uint32_t count, int8_t* values, float* scales) {
           for (uint32_t r = begin; r < begin + count; ++r, ++scales) {
             *scales = 0.01F * static_cast<float>(1 + r % 7);
             for (uint32_t c = 0; c < k; ++c) {
               const bool negative = r % 3 == 1 ? c % 2 != 0 : r % 3 == 2 && c / 4 % 2 != 0;
               *values++ = static_cast<int8_t>(negative ? -127 : 127 - static_cast<int>(c * r % 3));
             }
           }
         }});
  }
  return graph;
}

AcceleratorTraits traits_of(const std::string& device, WeightPlacement placement) {
  const std::string name = "openvino:" + device;
  return {.name = name,
          .label = name,
          .layout = ActivationLayout::rows,
          .shares_processors = kind_of(device).processors,
          .takes_moving_weights = placement == WeightPlacement::inputs,
          .weight_copies = placement == WeightPlacement::inputs ? 1U : 2U};
}

WeightPlacement usual_placement(const std::string& device) {
  return kind_of(device).processors ? WeightPlacement::inputs : WeightPlacement::constants;
}

class Graph final : public AcceleratorGraph {
 public:
  Graph(std::string name, std::shared_ptr<Program> program, std::shared_ptr<const Weights> weights)
      : name_(std::move(name)), program_(std::move(program)), weights_(std::move(weights)) {}
  void run(const void* values, std::span<float* const> outputs) override {
    program_->run(name_, values, weights_.get(), outputs);
  }

 private:
  std::string name_;
  std::shared_ptr<Program> program_;
  std::shared_ptr<const Weights> weights_;
};

// Whose weights are taken anew before each run.
class MovingGraph final : public AcceleratorGraph {
 public:
  MovingGraph(Int8Graph graph, std::shared_ptr<Program> program, Weights weights, ThreadPool* pool)
      : graph_(std::move(graph)), program_(std::move(program)), weights_(std::move(weights)), pool_(pool) {}
  void run(const void* values, std::span<float* const> outputs) override {
    weights_.take(graph_, pool_);
    program_->run(graph_.name, values, &weights_, outputs);
  }

 private:
  const Int8Graph graph_;
  const std::shared_ptr<Program> program_;
  Weights weights_;
  ThreadPool* const pool_;
};

class OpenvinoAccelerator final : public Accelerator {
 public:
  OpenvinoAccelerator(Device device, const AcceleratorOptions& options, WeightPlacement placement)
      : device_(std::move(device)),
        traits_(traits_of(device_.name, placement)),
        options_(options),
        placement_(placement) {
    if (options_.cache_folder.empty()) return;
    std::error_code error;
    std::filesystem::create_directories(options_.cache_folder, error);
    if (!error) return;
    notice(fmt::format("{}: {}; nothing is cached", options_.cache_folder, error.message()));
    options_.cache_folder.clear();
  }

  const AcceleratorTraits& traits() const override { return traits_; }
  uint64_t weight_bytes() const override { return weight_bytes_; }
  // A processor's plug-in works in this process's memory.
  uint64_t outside_bytes() const override { return device_.kind->processors ? 0 : outside_bytes_; }
  double compile_seconds() const override { return seconds_; }
  uint32_t cached_graphs() const override { return cached_; }

  std::unique_ptr<AcceleratorGraph> compile(const Int8Graph& graph) override {
    const Stopwatch watch;
    const GraphShape shape = shape_of(graph);
    auto made = placement_ == WeightPlacement::inputs ? with_weights_as_inputs(graph, shape)
                                                      : with_weights_inside(graph, shape);
    seconds_ += watch.seconds();
    return made;
  }

 private:
  bool caching() const { return !options_.cache_folder.empty(); }
  void notice(const std::string& line) const {
    if (options_.notice) options_.notice(line);
  }

  std::unique_ptr<AcceleratorGraph> with_weights_as_inputs(const Int8Graph& graph, const GraphShape& shape) {
    if (graph.linears.front().moves()) return with_moving_weights(graph, shape);
    bool weights_cached = false;
    std::shared_ptr<const Weights> weights = weights_[graph.key].lock();
    if (weights && weights->layout().bytes == WeightLayout(shape).bytes) {
      weights_cached = true;  // another chunk length has them
    } else {
      weights = caching() ? Weights::from_cache(options_.cache_folder, graph, shape, &weights_cached,
                                                options_.notice)
                          : std::make_shared<const Weights>(graph, shape);
      weights_[graph.key] = weights;
      weight_bytes_ += weights->layout().bytes;
    }
    const std::shared_ptr<Program>& program = program_of(graph, shape);
    if (program->from_cache() && weights_cached) ++cached_;
    return std::make_unique<Graph>(graph.name, program, std::move(weights));
  }

  std::unique_ptr<AcceleratorGraph> with_moving_weights(const Int8Graph& graph, const GraphShape& shape) {
    const std::shared_ptr<Program>& program = program_of(graph, shape);
    if (program->from_cache()) ++cached_;
    return std::make_unique<MovingGraph>(graph, program, Weights(shape, moving_), options_.pool);
  }

  // Where weights are inputs.
  const std::shared_ptr<Program>& program_of(const Int8Graph& graph, const GraphShape& shape) {
    std::shared_ptr<Program>& program = programs_[shape];
    if (!program) {
      program = load_or_compile(graph, shape, 0, [&] {
        return exact_program(graph.name, shape, nullptr, Weights(extreme_graph(shape), shape));
      });
    }
    return program;
  }

  std::unique_ptr<AcceleratorGraph> with_weights_inside(const Int8Graph& graph, const GraphShape& shape) {
    auto program = load_or_compile(graph, shape, graph.key, [&] {
      const auto weights = std::make_shared<const Weights>(graph, shape);
      return exact_program(graph.name, shape, weights, *weights);
    });
    outside_bytes_ += WeightLayout(shape).bytes;
    weight_bytes_ += WeightLayout(shape).bytes + program->kept_bytes();
    if (program->from_cache()) ++cached_;
    return std::make_unique<Graph>(graph.name, std::move(program), nullptr);
  }

  // int8, or float on a processor whose int8 products are not exact (OpenVINO halves weights or lets sums
  // saturate where there is no VNNI).
  std::shared_ptr<Program> exact_program(const std::string& graph, const GraphShape& shape,
                                         std::shared_ptr<const Weights> constants, const Weights& probe) {
    if (!int8_is_inexact_) {
      auto program =
          std::make_shared<Program>(device_, graph, shape, placement_, Arithmetic::int8, constants);
      const double error = program->worst_error(graph, probe);
      if (error <= (device_.kind->processors ? kCpuTolerance : kDeviceTolerance)) return program;
      if (!device_.kind->processors) {
        fail(ErrorCode::unsupported, "{}, graph {}: its int8 products are off by {:.2g} of the largest sum",
             traits_.name, graph, error);
      }
      int8_is_inexact_ = true;
      notice(fmt::format("{}: int8 products are off by {:.2g} on this processor; multiplying in float",
                         traits_.name, error));
    }
    return std::make_shared<Program>(device_, graph, shape, placement_, Arithmetic::f32,
                                     std::move(constants));
  }

  // key: of what is compiled in beside the shape; 0: nothing.
  template <class Compile>
  std::shared_ptr<Program> load_or_compile(const Int8Graph& graph, const GraphShape& shape, uint64_t key,
                                           const Compile& compile) {
    if (!caching()) return compile();
    const std::string text = shape.text();
    const std::string path =
        fmt::format("{}/{:016x}-{}-{}.blob", options_.cache_folder,
                    XXH3_64bits_withSeed(text.data(), text.size(), key), shape.tokens, device_.setting);
    const std::string identity =
        fmt::format("cairn graph 1\n{}\n{:016x}\n{}", text, key, device_.fingerprint);
    std::string why;
    try {
      if (auto blob = open_sealed(path, identity, &why)) {
        return std::make_shared<Program>(device_, graph.name, shape, placement_, std::move(*blob));
      }
    } catch (const Error& error) {
      why = fmt::format("{}: {}", path, error.what());
    }
    if (!why.empty()) notice(why + "; it is compiled anew");
    std::shared_ptr<Program> program = compile();
    try {
      program->write_blob(path, identity);
    } catch (const Error& error) {
      notice(fmt::format("{}; the next start will not be faster", error.what()));
    }
    return program;
  }

  Device device_;
  const AcceleratorTraits traits_;
  AcceleratorOptions options_;
  WeightPlacement placement_;
  bool int8_is_inexact_ = false;
  std::map<GraphShape, std::shared_ptr<Program>> programs_;
  std::map<uint64_t, std::weak_ptr<const Weights>> weights_;
  // Of one graph's weights: only one runs at a time.
  const std::shared_ptr<Buffer> moving_ = std::make_shared<Buffer>();
  uint64_t weight_bytes_ = 0, outside_bytes_ = 0;
  double seconds_ = 0;
  uint32_t cached_ = 0;
};

}  // namespace

AcceleratorKind kind() {
  return {
      .name = "openvino",
      .names = {"openvino:CPU", "openvino:GPU", "openvino:NPU"},
      .list = list_devices,
      .traits = [](const std::string& device) { return traits_of(device, usual_placement(device)); },
      .make = [](const std::string& device,
                 const AcceleratorOptions& options) { return make_openvino_accelerator(device, options); }};
}

}  // namespace openvino

std::unique_ptr<Accelerator> make_openvino_accelerator(const std::string& device,
                                                       const AcceleratorOptions& options,
                                                       openvino::WeightPlacement placement) {
  return std::make_unique<openvino::OpenvinoAccelerator>(openvino::open_device(device, options.threads),
                                                         options, placement);
}

std::unique_ptr<Accelerator> make_openvino_accelerator(const std::string& device,
                                                       const AcceleratorOptions& options) {
  return make_openvino_accelerator(device, options, openvino::usual_placement(device));
}

}  // namespace cairn::offload
