#include "offload/openvino/ir.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <initializer_list>

#include "base/error.hpp"

namespace cairn::offload::openvino {
namespace {

constexpr size_t kAlignment = 64;
constexpr uint64_t kMostBytes = uint64_t{1} << 31;  // NPUs address less; a larger product is a broken model
constexpr float kRange[2] = {-128, 127};  // of FakeQuantize: all of int8, so that it changes nothing

size_t aligned(size_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

using Sizes = std::vector<uint32_t>;

// Layers in order, each with one output, and the edges between them.
class Writer {
 public:
  struct Node {
    size_t id = 0;
    std::string precision;  // "I8", "FP32"
    Sizes sizes;
  };

  Node parameter(const std::string& name, const char* type, const char* precision, const Sizes& sizes) {
    return layer("Parameter", name,
                 fmt::format(R"(shape="{}" element_type="{}")", fmt::join(sizes, ","), type), {}, precision,
                 sizes);
  }
  Node constant(const char* type, const char* precision, const Sizes& sizes, size_t offset, size_t bytes) {
    return layer("Const", "",
                 fmt::format(R"(element_type="{}" shape="{}" offset="{}" size="{}")", type,
                             fmt::join(sizes, ","), offset, bytes),
                 {}, precision, sizes);
  }
  Node to_float(const Node& node) {
    return layer("Convert", "", R"(destination_type="f32")", {node}, "FP32", node.sizes);
  }
  Node fake_quantize(const Node& node) {
    if (range_.empty()) {
      range_ = {constant("f32", "FP32", {}, 0, sizeof(float)),
                constant("f32", "FP32", {}, sizeof(float), sizeof(float))};
    }
    return layer("FakeQuantize", "", R"(levels="256" auto_broadcast="numpy")",
                 {node, range_[0], range_[1], range_[0], range_[1]}, "FP32", node.sizes);
  }
  Node multiply(const Node& a, const Node& b) {
    return layer("Multiply", "", R"(auto_broadcast="numpy")", {a, b}, "FP32", a.sizes);
  }
  Node matmul(const Node& a, const Node& b) {  // a · bᵀ
    return layer("MatMul", "", R"(transpose_a="false" transpose_b="true")", {a, b}, "FP32",
                 {a.sizes[0], b.sizes[0]});
  }
  void result(const std::string& name, const Node& node) {
    const size_t id = next_++;
    layers_ +=
        fmt::format(R"(<layer id="{}" name="{}" type="Result" version="opset1"><input>{}</input></layer>)",
                    id, name, port(0, node));
    edge(node, id, 0);
  }

  std::string finish() const {
    return fmt::format(
        R"(<?xml version="1.0"?><net name="cairn" version="11"><layers>{}</layers><edges>{}</edges></net>)",
        layers_, edges_);
  }

 private:
  static std::string port(size_t index, const Node& node, const std::string& name = "") {
    std::string text = fmt::format(R"(<port id="{}" precision="{}"{}>)", index, node.precision,
                                   name.empty() ? "" : fmt::format(R"( names="{}")", name));
    for (const uint32_t size : node.sizes) text += fmt::format("<dim>{}</dim>", size);
    return text + "</port>";
  }
  void edge(const Node& from, size_t to, size_t to_port) {
    edges_ += fmt::format(R"(<edge from-layer="{}" from-port="{}" to-layer="{}" to-port="{}"/>)", from.id,
                          outputs_[from.id], to, to_port);
  }
  Node layer(const char* type, const std::string& name, const std::string& data,
             std::initializer_list<Node> inputs, const char* precision, const Sizes& sizes) {
    const Node node = {next_++, precision, sizes};
    layers_ += fmt::format(R"(<layer id="{}" name="{}" type="{}" version="opset1"><data {}/>)", node.id,
                           name.empty() ? fmt::format("{}_{}", type, node.id) : name, type, data);
    size_t index = 0;
    if (inputs.size() > 0) {
      layers_ += "<input>";
      for (const Node& input : inputs) {
        layers_ += port(index, input);
        edge(input, node.id, index++);
      }
      layers_ += "</input>";
    }
    layers_ += fmt::format("<output>{}</output></layer>", port(index, node, name));
    outputs_.resize(next_);
    outputs_[node.id] = index;
    return node;
  }

  size_t next_ = 0;
  std::vector<size_t> outputs_;  // a layer's output port comes after its input ports
  std::vector<Node> range_;
  std::string layers_, edges_;
};

}  // namespace

std::string GraphShape::text() const {
  return fmt::format("{}x{}:{}", tokens, k, fmt::join(rows, ","));
}

GraphShape shape_of(const Int8Graph& graph) {
  GraphShape shape{graph.tokens, graph.linears.empty() ? 0 : graph.linears[0].k, {}};
  uint64_t bytes = 0;
  for (const Int8Linear& linear : graph.linears) {
    if (linear.k != shape.k) {
      fail(ErrorCode::invalid_argument, "{}: {} has {} inputs where {} has {}", graph.name, linear.name,
           linear.k, graph.linears[0].name, shape.k);
    }
    bytes += uint64_t{linear.rows} * linear.k;
    if (linear.rows == 0 || bytes > kMostBytes) {
      fail(ErrorCode::invalid_argument, "{}: {} of {} x {} is empty or too large for one graph", graph.name,
           linear.name, linear.rows, linear.k);
    }
    shape.rows.push_back(linear.rows);
  }
  if (shape.tokens == 0 || shape.k == 0) {
    fail(ErrorCode::invalid_argument, "{}: a graph of {} tokens and {} inputs", graph.name, shape.tokens,
         shape.k);
  }
  return shape;
}

WeightLayout::WeightLayout(const GraphShape& shape) : bytes(kConstants) {
  for (const uint32_t rows : shape.rows) {
    Linear linear;
    linear.values = bytes;
    linear.scales = aligned(linear.values + size_t{rows} * shape.k);
    bytes = aligned(linear.scales + size_t{rows} * sizeof(float));
    linears.push_back(linear);
  }
}

void WeightLayout::put_constants(std::byte* block) {
  std::memcpy(block, kRange, sizeof(kRange));
}

// The int8 products of OpenVINO's CPU plug-in are reached through FakeQuantize alone: int8 → f32 →
// FakeQuantize over int8's own range is recognised by its low-precision transformations, which then drop both
// and keep an int8 MatMul. Convert + Multiply on the input is not: weights are then taken for compressed
// ones, the input is quantised anew, in groups, and the result is off by 0.4 %.
std::string write_ir(const GraphShape& shape, WeightPlacement placement, Arithmetic arithmetic) {
  Writer ir;
  const WeightLayout layout(shape);
  const bool int8 = arithmetic == Arithmetic::int8;
  const auto x = ir.to_float(ir.parameter("x", "i8", "I8", {shape.tokens, shape.k}));
  const auto input = int8 ? ir.fake_quantize(x) : x;
  for (size_t i = 0; i < shape.rows.size(); ++i) {
    const uint32_t rows = shape.rows[i];
    const size_t values = size_t{rows} * shape.k, scales = size_t{rows} * sizeof(float);
    const std::string output = fmt::format("y{}", i);
    if (placement == WeightPlacement::inputs) {
      auto w = ir.to_float(ir.parameter(fmt::format("w{}", i), "i8", "I8", {rows, shape.k}));
      const auto scale = ir.parameter(fmt::format("s{}", i), "f32", "FP32", {1, rows});
      if (int8) w = ir.fake_quantize(w);
      ir.result(output, ir.multiply(ir.matmul(input, w), scale));
      continue;
    }
    const auto w = ir.to_float(ir.constant("i8", "I8", {rows, shape.k}, layout.linears[i].values, values));
    if (int8) {  // a scale inside the product is what a compiler for NPUs expects
      const auto scale = ir.constant("f32", "FP32", {rows, 1}, layout.linears[i].scales, scales);
      ir.result(output, ir.matmul(input, ir.multiply(w, scale)));
    } else {
      const auto scale = ir.constant("f32", "FP32", {1, rows}, layout.linears[i].scales, scales);
      ir.result(output, ir.multiply(ir.matmul(input, w), scale));
    }
  }
  return ir.finish();
}

}  // namespace cairn::offload::openvino
