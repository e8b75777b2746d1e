// Field numbers are those of onnx.proto (github.com/onnx/onnx), operators those of opset 13.
#include "video/export/onnx.hpp"

#include <fmt/format.h>

#include <span>
#include <vector>

#include "formats/onnx_graph.hpp"

namespace cairn::video {
namespace {

// The operations of restoring.
class Graph : public formats::OnnxGraph {
 public:
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
    return node("Clip", {of, number(name + ".least", 0), number(name + ".most", 1)}, name);
  }
  // Channels c · scale² + phase to their places.
  std::string spread(const std::string& of, int64_t scale, const std::string& name) {
    if (scale == 1) return of;
    return node("DepthToSpace", {of}, name, {{"blocksize", {scale}}, {"mode", {}, false, "CRD"}});
  }
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
  value = graph.node("Sub", {value, graph.number("middle", 0.5f)}, "centred");
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
  graph.call(notes.name);
  graph.input("small", formats::OnnxType::f32, {"batch", fmt::format("{}", frames), "height", "width"});
  graph.output("restored", formats::OnnxType::f32, {"batch", "1", "restored_height", "restored_width"});

  constexpr int kIrVersion = 7;  // the oldest that has opset 13
  return graph.model(kOnnxOpset, kIrVersion,
                     {{"network", notes.name},
                      {"plane", network.plane == Network::Plane::luma ? "luma" : "chroma"},
                      {"scale", fmt::format("{}", network.scale)},
                      {"restored_width", fmt::format("{}", notes.width)},
                      {"restored_height", fmt::format("{}", notes.height)},
                      {"peak", notes.bits == 8 ? "255" : "1023"}});
}

}  // namespace cairn::video
