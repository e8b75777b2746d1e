#include "offload/onnx/layer_model.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numbers>

#include "base/error.hpp"
#include "base/half.hpp"
#include "formats/onnx_graph.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::offload::onnx {
namespace {

using formats::OnnxGraph;
using formats::OnnxType;
using graph::Activation;
using graph::Op;
using graph::OpKind;
using graph::Slot;

constexpr int kOpset = 23, kIrVersion = 10;  // the first with RMSNormalization
constexpr float kLeastToken = 1e-3f;         // a token that is smaller is no smaller than that
constexpr float kReach = 8;                  // of sums, in ‖row‖, of inputs within ±1
constexpr float kSteps = 32767;

class LayerWriter {
 public:
  explicit LayerWriter(const LayerGraph& layer)
      : layer_(layer), tokens_(layer.tokens), all_(layer.past + layer.tokens) {}

  std::string write() {
    const int64_t kv_heads = layer_.kv_heads(), size = layer_.head_size(), past = layer_.past;
    graph_.call(fmt::format("{}.{}.{}", layer_.name, layer_.tokens, layer_.past));
    input("hidden", {tokens_, layer_.width()});
    if (past > 0) {
      input("keys", {kv_heads, past, size});
      input("values", {kv_heads, past, size});
    }
    input("mask", {tokens_, all_});
    if (layer_.rope() != nullptr) {
      input("cosines", {tokens_, size});
      input("sines", {tokens_, size});
    }
    slots_[Slot::hidden] = "hidden";
    name_results();
    for (size_t i = 0; i < layer_.ops.size(); ++i) {
      result_ = results_.contains(i) ? results_.at(i) : fmt::format("{}.v{}", layer_.name, i);
      write(layer_.ops[i]);
    }
    output("out", {tokens_, layer_.width()});
    output("new_keys", {tokens_, kv_heads * size});
    output("new_values", {tokens_, kv_heads * size});
    return graph_.model(kOpset, kIrVersion);
  }

 private:
  using Dims = std::vector<int64_t>;

  static std::vector<std::string> texts(const Dims& dims) {
    std::vector<std::string> made;
    for (const int64_t dim : dims) made.push_back(std::to_string(dim));
    return made;
  }
  void input(const char* name, const Dims& dims) { graph_.input(name, OnnxType::f16, texts(dims)); }
  void output(const char* name, const Dims& dims) { graph_.output(name, OnnxType::f16, texts(dims)); }

  // The last that write what the layer gives back; of keys and values, before they are attended to.
  void name_results() {
    bool attended = false;
    for (size_t i = 0; i < layer_.ops.size(); ++i) {
      const Op& op = layer_.ops[i].op;
      if (op.kind == OpKind::quantize) continue;
      attended = attended || op.kind == OpKind::attention;
      if (op.output == Slot::hidden) set_result(i, "out");
      if (!attended && op.output == Slot::key) set_result(i, "new_keys");
      if (!attended && op.output == Slot::value) set_result(i, "new_values");
    }
  }
  void set_result(size_t op, const char* name) {
    std::erase_if(results_, [&](const auto& known) { return known.second == name; });
    results_[op] = name;
  }

  std::string fresh() { return fmt::format("{}.t{}", layer_.name, count_++); }
  std::string node(const char* type, const std::vector<std::string>& inputs, const std::string& name,
                   const std::vector<formats::OnnxAttribute>& attributes = {}) {
    return graph_.node(type, inputs, name, attributes);
  }
  std::string node(const char* type, const std::vector<std::string>& inputs,
                   const std::vector<formats::OnnxAttribute>& attributes = {}) {
    return node(type, inputs, fresh(), attributes);
  }
  std::string reshape(const std::string& x, const Dims& dims, std::string name = "") {
    if (name.empty()) name = fresh();
    return node("Reshape", {x, graph_.integers(fresh(), dims)}, name);
  }
  std::string transpose(const std::string& x, const Dims& order) {
    return node("Transpose", {x}, {{"perm", order, true}});
  }
  std::string halves(const std::string& name, const Dims& dims, std::span<const float> values) {
    std::vector<uint16_t> bits(values.size());
    std::ranges::transform(values, bits.begin(), to_half);
    return graph_.tensor(name, OnnxType::f16, dims, std::span<const uint16_t>(bits));
  }
  std::string number(float value) { return halves(fresh(), {}, {&value, 1}); }
  std::string times(const std::string& x, float factor) { return node("Mul", {x, number(factor)}); }
  std::string& slot(Slot slot) { return slots_[slot]; }

