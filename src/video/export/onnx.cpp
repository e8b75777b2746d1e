// Field numbers are those of onnx.proto (github.com/onnx/onnx), operators those of opset 13.
#include "video/export/onnx.hpp"

#include <fmt/format.h>

#include <bit>
#include <span>
#include <vector>

#include "video/export/protobuf.hpp"

namespace cairn::video {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr int kFloat = 1, kInt64 = 7;  // TensorProto.DataType

struct Attribute {
  const char* name;
  std::vector<int64_t> numbers;  // one: an INT, unless `list`
  bool list = false;
  const char* text = nullptr;
};

Message encoded(const Attribute& a) {
  constexpr int kInt = 2, kString = 3, kInts = 7;
  Message m;
  m.bytes(1, a.name);
  if (a.text != nullptr) return m.bytes(4, a.text).number(20, kString);
  if (!a.list) return m.number(3, a.numbers.at(0)).number(20, kInt);
  for (const int64_t number : a.numbers) m.number(8, number);
  return m.number(20, kInts);
}

Message value_info(const char* name, const std::vector<std::string>& dims) {
  Message shape;
  for (const std::string& dim : dims) {
    const bool digits = dim.find_first_not_of("0123456789") == std::string::npos;
    shape.message(1, digits ? Message().number(1, std::stoll(dim)) : Message().bytes(2, dim));
  }
  const Message tensor = Message().number(1, kFloat).message(2, shape);
  return Message().bytes(1, name).message(2, Message().message(1, tensor));
}

// A graph that grows node by node; each value has the name of what made it.
class Graph {
 public:
  std::string floats(const std::string& name, const std::vector<int64_t>& dims,
                     std::span<const float> values) {
    tensor(name, kFloat, dims).raw(9, values);
    graph_.message(5, tensor_);
    return name;
  }
  std::string integers(const std::string& name, const std::vector<int64_t>& values) {
    tensor(name, kInt64, {static_cast<int64_t>(values.size())}).raw(9, std::span(values));
    graph_.message(5, tensor_);
    return name;
  }
  std::string node(const char* type, const std::vector<std::string>& inputs, const std::string& output,
                   const std::vector<Attribute>& attributes = {}) {
    Message m;
    for (const std::string& input : inputs) m.bytes(1, input);
    m.bytes(2, output).bytes(3, output).bytes(4, type);
    for (const Attribute& attribute : attributes) m.message(5, encoded(attribute));
    graph_.message(1, m);
    return output;
  }

  // `margin` samples on each side, the edge's.
  std::string padded(const std::string& of, int64_t margin, const std::string& name) {
    if (margin == 0) return of;
    const std::string pads = integers(name + ".pads", {0, 0, margin, margin, 0, 0, margin, margin});
    return node("Pad", {of, pads}, name, {{"mode", {}, false, "edge"}});
  }
  std::string cut(const std::string& of, int64_t margin, const std::string& name) {
    if (margin == 0) return of;
    return node("Slice",
                {of, integers(name + ".starts", {margin, margin}),
                 integers(name + ".ends", {-margin, -margin}), integers(name + ".axes", {2, 3})},
                name);
  }
  // Without padding. weights: [out][in / groups][kernel][kernel].
  std::string convolved(const std::string& of, const std::vector<int64_t>& dims,
                        std::span<const float> weights, std::span<const float> bias, const std::string& name,
                        int64_t groups = 1) {
    std::vector<std::string> inputs = {of, floats(name + ".weights", dims, weights)};
    if (!bias.empty()) inputs.push_back(floats(name + ".bias", {dims[0]}, bias));
    return node("Conv", inputs, name, {{"kernel_shape", {dims[2], dims[3]}, true}, {"group", {groups}}});
  }
  std::string between_0_and_1(const std::string& of, const std::string& name) {
    constexpr float kZero = 0, kOne = 1;
    return node("Clip",
                {of, floats(name + ".least", {}, {&kZero, 1}), floats(name + ".most", {}, {&kOne, 1})}, name);
  }
  // Channels c · scale² + phase to their places.
  std::string spread(const std::string& of, int64_t scale, const std::string& name) {
    if (scale == 1) return of;
    return node("DepthToSpace", {of}, name, {{"blocksize", {scale}}, {"mode", {}, false, "CRD"}});
  }

  Message& message() { return graph_; }

