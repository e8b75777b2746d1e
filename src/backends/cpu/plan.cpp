#include "backends/cpu/plan.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::cpu {
namespace {

StepKind kind_of(const graph::Op& op) {
  if (op.kind == graph::OpKind::linear) return StepKind::linears;
  if (op.kind == graph::OpKind::expert_linear) return StepKind::experts;
  if (op.kind == graph::OpKind::head_linear) return StepKind::heads;
  if (op.kind == graph::OpKind::attention) return StepKind::attention;
  if (op.kind == graph::OpKind::convolve || op.kind == graph::OpKind::delta_rule ||
      op.kind == graph::OpKind::selective_scan)
    return StepKind::recurrent;
  return StepKind::floats;
}

}  // namespace

Plan::Plan(const gguf::File& file, const graph::Model& model, kernels::Target target, bool float_only,
           resident::Set* blocks)
    : set(blocks), file_(file), target_(target), float_only_(float_only) {
  if (set != nullptr) {
    const std::vector<stack::Block>& all = set->layout().blocks;
    const uint8_t planes = set->layout().planes();
    any_exact_ = std::any_of(all.begin(), all.end(), [&](const auto& b) { return b.level > planes; });
  }
  for (const graph::Op& op : model.embed) embed.push_back(bind(op));
  for (uint32_t layer = 0; layer < model.layers.size(); ++layer) {
    std::vector<graph::Op> ops;
    for (const graph::OpList& subgraph : model.layers[layer])
      ops.insert(ops.end(), subgraph.begin(), subgraph.end());
    for (Step& step : steps(ops, layer)) layers.push_back(std::move(step));
  }
  head = steps(model.head, 0);
  const auto draft_layer = static_cast<uint32_t>(model.layers.size());
  for (const graph::Op& op : model.draft.embed) draft_embed.push_back(bind(op));
  draft_keys = steps(model.draft.keys, draft_layer);
  draft_rest = steps(model.draft.rest, draft_layer);
  draft_head = steps(model.draft.head, draft_layer);
  // A rotated input loses less to 8 bits: planes do without.
  for (Step& step : head) step.fine = step.integer && !step.planes;
}

std::vector<Step> Plan::steps(const std::vector<graph::Op>& ops, uint32_t layer) {
  std::vector<Step> result;
  for (size_t i = 0; i < ops.size(); ++i) {
    const graph::Op& op = ops[i];
    // Planes have their own int8 form of the input.
    if (op.kind == graph::OpKind::quantize && only_planes_read(std::span(ops).subspan(i), op.input)) continue;
    const StepKind kind = kind_of(op);
    BoundOp bound = bind(op);
    const bool products = kind == StepKind::linears || kind == StepKind::experts;
    // A router's scores decide between experts, and decays act on whatever was there: they are worth all
    // bits, and few.
    const bool few = op.output == graph::Slot::router || op.output == graph::Slot::shared_gate ||
                     op.output == graph::Slot::alpha || op.output == graph::Slot::beta;
    const bool integer = !float_only_ && (products || kind == StepKind::heads) && !few &&
                         bound.matrix.k % kernels::kGroup == 0;
    const bool joins =
        !result.empty() && result.back().kind == kind &&
        (kind == StepKind::floats ||
         (products && result.back().ops.back().op.input == op.input && result.back().integer == integer &&
          result.back().planes == (bound.matrix.stack != nullptr) &&
          result.back().ops.back().matrix.rotation == bound.matrix.rotation));
    if (!joins) result.push_back({kind, layer, {}, integer, false, bound.matrix.stack != nullptr});
    result.back().ops.push_back(std::move(bound));
  }
  return result;
}