  // The residual stream, and what is about to be added to it.
  static float unit(Slot slot) {
    return slot == Slot::hidden || slot == Slot::branch || slot == Slot::branch2 ? kResidualUnit : 1;
  }
  static float units(const Op& op) { return unit(op.input) / unit(op.output); }

  void write(const cpu::BoundOp& bound) {
    const Op& op = bound.op;
    switch (op.kind) {
      case OpKind::quantize:
        return;
      case OpKind::scale:
        slot(op.output) = node("Mul", {slot(op.input), number(op.factor * units(op))}, result_);
        return;
      case OpKind::add:
        slot(op.output) = node("Add", {slot(op.input), slot(op.input2)}, result_);
        return;
      case OpKind::norm_rms:
        return write_norm(bound);
      case OpKind::linear:
        return write_linear(bound);
      case OpKind::rope:
        return write_rope(op);
      case OpKind::attention:
        return write_attention(op);
      case OpKind::gate:
        slot(op.output) = node("Mul", {activated(op.activation, slot(op.input)), slot(op.input2)}, result_);
        return;
      case OpKind::activate:
        slot(op.output) = node("Mul", {activated(op.activation, slot(op.input)), number(1)}, result_);
        return;
      default:
        fail(ErrorCode::unsupported, "{}: {}: {} is not in whole layers", layer_.path, layer_.name,
             graph::name(op.kind));
    }
  }

  void write_norm(const cpu::BoundOp& bound) {
    const Op& op = bound.op;
    const auto width = static_cast<int64_t>(bound.weight->size()), heads = static_cast<int64_t>(op.heads);
    std::vector<float> weights = *bound.weight;
    for (float& w : weights) w /= unit(op.output);
    const std::string weight = halves(weights_name(op), {width}, weights);
    const std::vector<formats::OnnxAttribute> attributes = {
        {"axis", {-1}},
        {.name = "epsilon", .numbers = {}, .real = op.epsilon / (unit(op.input) * unit(op.input))}};
    if (heads == 0) {
      slot(op.output) = node("RMSNormalization", {slot(op.input), weight}, result_, attributes);
      return;
    }
    const std::string x = reshape(slot(op.input), {tokens_ * heads, width});
    slot(op.output) =
        reshape(node("RMSNormalization", {x, weight}, attributes), {tokens_, heads * width}, result_);
  }

  // Names of the weights are the tensors'; several ops may take parts of one.
  std::string weights_name(const Op& op) const {
    return op.row_begin == 0 ? op.weight : fmt::format("{}.{}", op.weight, op.row_begin);
  }

  void write_linear(const cpu::BoundOp& bound) {
    const Op& op = bound.op;
    const bool integers = layer_.form == NpuForm::layers_a16;
    const std::string result = bound.bias == nullptr ? result_ : fresh();
    slot(op.output) = integers ? integer_product(bound, result) : half_product(bound, result);
    if (bound.bias == nullptr) return;
    const auto rows = static_cast<int64_t>(bound.matrix.rows);
    std::vector<float> biases(bound.bias, bound.bias + rows);
    for (float& b : biases) b *= units(op);
    const std::string bias = halves(fresh(), {rows}, biases);
    slot(op.output) = node("Add", {slot(op.output), bias}, result_);
  }

  // [k][rows]
  template <class T, class Row>
  static std::vector<T> columns(const cpu::Matrix& matrix, const Row& row_values) {
    std::vector<float> row(matrix.k);
    std::vector<T> values(matrix.rows * matrix.k), of(matrix.k);
    for (size_t r = 0; r < matrix.rows; ++r) {
      matrix.encoding->dequantize(matrix.row(r), matrix.k, row.data());
      row_values(r, row.data(), of.data());
      for (size_t c = 0; c < matrix.k; ++c) values[c * matrix.rows + r] = of[c];
    }
    return values;
  }