 private:
  Message& tensor(const std::string& name, int type, const std::vector<int64_t>& dims) {
    tensor_ = {};
    for (const int64_t dim : dims) tensor_.number(1, dim);
    return tensor_.number(2, type).bytes(8, name);
  }
  Message graph_, tensor_;
};

// The last layer's output, at the small size (or, on_upscaled, the restored one).
std::string add_layers(Graph& graph, const Network& network) {
  int64_t margin = 0;
  for (const Layer& layer : network.layers) margin += layer.kernel / 2;
  std::string value;
  if (network.on_upscaled) {
    const int64_t scale = network.scale, more = (margin + scale - 1) / scale;
    const std::vector<float> taps = bicubic_taps(network.scale);
    std::vector<float> all;
    for (uint32_t f = 0; f < network.frames; ++f) all.insert(all.end(), taps.begin(), taps.end());
    value = graph.padded("small", more + kSkipSide / 2, "margin");
    value = graph.convolved(value, {network.frames * scale * scale, 1, kSkipSide, kSkipSide}, all, {},
                            "bicubic", network.frames);
    value = graph.between_0_and_1(graph.spread(value, scale, "upscaled"), "upscaled.clipped");
    value = graph.cut(value, more * scale - margin, "upscaled.cut");
  } else {
    value = graph.padded("small", margin, "margin");
  }
  constexpr float kMiddle = 0.5f;
  value = graph.node("Sub", {value, graph.floats("middle", {}, {&kMiddle, 1})}, "centred");
  std::vector<std::string> outputs;
  std::vector<int64_t> margins;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const std::string name = fmt::format("layer{}", i);
    margin -= layer.kernel / 2;
    value = graph.convolved(value, {layer.out, layer.in, layer.kernel, layer.kernel}, layer.weights,
                            layer.bias, name);
    if (layer.add >= 0) {
      const auto from = static_cast<size_t>(layer.add);
      value = graph.node("Add", {value, graph.cut(outputs[from], margins[from] - margin, name + ".before")},
                         name + ".sum");
    }
    if (layer.relu) value = graph.node("Relu", {value}, name + ".relu");
    outputs.push_back(value);
    margins.push_back(margin);
  }
  return value;
}

}  // namespace

std::string write_onnx(const Network& network, const OnnxNotes& notes) {
  const int64_t scale = network.scale, phases = scale * scale, frames = network.frames;
  Graph graph;
  // The 5×5 filter, bicubic included; it sees the frame itself alone.
  const std::vector<float> bicubic = bicubic_taps(network.scale);
  std::vector<float> taps(static_cast<size_t>(phases * frames) * kSkipTaps, 0.0f);
  for (size_t i = 0; i < bicubic.size(); ++i)
    taps[i / kSkipTaps * kSkipTaps * network.frames + i % kSkipTaps] = bicubic[i] + network.skip[i];
  std::string value = graph.convolved(graph.padded("small", kSkipSide / 2, "margin5x5"),
                                      {phases, frames, kSkipSide, kSkipSide}, taps, {}, "filter5x5");
  if (network.on_upscaled) value = graph.spread(value, scale, "filtered");
  if (!network.layers.empty()) value = graph.node("Add", {add_layers(graph, network), value}, "sum");
  if (!network.on_upscaled) value = graph.spread(value, scale, "placed");
  graph.between_0_and_1(value, "restored");
  graph.message().bytes(2, notes.name);
  graph.message().message(11, value_info("small", {"batch", fmt::format("{}", frames), "height", "width"}));
  graph.message().message(12, value_info("restored", {"batch", "1", "restored_height", "restored_width"}));

  constexpr int kIrVersion = 7;  // the oldest that has opset 13
  Message model;
  model.number(1, kIrVersion).bytes(2, "cairn").message(7, graph.message());
  model.message(8, Message().bytes(1, "").number(2, kOnnxOpset));
  const auto note = [&](const char* key, const std::string& text) {
    model.message(14, Message().bytes(1, key).bytes(2, text));
  };
  note("network", notes.name);
  note("plane", network.plane == Network::Plane::luma ? "luma" : "chroma");
  note("scale", fmt::format("{}", network.scale));
  note("restored_width", fmt::format("{}", notes.width));
  note("restored_height", fmt::format("{}", notes.height));
  note("peak", notes.bits == 8 ? "255" : "1023");
  return model.str();
}

}  // namespace cairn::video
