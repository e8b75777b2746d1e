#include "offload/compile_model.hpp"

#include <filesystem>

#include "base/byte_size.hpp"
#include "formats/stack_file.hpp"
#include "kernels/kernel_set.hpp"
#include "offload/layer_plan.hpp"

namespace cairn::offload {
namespace {

constexpr uint64_t kMostContext = uint64_t{1} << 32;
constexpr uint64_t kBeside = 8;  // a context is up to an eighth larger than its weights

onnx::Bundle compile_layers(cpu::Plan& plan, const graph::Model& model, const std::vector<uint32_t>& lengths,
                            onnx::BundleOptions options, const std::function<void(size_t, size_t)>& progress,
                            const engine::Cancelled& cancelled) {
  std::vector<LayerGraph> layers = layer_graphs(plan, model);
  if (!options.separate) {
    uint64_t weights = 0;
    for (const LayerGraph& layer : layers) {
      for (const cpu::BoundOp& bound : layer.ops) weights += bound.matrix.rows * bound.matrix.k;
    }
    check_context(plan.path(), weights, options.form == NpuForm::layers_fp16 ? 16 : 8, false);
  }
  options.scheme = name(options.form);
  const uint32_t pasts[] = {0, past_of(options.context)};
  const size_t total = lengths.size() * std::size(pasts) * layers.size();
  onnx::BundleWriter writer(options);
  size_t done = 0;
  for (const uint32_t tokens : lengths) {
    for (const uint32_t past : pasts) {
      for (LayerGraph& layer : layers) {
        engine::throw_if(cancelled);
        layer.tokens = tokens;
        layer.past = past;
        layer.form = options.form;
        writer.add(layer, done + 1 == total);
        progress(++done, total);
      }
    }
  }
  return writer.finish();
}

}  // namespace

void check_context(const std::string& path, uint64_t weights, uint32_t bits, bool fewer) {
  const auto context = [](uint64_t bytes) { return bytes + bytes / kBeside; };
  const uint64_t bytes = weights * bits / 8;
  if (context(bytes) <= kMostContext) return;
  const bool four_would = fewer && bits == 8 && context(weights / 2) <= kMostContext;
  fail(ErrorCode::unsupported,
       "{}: what is compiled has {} of weights, and a context that all graphs share holds 4 GiB with what "
       "lies "
       "beside them: "
       "--separate gives each graph its own{}",
       path, byte_size(bytes), four_would ? ", --bits 4 halves them" : "");
}

onnx::Bundle compile_model(const gguf::File& file, const quantize::Scheme& scheme,
                           const std::vector<uint32_t>& lengths, onnx::BundleOptions options,
                           const std::function<void(size_t, size_t)>& progress,
                           const engine::Cancelled& cancelled) {
  if (stack::is_stack(file)) {
    fail(ErrorCode::unsupported,
         "{} is a stack: `run --prefill qnn --npu-bits N` compiles as many of its bits when it runs",
         file.path());
  }
  const graph::Model model = graph::load(file, lengths.back());
  graph::require_plain(model, file.path(), "compiling for an NPU does");
  const kernels::Target target = kernels::default_target();
  cpu::Plan plan(file, model, target, true);
  options.model = std::filesystem::path(file.path()).filename().string();
  if (options.form != NpuForm::products)
    return compile_layers(plan, model, lengths, options, progress, cancelled);
  const std::vector<LayerPlan> layers = plan_layers(plan, model);
  Products products(plan, layers, scheme, kernels::kernel_set(target).exact, {});
  options.scheme = scheme.name;
  onnx::BundleWriter writer(options);

  std::vector<std::pair<uint32_t, quantize::Input>> wanted;
  for (uint32_t layer = 0; layer < layers.size(); ++layer) {
    for (size_t i = 0; i < quantize::kInputs; ++i) {
      const auto input = static_cast<quantize::Input>(i);
      if (!products.at(layer, input).treatment.float_product) wanted.emplace_back(layer, input);
    }
  }
  if (wanted.empty())
    fail(ErrorCode::unsupported, "{}: this quantisation leaves no product in int8", file.path());
  if (!options.separate) {
    uint64_t weights = 0;
    for (const auto& [layer, input] : wanted) {
      for (const LinearWeights& linear : products.at(layer, input).linears)
        weights += uint64_t{linear.rows()} * linear.k();
    }
    check_context(file.path(), weights, static_cast<uint32_t>(options.bits), true);
  }
  const size_t total = wanted.size() * lengths.size();
  size_t done = 0;
  for (const uint32_t tokens : lengths) {
    for (const auto& [layer, input] : wanted) {
      engine::throw_if(cancelled);
      writer.add(products.graph(layer, input, tokens, false), done + 1 == total);
      progress(++done, total);
    }
  }
  return writer.finish();
}

}  // namespace cairn::offload
