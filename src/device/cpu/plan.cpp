#include "device/cpu/plan.hpp"

#include "base/error.hpp"

namespace cairn::device::cpu {
namespace {

bool same(const graph::Rope& a, const graph::Rope& b) {
  return a.dims == b.dims && a.neox == b.neox && a.base == b.base && a.frequency_scale == b.frequency_scale &&
         a.factors == b.factors && a.attention_factor == b.attention_factor;
}

StepKind kind_of(const graph::Op& op) {
  if (op.kind == graph::OpKind::linear) return StepKind::linears;
  if (op.kind == graph::OpKind::attention) return StepKind::attention;
  return StepKind::floats;
}

}  // namespace

Plan::Plan(const gguf::File& file, const graph::Model& model, kernels::Target target, bool float_only)
    : file_(file), target_(target), float_only_(float_only) {
  for (const graph::Op& op : model.embed) embed.push_back(bind(op));
  for (uint32_t layer = 0; layer < model.layers.size(); ++layer) {
    std::vector<graph::Op> ops;
    for (const graph::OpList& subgraph : model.layers[layer])
      ops.insert(ops.end(), subgraph.begin(), subgraph.end());
    for (Step& step : steps(ops, layer)) layers.push_back(std::move(step));
  }
  head = steps(model.head, 0);
  for (Step& step : head) step.fine = step.integer;
}

std::vector<Step> Plan::steps(const std::vector<graph::Op>& ops, uint32_t layer) {
  std::vector<Step> result;
  for (const graph::Op& op : ops) {
    const StepKind kind = kind_of(op);
    BoundOp bound = bind(op);
    const bool integer = !float_only_ && kind == StepKind::linears && bound.matrix.k % kernels::kGroup == 0;
    const bool joins = !result.empty() && result.back().kind == kind &&
                       (kind == StepKind::floats ||
                        (kind == StepKind::linears && result.back().ops.back().op.input == op.input));
    if (!joins) result.push_back({kind, layer, {}, integer, false});
    result.back().ops.push_back(std::move(bound));
  }
  return result;
}

BoundOp Plan::bind(const graph::Op& op) {
  BoundOp bound{.op = op};
  switch (op.kind) {
    case graph::OpKind::embed:
      bound.matrix = matrix(op.weight);
      break;
    case graph::OpKind::linear:
      bound.matrix = matrix(op.weight);
      bound.matrix.rows_begin = bound.matrix.row(op.row_begin);
      bound.matrix.rows = op.rows;
      if (!op.bias.empty()) bound.bias = vector(op.bias)->data() + op.row_begin;
      break;
    case graph::OpKind::norm_rms:
    case graph::OpKind::norm_layer:
      bound.weight = vector(op.weight);
      if (!op.bias.empty()) bound.bias = vector(op.bias)->data();
      break;
    case graph::OpKind::rope: {
      size_t i = 0;
      while (i < ropes.size() && !same(ropes[i], op.rope)) ++i;
      if (i == ropes.size()) {
        ropes.push_back(op.rope);
        rope_factors.push_back(op.rope.factors.empty() ? nullptr : vector(op.rope.factors));
      }
      bound.rope_table = static_cast<uint32_t>(i);
      break;
    }
    default:
      break;
  }
  return bound;
}

Matrix Plan::matrix(const std::string& name) const {
  const gguf::Tensor& tensor = file_.tensor(name);
  return {&kernels::encoding_kernels(tensor.encoding, target_),
          tensor.data.data(),
          tensor.row_bytes(),
          tensor.rows(),
          tensor.row_elements(),
          info(tensor.encoding).block_elements};
}

const std::vector<float>* Plan::vector(const std::string& name) {
  auto [it, added] = vectors_.try_emplace(name);
  if (added) {
    const gguf::Tensor& tensor = file_.tensor(name);
    it->second.resize(tensor.elements());
    kernels::encoding_kernels(tensor.encoding, target_)
        .dequantize(tensor.data.data(), tensor.elements(), it->second.data());
  }
  return &it->second;
}

}  // namespace cairn::device::cpu
