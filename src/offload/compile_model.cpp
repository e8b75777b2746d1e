#include "offload/compile_model.hpp"

#include <filesystem>

#include "formats/stack_file.hpp"
#include "kernels/kernel_set.hpp"
#include "offload/layer_plan.hpp"

namespace cairn::offload {

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
  const std::vector<LayerPlan> layers = plan_layers(plan, model);
  Products products(plan, layers, scheme, kernels::kernel_set(target).exact, {});
  options.model = std::filesystem::path(file.path()).filename().string();
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
