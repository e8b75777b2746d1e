#include "torch/ops.hpp"

#include <limits>
#include <numbers>
#include <stdexcept>

namespace cairn::torch_part {
namespace {

using graph::OpKind;
using graph::Slot;

at::Tensor activated(graph::Activation activation, const at::Tensor& x) {
  switch (activation) {
    case graph::Activation::gelu_tanh:
      return 0.5 * x * (1 + at::tanh(0.7978845608 * (x + 0.044715 * x * x * x)));
    case graph::Activation::gelu_erf:
      return 0.5 * x * (1 + at::erf(x * (std::numbers::sqrt2 / 2)));
    case graph::Activation::silu:
      return x * at::sigmoid(x);
    case graph::Activation::none:
    case graph::Activation::silu_clamped:  // of mixtures, which the tuner does not see
    case graph::Activation::sigmoid:
    case graph::Activation::relu_squared:
      break;
  }
  return x;
}

}  // namespace

Ops::Ops(const stack::TorchJob& job, at::Device device)
    : job_(job), device_(device), window_(static_cast<int64_t>(job.windows.front().size())) {}

at::Tensor Ops::upload(const std::vector<float>& values) const {
  return at::tensor(values, at::kFloat).to(device_);
}

at::Tensor Ops::vector(const std::string& name) {
  if (name.empty()) return {};
  at::Tensor& kept = vectors_[name];
  if (!kept.defined()) kept = upload(job_.read(name, 0, 1));
  return kept;
}

at::Tensor Ops::normed(const graph::Op& op, const at::Tensor& x) {
  const int64_t heads = op.heads > 0 ? op.heads : 1;
  at::Tensor rows = x.view({x.size(0), heads, x.size(1) / heads});
  if (op.kind == OpKind::norm_layer) rows = rows - rows.mean(-1, true);
  rows = rows * at::rsqrt((rows * rows).mean(-1, true) + op.epsilon);
  rows = rows * vector(op.weight).view({1, 1, -1});
  if (const at::Tensor bias = vector(op.bias); bias.defined()) rows = rows + bias;
  return rows.view(x.sizes());
}

at::Tensor Ops::roped(const graph::Op& op, const at::Tensor& x) {
  const int64_t heads = op.heads, size = x.size(1) / heads, dims = op.rope.dims, half = dims / 2;
  at::Tensor& tables = ropes_[&op];
  if (!tables.defined())
    tables = upload(job_.rope(op.rope, static_cast<uint32_t>(window_))).view({2, 1, window_, 1, half});
  const at::Tensor rows = x.view({-1, window_, heads, size});
  const at::Tensor turned = rows.narrow(-1, 0, dims);
  const at::Tensor first = op.rope.neox ? turned.narrow(-1, 0, half) : turned.slice(-1, 0, dims, 2);
  const at::Tensor second = op.rope.neox ? turned.narrow(-1, half, half) : turned.slice(-1, 1, dims, 2);
  const at::Tensor a = first * tables[0] - second * tables[1], b = second * tables[0] + first * tables[1];
  at::Tensor result = op.rope.neox ? at::cat({a, b}, -1) : at::stack({a, b}, -1).flatten(-2);
  if (dims < size) result = at::cat({result, rows.narrow(-1, dims, size - dims)}, -1);
  return result.reshape(x.sizes());
}

at::Tensor Ops::attention(const graph::Op& op, Slots& slots) const {
  const graph::HyperParameters& p = job_.model.parameters;
  const auto heads_of = [&](Slot s, int64_t heads) {
    return slot(slots, s).view({-1, window_, heads, p.head_size}).transpose(1, 2);
  };
  const auto shared = [&](const at::Tensor& t) { return t.repeat_interleave(p.heads / p.kv_heads, 1); };
  const at::Tensor query = heads_of(op.input, p.heads);
  const at::Tensor key = shared(heads_of(Slot::key, p.kv_heads));
  const at::Tensor value = shared(heads_of(Slot::value, p.kv_heads));
  at::Tensor scores = at::matmul(query, key.transpose(-1, -2)) * op.factor;
  if (op.softcap > 0) scores = op.softcap * at::tanh(scores / op.softcap);
  const at::Tensor at_row = at::arange(window_, at::TensorOptions(device_)).view({-1, 1});
  const at::Tensor at_column = at_row.view({1, -1});
  at::Tensor hidden = at_column > at_row;
  if (op.window > 0) hidden = hidden.logical_or(at_column <= at_row - static_cast<int64_t>(op.window));
  scores = scores.masked_fill(hidden, -std::numeric_limits<float>::infinity());
  const at::Tensor context = at::matmul(at::softmax(scores, -1), value);
  return context.transpose(1, 2).reshape({-1, int64_t{p.heads} * p.head_size});
}

void Ops::run(const graph::Op& op, Slots& slots, const Product& product) {
  const at::Tensor x = slot(slots, op.input);
  at::Tensor& out = slot(slots, op.output);
  switch (op.kind) {
    case OpKind::norm_rms:
    case OpKind::norm_layer:
      out = normed(op, x);
      break;
    case OpKind::linear:
      out = product(op, x);
      if (const at::Tensor bias = vector(op.bias); bias.defined())
        out = out + bias.narrow(0, op.row_begin, op.rows);
      break;
    case OpKind::rope:
      slot(slots, op.input) = roped(op, x);
      break;
    case OpKind::attention:
      out = attention(op, slots);
      break;
    case OpKind::gate:
      out = activated(op.activation, x) * slot(slots, op.input2);
      break;
    case OpKind::activate:
      out = activated(op.activation, x);
      break;
    case OpKind::add:
      out = x + slot(slots, op.input2);
      break;
    case OpKind::scale:
      out = x * op.factor;
      break;
    case OpKind::softcap:
      out = op.factor * at::tanh(x / op.factor);
      break;
    case OpKind::quantize:  // float here
      break;
    case OpKind::embed:
      throw std::runtime_error("op 'embed' stands among a layer's");
    case OpKind::add_position:
    case OpKind::add_row:
    case OpKind::rotate:
    case OpKind::route:
    case OpKind::expert_linear:
    case OpKind::head_linear:
    case OpKind::combine:
    case OpKind::weigh:
    case OpKind::join:
    case OpKind::part:
    case OpKind::convolve:
    case OpKind::delta_rule:
    case OpKind::selective_scan:
      // stack::check_trainable refused it by its name before.
      throw std::runtime_error("an op of a layer is not known to libtorch's tuner");
  }
}

}  // namespace cairn::torch_part