BoundOp Plan::bind(const graph::Op& op) {
  BoundOp bound{.op = op};
  switch (op.kind) {
    case graph::OpKind::embed:
    case graph::OpKind::add_position:
    case graph::OpKind::add_row:
      bound.matrix = matrix(op.weight);
      break;
    case graph::OpKind::linear:
      bound.matrix = matrix(op.weight);
      if (bound.matrix.stack == nullptr) bound.matrix.rows_begin = bound.matrix.row(op.row_begin);
      bound.matrix.first_row = op.row_begin;
      bound.matrix.rows = op.rows;
      if (!op.bias.empty()) bound.bias = vector(op.bias)->data() + op.row_begin;
      break;
    case graph::OpKind::expert_linear:
      bound.matrix = matrix(op.weight);
      bound.matrix.rows_begin = bound.matrix.row(op.row_begin);
      bound.matrix.rows = op.rows;
      bound.expert_rows = op.all_rows != 0 ? op.all_rows : op.rows;
      if (!op.bias.empty()) bound.bias = vector(op.bias)->data() + op.row_begin;
      break;
    case graph::OpKind::head_linear:
      bound.matrix = matrix(op.weight);
      bound.matrix.rows = bound.expert_rows = op.rows;
      break;
    case graph::OpKind::route:
      if (!op.weight.empty()) bound.weight = &finite(op.weight);
      if (!op.bias.empty()) bound.bias = finite(op.bias).data();
      break;
    case graph::OpKind::attention:
      if (!op.weight.empty()) bound.bias = finite(op.weight).data();
      break;
    case graph::OpKind::convolve:
      bound.weight = transposed(op.weight);
      if (!op.bias.empty()) bound.bias = vector(op.bias)->data();
      break;
    case graph::OpKind::selective_scan:
      bound.skip = vector(op.skip);
      [[fallthrough]];
    case graph::OpKind::delta_rule:
      bound.weight = vector(op.weight);
      bound.bias = vector(op.bias)->data();
      break;
    case graph::OpKind::scale:
      if (!op.weight.empty()) bound.op.factor *= finite(op.weight).front();
      break;
    case graph::OpKind::norm_rms:
    case graph::OpKind::norm_layer:
      bound.weight = op.weight.empty() ? ones(op.width / std::max(1U, op.heads)) : vector(op.weight);
      if (!op.bias.empty()) bound.bias = vector(op.bias)->data();
      break;
    case graph::OpKind::rope: {
      size_t i = 0;
      while (i < ropes.size() && ropes[i] != op.rope) ++i;
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

Matrix Plan::matrix(const std::string& name) {
  if (set != nullptr) {
    if (const resident::Matrix* found = set->find(name)) return stack_matrix(*found);
  }
  const gguf::Tensor& tensor = file_.tensor(name);
  Matrix result;
  result.encoding = &kernels::kernel_set(target_).encoding(tensor.encoding);
  result.rows_begin = tensor.data.data();
  result.row_bytes = tensor.row_bytes();
  result.rows = tensor.rows();
  result.k = tensor.row_elements();
  result.block_elements = info(tensor.encoding).block_elements;
  return result;
}

Matrix Plan::stack_matrix(const resident::Matrix& found) {
  const stack::Matrix& layout = *found.layout;
  const EncodingInfo& source = info(layout.source);
  Matrix result;
  result.encoding = &kernels::kernel_set(target_).encoding(layout.source);
  result.row_bytes = size_t{layout.columns} / source.block_elements * source.block_bytes;
  result.rows = layout.rows;
  result.k = layout.columns;
  result.block_elements = source.block_elements;
  result.stack = &found;
  if (layout.rotated) result.rotation = &rotations_.try_emplace(layout.columns, layout.columns).first->second;
  return result;
}

size_t Plan::rotation_scratch() const {
  size_t most = 0;
  for (const auto& [width, rotation] : rotations_) most = std::max(most, rotation.scratch_floats());
  return most;
}

// Whether every product that reads the slot before it is written again is one of planes alone.
bool Plan::only_planes_read(std::span<const graph::Op> ops, graph::Slot slot) const {
  if (set == nullptr || any_exact_) return false;
  bool any = false;
  for (const graph::Op& op : ops) {
    if (op.kind != graph::OpKind::linear || op.input != slot) continue;
    if (set->find(op.weight) == nullptr) return false;
    any = true;
  }
  return any;
}

const std::vector<float>* Plan::transposed(const std::string& name) {
  auto [it, added] = transposed_.try_emplace(name);
  if (added) {
    const std::vector<float>& values = *vector(name);
    const size_t width = file_.tensor(name).row_elements(), rows = values.size() / width;
    it->second.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) it->second[i % width * rows + i / width] = values[i];
  }
  return &it->second;
}

const std::vector<float>& Plan::finite(const std::string& name) {
  const std::vector<float>& values = *vector(name);
  if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
    fail(ErrorCode::numeric, "{}: tensor {} holds what is no number", file_.path(), name);
  return values;
}

const std::vector<float>* Plan::ones(size_t count) {
  std::vector<float>& found = vectors_[fmt::format("{} ones", count)];
  found.assign(count, 1);
  return &found;
}

const std::vector<float>* Plan::vector(const std::string& name) {
  auto [it, added] = vectors_.try_emplace(name);
  if (added) {
    const gguf::Tensor& tensor = file_.tensor(name);
    it->second.resize(tensor.elements());
    kernels::kernel_set(target_)
        .encoding(tensor.encoding)
        .dequantize(tensor.data.data(), tensor.elements(), it->second.data());
  }
  return &it->second;
}

}  // namespace cairn::cpu
