// What passes of error feedback and sweeps of coordinate descent gain: rows of a model's layers, those that
// its tables are fitted to, each loss as part of what the row is worth.
//
//   bench_sweeps MODEL TEXT [WINDOWS]
//
// A line a setting: passes, sweeps, seconds of processor time, and the mean over the rows at each number of
// bits.
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <ctime>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "base/mapped_file.hpp"
#include "graph/graph.hpp"
#include "llm/model.hpp"
#include "measure/evaluate.hpp"
#include "quantize/collector.hpp"
#include "stack/fit_tables.hpp"
#include "stack/table_samples.hpp"

namespace cairn {
namespace {

constexpr uint32_t kWindow = 512;

std::vector<stack::TableSample> samples(const llm::Model& model, std::string_view text, uint32_t count,
                                        ThreadPool& pool) {
  const graph::Model graph = graph::load(model.file());
  const auto sources = stack::linear_sources(model.file(), graph);
  std::vector<std::vector<float>> importance;
  for (const stack::Source& source : sources) importance.emplace_back(source.tensor->rows(), 1.0f);
  const auto windows = measure::evaluation_windows(*model.tokenizer(), text, kWindow, count);
  const auto observe = [&](const stack::ObserveInputs& add) {
    quantize::InputOrder order;
    engine::Options options{.context = kWindow, .chunk = kWindow};
    options.observer = [&](uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t) {
      add(layer, order.next(slot), rows, tokens);
    };
    const auto engine = model.make_engine(options);
    const auto sequence = engine->make_sequence();
    for (const auto& window : windows) {
      sequence->truncate(0);
      engine->step({sequence.get(), window});
    }
  };
  return stack::table_samples(sources, importance, graph.layers.size(), observe, pool,
                              [](uint64_t, uint64_t) {});
}

void run(const std::vector<stack::TableSample>& samples, const stack::Tables& tables, unsigned passes,
         unsigned sweeps, ThreadPool& pool) {
  stack::FitOptions options;
  options.passes = passes;
  options.sweeps = sweeps;
  std::array<double, stack::kPlanes + 1> sums{};
  double rows = 0;
  const std::clock_t start = std::clock();
  for (const stack::TableSample& sample : samples) {
    const size_t count = sample.importance.size();
    const auto fitted = stack::fit_matrix(sample.weights, static_cast<uint32_t>(count),
                                          static_cast<uint32_t>(sample.factors->width), *sample.factors,
                                          tables, options, pool);
    for (unsigned k = 1; k <= stack::kPlanes; ++k) {
      for (size_t r = 0; r < count; ++r)
        sums[k] += static_cast<double>(fitted.losses[k][r] / fitted.losses[0][r]);
    }
    rows += static_cast<double>(count);
  }
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  fmt::print("{} passes {} sweeps {:7.1f} s", passes, sweeps, seconds);
  for (unsigned k = 1; k <= stack::kPlanes; ++k) fmt::print(" {:.3e}", sums[k] / rows);
  fmt::print("\n");
}

}  // namespace
}  // namespace cairn

int main(int argc, char** argv) {
  try {
    if (argc < 3) throw std::runtime_error("bench_sweeps MODEL TEXT [WINDOWS]");
    const auto model = cairn::llm::Model::load(argv[1]);
    const cairn::MappedFile file(argv[2]);
    const auto windows = static_cast<uint32_t>(cairn::number(argc, argv, 3, 8));
    cairn::ThreadPool pool(cairn::usable_processors(), cairn::ThreadPool::Idle::sleep);
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    const auto samples = cairn::samples(*model, text, windows, pool);
    const auto tables = cairn::stack::fit_tables(samples, cairn::stack::gaussian_tables(), {}, pool);
    for (const auto& [passes, sweeps] :
         {std::pair{1u, 0u}, {2u, 0u}, {3u, 0u}, {1u, 1u}, {1u, 2u}, {2u, 4u}, {2u, 8u}})
      cairn::run(samples, tables, passes, sweeps, pool);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
