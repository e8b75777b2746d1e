// How far the int8 products' sums of real text reach, and so what a 16-bit output needs room for: of each
// product the largest |Σ x w| / (127 ‖w‖), the share of a row's step in the error, and how many sums, of how
// many rows, are beyond some ranges.
//   bench_ranges MODEL TEXT [TOKENS] [rotation|token]
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.hpp"
#include "base/mapped_file.hpp"
#include "llm/model.hpp"
#include "measure/evaluate.hpp"
#include "offload/engine.hpp"
#include "quantize/make_scheme.hpp"

namespace cairn::offload {
namespace {

constexpr std::array<double, 7> kRanges = {1, 1.5, 2, 2.5, 3, 4, 6};  // in 127 ‖w‖
constexpr double kSteps = 32767;

struct Reach {
  std::array<uint64_t, kRanges.size()> beyond{}, rows{};  // sums, and rows that have any
  uint64_t sums = 0;
  double largest = 0, power = 0, norms = 0;  // Σ (Σ x w)² and Σ (127 ‖w‖)², both in units of the row's scale

  // Root mean square of a rounding to the range's steps, in parts of the sums'.
  double step_error(double range) const { return range / kSteps * std::sqrt(norms / power / 12); }
};

// Multiplies exactly and keeps count.
class Counting final : public Accelerator {
 public:
  explicit Counting(std::map<std::string, Reach>& reaches) : reaches_(reaches) {}
  const AcceleratorTraits& traits() const override { return traits_; }
  std::unique_ptr<AcceleratorGraph> compile(const Int8Graph& graph) override {
    return std::make_unique<Graph>(graph, reaches_[graph.name.substr(graph.name.rfind('.') + 1)]);
  }
  uint64_t weight_bytes() const override { return 0; }
  double compile_seconds() const override { return 0; }
  uint32_t cached_graphs() const override { return 0; }

 private:
  struct Graph final : AcceleratorGraph {
    Graph(const Int8Graph& source, Reach& of) : graph(source), reach(of) {}
    void run(const void* values, std::span<float* const> outputs) override {
      const auto* x = static_cast<const int8_t*>(values);
      for (size_t i = 0; i < graph.linears.size(); ++i) {
        const size_t k = graph.linears[i].k, rows = graph.linears[i].rows;
        std::vector<int8_t> row(k);
        for (uint32_t r = 0; r < rows; ++r) {
          float scale = 0;
          graph.linears[i].fill(r, 1, row.data(), &scale);
          int64_t squares = 0;
          for (const int8_t w : row) squares += w * w;
          const double norm = 127 * std::sqrt(static_cast<double>(std::max<int64_t>(squares, 1)));
          const auto before = reach.beyond;
          for (size_t t = 0; t < graph.tokens; ++t) {
            int32_t sum = 0;
            for (size_t c = 0; c < k; ++c) sum += x[t * k + c] * row[c];
            outputs[i][t * rows + r] = static_cast<float>(sum) * scale;
            count(sum, norm, static_cast<double>(scale));
          }
          for (size_t range = 0; range < kRanges.size(); ++range)
            reach.rows[range] += reach.beyond[range] > before[range] ? 1 : 0;
        }
      }
    }
    void count(int32_t sum, double norm, double scale) {
      const double ratio = std::abs(sum) / norm;
      for (size_t i = 0; i < kRanges.size(); ++i) reach.beyond[i] += ratio >= kRanges[i] ? 1 : 0;
      reach.largest = std::max(reach.largest, ratio);
      ++reach.sums;
      reach.power += sum * scale * sum * scale;
      reach.norms += norm * scale * norm * scale;
    }
    Int8Graph graph;
    Reach& reach;
  };
  AcceleratorTraits traits_{.name = "counting", .label = "counting"};
  std::map<std::string, Reach>& reaches_;
};

void run(const std::string& path, std::string_view text, uint32_t tokens, std::string_view method) {
  std::map<std::string, Reach> reaches;
  const auto traits = [](const std::string&) {
    return AcceleratorTraits{.name = "counting", .label = "counting"};
  };
  add_accelerators({.name = "counting",
                    .names = {},
                    .list = [] { return std::vector<AcceleratorInfo>(); },
                    .traits = traits,
                    .make = [&](const std::string&,
                                const AcceleratorOptions&) { return std::make_unique<Counting>(reaches); }});
  const auto model = llm::Model::load(path);
  const auto window = measure::evaluation_windows(*model->tokenizer(), text, tokens, 1).front();
  const auto layers = graph::load(model->file(), tokens).layers.size();
  PrefillOptions options;
  options.engine = {.context = tokens, .threads = 2, .chunk = tokens};
  options.device = "counting";
  options.everything = true;
  const auto engine = make_prefill_engine(
      model->file(), quantize::make_scheme(layers, {.method = quantize::parse_method(method)}), options);
  const auto sequence = engine->make_sequence();
  engine->step({sequence.get(), window});

  fmt::print(
      "{}, {}, {} tokens: of each product the largest sum, and for a range of so many 127 ‖w‖ the rms error "
      "of "
      "its steps (sums beyond, rows of those)\n| product | sums | largest |",
      path, method, tokens);
  for (const double range : kRanges) fmt::print(" {:g} |", range);
  fmt::print("\n");
  for (const auto& [name, reach] : reaches) {
    fmt::print("| {} | {} | {:.2f} |", name, reach.sums, reach.largest);
    for (size_t i = 0; i < kRanges.size(); ++i)
      fmt::print(" {:.1e} ({}, {}) |", reach.step_error(kRanges[i]), reach.beyond[i], reach.rows[i]);
    fmt::print("\n");
  }
}

}  // namespace
}  // namespace cairn::offload

int main(int argc, char** argv) {
  try {
    if (argc < 3) throw std::runtime_error("bench_ranges MODEL TEXT [TOKENS] [rotation|token]");
    const cairn::MappedFile file(argv[2]);
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    cairn::offload::run(argv[1], text, static_cast<uint32_t>(cairn::number(argc, argv, 3, 512)),
                        argc > 4 ? argv[4] : "rotation");
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
