// How exactly a device multiplies: every int8 product of a model (rotated, a scale a row) on values as
// rotated activations have them, against sums of integers; root mean squares of the errors in parts of the
// sums', and what rounding the sums to the steps of `qnn`'s outputs makes of it by itself.
//   bench_exactness MODEL [--device qnn] [--tokens 32] [--bits 8]
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "kernels/kernel_set.hpp"
#include "offload/layer_plan.hpp"
#include "offload/onnx/model.hpp"
#include "offload/registry.hpp"
#include "quantize/make_scheme.hpp"
#include "store/model_store.hpp"

namespace {

using namespace cairn;

struct Error2 {
  double error = 0, step = 0, power = 0;
  double rms() const { return std::sqrt(error / power); }
  double step_rms() const { return std::sqrt(step / power); }
};

// Of one product: largest |x| of a token is 127, as a scale a token makes it.
Error2 compare(offload::AcceleratorGraph& compiled, const offload::Int8Graph& graph, std::mt19937& random) {
  const size_t k = graph.linears.front().k, tokens = graph.tokens;
  std::normal_distribution<double> normal;
  std::vector<int8_t> x(tokens * k);
  for (size_t t = 0; t < tokens; ++t) {
    std::vector<double> values(k);
    double largest = 0;
    for (double& value : values) largest = std::max(largest, std::abs(value = normal(random)));
    for (size_t c = 0; c < k; ++c) x[t * k + c] = static_cast<int8_t>(std::lround(values[c] / largest * 127));
  }
  std::vector<std::vector<float>> results;
  std::vector<float*> outputs;
  for (const offload::Int8Linear& linear : graph.linears)
    outputs.push_back(results.emplace_back(tokens * linear.rows).data());
  compiled.run(x.data(), outputs);
  Error2 sum;
  std::vector<int8_t> row(k);
  for (size_t i = 0; i < graph.linears.size(); ++i) {
    for (uint32_t r = 0; r < graph.linears[i].rows; ++r) {
      float scale = 0;
      graph.linears[i].fill(r, 1, row.data(), &scale);
      const double step =
          static_cast<double>(offload::onnx::sum_range(row.data(), graph.linears[i].k)) / 32767;
      for (size_t t = 0; t < tokens; ++t) {
        int64_t exact = 0;
        for (size_t c = 0; c < k; ++c) exact += x[t * k + c] * row[c];
        const double expected = static_cast<double>(exact) * static_cast<double>(scale);
        const double off = static_cast<double>(results[i][t * graph.linears[i].rows + r]) - expected;
        sum.error += off * off;
        sum.power += expected * expected;
        const double sums = static_cast<double>(exact);
        const double rounded = (std::nearbyint(sums / step) * step - sums) * static_cast<double>(scale);
        sum.step += rounded * rounded;
      }
    }
  }
  return sum;
}

void run(const std::string& path, const std::string& device, uint32_t tokens, uint32_t bits) {
  const gguf::File file(resolve_model(path));
  const graph::Model model = graph::load(file, tokens);
  const kernels::Target target = kernels::default_target();
  cpu::Plan plan(file, model, target, true);
  const std::vector<offload::LayerPlan> layers = offload::plan_layers(plan, model);
  const quantize::Scheme scheme =
      quantize::make_scheme(layers.size(), {.method = quantize::Method::rotation});
  offload::Products products(plan, layers, scheme, kernels::kernel_set(target).exact);
  const auto accelerator = offload::make_accelerator(device, {.threads = 2, .weight_bits = bits});
  std::mt19937 random(1);
  std::array<Error2, quantize::kInputs> all{};
  std::array<double, quantize::kInputs> worst{};
  for (uint32_t layer = 0; layer < layers.size(); ++layer) {
    for (size_t i = 0; i < quantize::kInputs; ++i) {
      const auto input = static_cast<quantize::Input>(i);
      if (products.at(layer, input).treatment.float_product) continue;
      const offload::Int8Graph graph = products.graph(layer, input, tokens, false);
      const Error2 one = compare(*accelerator->compile(graph), graph, random);
      worst[i] = std::max(worst[i], one.rms());
      all[i].error += one.error / one.power;
      all[i].step += one.step / one.power;
      all[i].power += 1;
    }
  }
  fmt::print(
      "{} on {}, {} tokens, weights of {} bits\n| product | rms error | worst layer | steps alone "
      "|\n|---|---|---|---|\n",
      path, device, tokens, bits);
  for (size_t i = 0; i < quantize::kInputs; ++i)
    fmt::print("| {} | {:.2e} | {:.2e} | {:.2e} |\n", quantize::name(static_cast<quantize::Input>(i)),
               all[i].rms(), worst[i], all[i].step_rms());
  fmt::print("{} outputs beyond the device's range\n", accelerator->recomputed_outputs());
}

}  // namespace

int main(int argc, char** argv) {
  std::string model, device = "qnn";
  uint32_t tokens = 32, bits = 8;
  for (int i = 1; i < argc; ++i) {
    const bool more = i + 1 < argc;
    if (more && std::strcmp(argv[i], "--device") == 0) {
      device = argv[++i];
    } else if (more && std::strcmp(argv[i], "--tokens") == 0) {
      tokens = static_cast<uint32_t>(std::atoi(argv[++i]));
    } else if (more && std::strcmp(argv[i], "--bits") == 0) {
      bits = static_cast<uint32_t>(std::atoi(argv[++i]));
    } else {
      model = argv[i];
    }
  }
  if (model.empty()) {
    fmt::print(stderr, "usage: bench_exactness MODEL [--device qnn] [--tokens 32] [--bits 8]\n");
    return 2;
  }
  try {
    run(model, device, tokens, bits);
  } catch (const Error& error) {
    fmt::print(stderr, "bench_exactness: {}\n", error.what());
    return 1;
  }
  return 0;
}
