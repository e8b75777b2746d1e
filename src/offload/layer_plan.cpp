#include "offload/layer_plan.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace cairn::offload {
namespace {

using cpu::Step;
using cpu::StepKind;
using graph::SubgraphKind;
using quantize::Input;

}  // namespace

std::vector<LayerPlan> plan_layers(cpu::Plan& plan, const graph::Model& model) {
  std::vector<LayerPlan> layers(model.layers.size());
  for (uint32_t i = 0; i < layers.size(); ++i) {
    LayerPlan& layer = layers[i];
    const auto steps = [&](SubgraphKind kind) {
      return plan.steps(model.layers[i][static_cast<size_t>(kind)], i);
    };
    const auto product = [&](Input input, Step step) {
      layer.products[static_cast<size_t>(input)] = std::move(step);
    };
    const auto unexpected = [&](SubgraphKind kind) {
      fail(ErrorCode::unsupported, "layer {}: subgraph {} is not one product of one input", i,
           graph::name(kind));
    };
    layer.attention_input = steps(SubgraphKind::attention_input);
    layer.attention = steps(SubgraphKind::attention);
    layer.ffn_input = steps(SubgraphKind::ffn_input);
    for (const auto& [kind, input] : {std::pair(SubgraphKind::qkv, Input::qkv),
                                      std::pair(SubgraphKind::attention_output, Input::attention_output)}) {
      std::vector<Step> one = steps(kind);
      if (one.size() != 1 || one.front().kind != StepKind::linears) unexpected(kind);
      product(input, std::move(one.front()));
    }
    std::vector<Step> ffn = steps(SubgraphKind::ffn);
    if (ffn.size() < 3 || ffn.front().kind != StepKind::linears || ffn.back().kind != StepKind::linears)
      unexpected(SubgraphKind::ffn);
    product(Input::gate_up, std::move(ffn.front()));
    product(Input::down, std::move(ffn.back()));
    layer.ffn_middle.assign(std::make_move_iterator(ffn.begin() + 1), std::make_move_iterator(ffn.end() - 1));
  }
  return layers;
}

Products::Products(const cpu::Plan& plan, const std::vector<LayerPlan>& layers,
                   const quantize::Scheme& scheme, const kernels::StaticKernels& kernels, StackCopy copy)
    : plan_(plan), scheme_(scheme), fingerprint_(scheme.fingerprint()), copy_(std::move(copy)) {
  if (scheme_.layers.size() != layers.size()) {
    fail(ErrorCode::invalid_argument, "a scheme of {} layers does not fit a model of {}",
         scheme_.layers.size(), layers.size());
  }
  for (uint32_t layer = 0; layer < layers.size(); ++layer) {
    for (size_t i = 0; i < quantize::kInputs; ++i) {
      const Step& step = layers[layer].products[i];
      quantize::Treatment& treatment = scheme_.layers[layer][i];
      const auto k = static_cast<uint32_t>(step.ops.front().matrix.k);
      if (!treatment.divisors.empty() && treatment.divisors.size() != k) {
        fail(ErrorCode::invalid_argument, "layer {}, {}: {} divisors for an input of {}", layer,
             quantize::name(static_cast<Input>(i)), treatment.divisors.size(), k);
      }
      if (!treatment.float_product && treatment.scale_kind == quantize::ScaleKind::fixed &&
          !(treatment.scale > 0)) {
        fail(ErrorCode::invalid_argument, "layer {}, {}: scale {} is not positive", layer,
             quantize::name(static_cast<Input>(i)), treatment.scale);
      }
      if (!treatment.hot.empty() && treatment.hot.back() >= k) {
        fail(ErrorCode::invalid_argument, "layer {}, {}: hot channel {} of {}", layer,
             quantize::name(static_cast<Input>(i)), treatment.hot.back(), k);
      }
      // Engines take values by fours, and sum them in 32 bits.
      if (k % 4 != 0 || k > kernels::kMostStaticColumns) treatment.float_product = true;
      const quantize::Rotation* rotation = treatment.rotate && !treatment.float_product
                                               ? &rotations_.try_emplace(k, k).first->second
                                               : nullptr;
      std::vector<LinearWeights> linears;
      for (const cpu::BoundOp& bound : step.ops)
        linears.emplace_back(plan, bound, treatment, scheme_.weight_scale, rotation, kernels);
      // A stack's columns would not move with it.
      if (linears.front().stack() != nullptr) treatment.hot.clear();
      ShadowColumns shadow(linears, treatment.hot);
      all_.emplace_back(new Product{step, treatment, rotation, std::move(linears), std::move(shadow), {}});
    }
  }
}

Int8Graph Products::graph(uint32_t layer, Input input, uint32_t tokens, bool moving) {
  Int8Graph graph;
  graph.name = fmt::format("blk.{}.{}", layer, quantize::name(input));
  graph.tokens = tokens;
  graph.key = fingerprint_;
  for (const LinearWeights& linear : at(layer, input).linears) {
    std::shared_ptr<const FixedPlanes> fixed;
    if (linear.stack() != nullptr && !moving)
      fixed = std::make_shared<const FixedPlanes>(*plan_.set, *linear.stack(), copy_.blocks, copy_.notice);
    graph.key = (graph.key ^ linear.fingerprint(fixed.get())) * 0x9e3779b97f4a7c15;
    Int8Linear& to = graph.linears.emplace_back();
    to.name = linear.name();
    to.rows = linear.rows();
    to.k = linear.k();
    to.fill = [&linear, fixed](uint32_t begin, uint32_t count, int8_t* values, float* scales) {
      linear.fill(begin, count, values, scales, fixed.get());
    };
    if (!moving || linear.stack() == nullptr) continue;
    to.order = linear.order();
    to.fill_stored = [&linear](uint32_t begin, uint32_t count, int8_t* values, float* scales) {
      linear.fill_stored(begin, count, values, scales);
    };
  }
  return graph;
}

AcceleratorGraph& Products::compiled(uint32_t layer, Input input, uint32_t tokens, Accelerator& accelerator) {
  Product& product = at(layer, input);
  for (const auto& [length, graph] : product.graphs) {
    if (length == tokens) return *graph;
  }
  product.graphs.emplace_back(
      tokens, accelerator.compile(graph(layer, input, tokens, accelerator.traits().takes_moving_weights)));
  ++graphs_;
  return *product.graphs.back().second;
}

void Products::leave_to_cpu(uint32_t layer, Input input) {
  scheme_.layers[layer][static_cast<size_t>(input)].float_product = true;
}

void Products::forget_compiled() {
  for (const auto& product : all_) product->graphs.clear();
  graphs_ = 0;
}

bool Products::has(uint32_t layer, Input input, uint32_t tokens) const {
  const Product& product = *all_[layer * quantize::kInputs + static_cast<size_t>(input)];
  return std::ranges::any_of(product.graphs, [&](const auto& one) { return one.first == tokens; });
}

uint64_t Products::int8_bytes(uint32_t tokens) const {
  uint64_t total = 0;
  for (size_t i = 0; i < all_.size(); ++i) {
    if (!all_[i]->treatment.float_product &&
        !has(static_cast<uint32_t>(i / quantize::kInputs), static_cast<Input>(i % quantize::kInputs), tokens))
      total += all_[i]->int8_bytes();
  }
  return total;
}

uint64_t Products::hot_bytes() const {
  uint64_t total = 0;
  for (const auto& product : all_) total += product->shadow.bytes();
  return total;
}

}  // namespace cairn::offload