  std::string half_product(const cpu::BoundOp& bound, const std::string& result) {
    const cpu::Matrix& matrix = bound.matrix;
    const auto values = columns<uint16_t>(matrix, [&](size_t, const float* row, uint16_t* to) {
      std::transform(row, row + matrix.k, to, [&](float w) { return to_half(w * units(bound.op)); });
    });
    const Dims dims = {static_cast<int64_t>(matrix.k), static_cast<int64_t>(matrix.rows)};
    const std::string weights =
        graph_.tensor(weights_name(bound.op), OnnxType::f16, dims, std::span<const uint16_t>(values));
    return node("MatMul", {slot(bound.op.input), weights}, result);
  }

  std::string steps(const std::string& x) {
    const std::string scale = number(1 / kSteps);
    const uint16_t middle = 32768;
    const std::string zero = graph_.tensor(fresh(), OnnxType::u16, {}, std::span(&middle, 1));
    return node("DequantizeLinear", {node("QuantizeLinear", {x, scale, zero}), scale, zero});
  }

  // The largest |x| of each token, and the tokens divided by it: once for all products of an input.
  const std::pair<std::string, std::string>& scaled(const std::string& x) {
    const auto found = scaled_.find(x);
    if (found != scaled_.end()) return found->second;
    const std::string size =
        node("ReduceMax", {node("Abs", {x}), graph_.integers(fresh(), {-1})}, {{"keepdims", {1}}});
    const std::string largest = node("Max", {size, number(kLeastToken)});
    return scaled_[x] = {largest, steps(node("Div", {x, largest}))};
  }

  std::string integer_product(const cpu::BoundOp& bound, const std::string& result) {
    const cpu::Matrix& matrix = bound.matrix;
    const kernels::StaticKernels& kernels = kernels::kernel_set(kernels::default_target()).exact;
    std::vector<float> scales(matrix.rows), factors(matrix.rows);
    const auto values = columns<int8_t>(matrix, [&](size_t r, const float* row, int8_t* to) {
      const float largest = kernels.largest(row, matrix.k);
      kernels.quantize_row(row, matrix.k, largest, to);
      double squares = 1;
      for (size_t c = 0; c < matrix.k; ++c)
        squares += static_cast<double>(to[c]) * static_cast<double>(to[c]);
      const double range = std::min(static_cast<double>(kReach), std::sqrt(static_cast<double>(matrix.k))) *
                           std::sqrt(squares);
      scales[r] = static_cast<float>(1 / range);
      factors[r] = static_cast<float>(range) * largest / 127 * units(bound.op);
    });
    const auto rows = static_cast<int64_t>(matrix.rows);
    const std::string name = weights_name(bound.op);
    graph_.tensor(name, OnnxType::i8, {static_cast<int64_t>(matrix.k), rows},
                  std::span<const int8_t>(values));
    const std::vector<int8_t> zeros(matrix.rows);
    const std::string weights =
        node("DequantizeLinear",
             {name, halves(name + ".scale", {rows}, scales),
              graph_.tensor(name + ".zero", OnnxType::i8, {rows}, std::span<const int8_t>(zeros))},
             {{"axis", {1}}});
    const auto& [largest, x] = scaled(slot(bound.op.input));
    const std::string sums = steps(node("MatMul", {x, weights}));
    return node("Mul", {node("Mul", {sums, halves(name + ".factor", {rows}, factors)}), largest}, result);
  }

  // x · cos + (x · R) · sin, where R puts each pair's other feature, with its sign, in a feature's place.
  void write_rope(const Op& op) {
    const int64_t size = layer_.head_size(), heads = op.heads;
    if (turns_.empty()) {
      std::vector<float> turn(static_cast<size_t>(size * size));
      const auto at = [&](uint32_t from, uint32_t to) -> float& {
        return turn[from * layer_.head_size() + to];
      };
      for (uint32_t i = 0; i < op.rope.dims / 2; ++i) {
        const uint32_t a = op.rope.neox ? i : 2 * i, b = op.rope.neox ? i + op.rope.dims / 2 : 2 * i + 1;
        at(b, a) = -1;
        at(a, b) = 1;
      }
      turns_ = halves(fresh(), {size, size}, turn);
      cosines_ = reshape("cosines", {tokens_, 1, size});
      sines_ = reshape("sines", {tokens_, 1, size});
    }
    const std::string x = reshape(slot(op.input), {tokens_ * heads, size});
    const std::string turned = reshape(node("MatMul", {x, turns_}), {tokens_, heads, size});
    const std::string sum = node(
        "Add", {node("Mul", {reshape(x, {tokens_, heads, size}), cosines_}), node("Mul", {turned, sines_})});
    slot(op.input) = reshape(sum, {tokens_, heads * size}, result_);
  }

  // All queries that share a kv head are rows of one product.
  void write_attention(const Op& op) {
    const int64_t heads = layer_.kv_heads(), size = layer_.head_size(),
                  group = static_cast<int64_t>(layer_.model->parameters.heads) / heads;
    const auto with_past = [&](Slot of, const char* past) {
      const std::string now = transpose(reshape(slot(of), {tokens_, heads, size}), {1, 0, 2});
      return layer_.past == 0 ? now : node("Concat", {past, now}, {{"axis", {1}}});
    };
    const std::string keys = transpose(with_past(Slot::key, "keys"), {0, 2, 1}),
                      values = with_past(Slot::value, "values");
    std::string q = transpose(reshape(slot(Slot::query), {tokens_, heads, group, size}), {1, 2, 0, 3});
    q = reshape(times(q, op.factor), {heads, group * tokens_, size});
    std::string scores = reshape(node("MatMul", {q, keys}), {heads, group, tokens_, all_});
    if (op.softcap > 0) scores = times(node("Tanh", {times(scores, 1 / op.softcap)}), op.softcap);
    scores = node("Add", {scores, reshape("mask", {1, 1, tokens_, all_})});
    const std::string shares =
        reshape(node("Softmax", {scores}, {{"axis", {-1}}}), {heads, group * tokens_, all_});
    const std::string context =
        transpose(reshape(node("MatMul", {shares, values}), {heads, group, tokens_, size}), {2, 0, 1, 3});
    slot(op.output) = reshape(context, {tokens_, heads * group * size}, result_);
  }

  std::string activated(Activation activation, const std::string& x) {
    switch (activation) {
      case Activation::silu:
        return node("Mul", {x, node("Sigmoid", {x})});
      case Activation::gelu_tanh: {
        const std::string cubed = node("Mul", {node("Mul", {times(x, 0.044715f), x}), x});
        const auto factor = static_cast<float>(std::sqrt(2 * std::numbers::inv_pi));
        const std::string inside = times(node("Add", {x, cubed}), factor);
        return node("Mul", {times(x, 0.5f), node("Add", {node("Tanh", {inside}), number(1)})});
      }
      case Activation::gelu_erf:
        return node("Gelu", {x});
      case Activation::sigmoid:
        return node("Sigmoid", {x});
      case Activation::relu_squared: {
        const std::string positive = node("Relu", {x});
        return node("Mul", {positive, positive});
      }
      default:
        fail(ErrorCode::unsupported, "{}: {}: an activation that is not in whole layers", layer_.path,
             layer_.name);
    }
  }

  const LayerGraph& layer_;
  const int64_t tokens_, all_;
  OnnxGraph graph_;
  std::map<Slot, std::string> slots_;
  std::map<size_t, std::string> results_;  // by op: the name under which the graph gives it back
  std::map<std::string, std::pair<std::string, std::string>> scaled_;
  std::string result_, turns_, cosines_, sines_;
  size_t count_ = 0;
};

}  // namespace

std::string write_layer(const LayerGraph& layer) {
  return LayerWriter(layer).write();
}

}  // namespace cairn::offload::onnx
