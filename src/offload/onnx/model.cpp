#include "offload/onnx/model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "formats/onnx_graph.hpp"

namespace cairn::offload::onnx {
namespace {

using formats::OnnxGraph;
using formats::OnnxType;

constexpr int kOpset = 21, kIrVersion = 10;  // the first with 4 and 16 bits in DequantizeLinear
constexpr float kReach = 3;                  // of sums, in 127 ‖values‖
constexpr uint32_t kBatch = 64;              // rows unpacked at a time

// A linear's weights as ONNX multiplies by them: [k][rows].
struct Columns {
  std::vector<int8_t> values;
  std::vector<float> scales;  // the model's, by row; of 4 bits: theirs
  std::vector<float> ranges;  // sum_range() of each row
};

// Rounds a row again to −7 … 7; the factor of its values: that of the least squares of a few tries.
float to_four_bits(int8_t* values, uint32_t k) {
  int largest = 1;
  for (uint32_t c = 0; c < k; ++c) largest = std::max(largest, std::abs(static_cast<int>(values[c])));
  float best_step = static_cast<float>(largest) / 7;
  double best = 1e300;
  for (int percent = 100; percent >= 60; percent -= 5) {
    const float step = static_cast<float>(largest) * static_cast<float>(percent) / 700;
    double error = 0;
    for (uint32_t c = 0; c < k; ++c) {
      const float x = values[c];
      const float rest = x - step * std::clamp(std::nearbyint(x / step), -7.0f, 7.0f);
      error += static_cast<double>(rest) * rest;
    }
    if (error < best) {
      best = error;
      best_step = step;
    }
  }
  for (uint32_t c = 0; c < k; ++c)
    values[c] = static_cast<int8_t>(std::clamp(std::nearbyint(values[c] / best_step), -7.0f, 7.0f));
  return best_step;
}

Columns columns_of(const Int8Linear& linear, WeightBits bits) {
  const size_t rows = linear.rows, k = linear.k;
  Columns columns{std::vector<int8_t>(rows * k), std::vector<float>(rows), std::vector<float>(rows)};
  std::vector<int8_t> batch(kBatch * k);
  for (uint32_t begin = 0; begin < rows; begin += kBatch) {
    const uint32_t count = std::min<uint32_t>(kBatch, linear.rows - begin);
    linear.fill(begin, count, batch.data(), columns.scales.data() + begin);
    for (uint32_t i = 0; i < count; ++i) {
      int8_t* row = batch.data() + i * k;
      if (bits == WeightBits::four) columns.scales[begin + i] *= to_four_bits(row, linear.k);
      columns.ranges[begin + i] = sum_range(row, linear.k);
    }
    for (size_t c = 0; c < k; ++c) {
      int8_t* to = columns.values.data() + c * rows + begin;
      for (uint32_t i = 0; i < count; ++i) to[i] = batch[i * k + c];
    }
  }
  return columns;
}

// Writes the graph's parts under its own name.
class Writer {
 public:
  Writer(const Int8Graph& graph) : source_(graph) {}

  // Weights are called alike in the graphs of all lengths: so a shared context has them once.
  std::string weights_name(size_t i) const { return fmt::format("{}.w{}", source_.name, i); }
  std::string name() const { return fmt::format("{}.{}", source_.name, source_.tokens); }
  std::string name(const char* what, size_t i) const { return fmt::format("{}.{}{}", name(), what, i); }
  std::string scalar(const std::string& name, float scale) { return graph_.number(name + ".scale", scale); }
  template <class T>
  std::string zero(const std::string& name, OnnxType type, T value) {
    return graph_.tensor(name + ".zero", type, {}, std::span<const T>(&value, 1));
  }
  std::string dequantised(const std::string& of, const std::string& scale, const std::string& zero,
                          const std::string& name, std::vector<formats::OnnxAttribute> attributes = {}) {
    return graph_.node("DequantizeLinear", {of, scale, zero}, name, attributes);
  }
  OnnxGraph& graph() { return graph_; }

 private:
  const Int8Graph& source_;
  OnnxGraph graph_;
};

std::string packed_weights(Writer& writer, const std::string& name, const Columns& columns,
                           const std::vector<int64_t>& dims, WeightBits bits) {
  if (bits == WeightBits::eight)
    return writer.graph().tensor(name, OnnxType::i8, dims, std::span<const int8_t>(columns.values));
  std::vector<uint8_t> pairs((columns.values.size() + 1) / 2);
  for (size_t i = 0; i < columns.values.size(); ++i)
    pairs[i / 2] |= static_cast<uint8_t>((columns.values[i] & 15) << (i % 2 * 4));
  return writer.graph().tensor(name, OnnxType::i4, dims, std::span<const uint8_t>(pairs));
}

std::string weight_zeros(Writer& writer, const std::string& name, size_t rows, WeightBits bits) {
  const bool eight = bits == WeightBits::eight;
  const std::vector<int8_t> zeros(eight ? rows : (rows + 1) / 2);
  return writer.graph().tensor(name + ".zero", eight ? OnnxType::i8 : OnnxType::i4,
                               {static_cast<int64_t>(rows)}, std::span<const int8_t>(zeros));
}

}  // namespace

float sum_range(const int8_t* values, uint32_t k) {
  int64_t squares = 0;
  for (uint32_t c = 0; c < k; ++c) squares += values[c] * values[c];
  return std::min(kReach, std::sqrt(static_cast<float>(k))) * 127 *
         std::sqrt(static_cast<float>(std::max<int64_t>(squares, 1)));
}

WrittenModel write_model(const Int8Graph& source, Form form, WeightBits bits) {
  Writer writer(source);
  OnnxGraph& graph = writer.graph();
  WrittenModel written;
  const std::string tokens = std::to_string(source.tokens);
  graph.call(writer.name());
  graph.input("x", OnnxType::u8, {tokens, std::to_string(source.linears.front().k)});
  const std::string x_name = writer.name("x", 0);
  const std::string x_zero = writer.zero<uint8_t>(x_name, OnnxType::u8, 128);
  std::string x = "x";
  if (form != Form::integers) x = writer.dequantised(x, writer.scalar(x_name, 1), x_zero, x_name);
  if (form == Form::steps) {
    // All 16 bits: the device rounds at the end of what is multiplied, which 8 bits more put below the
    // output's steps.
    const std::string wide = writer.name("wide", 0);
    const std::string scale = writer.scalar(wide, 1.0f / 256),
                      zero = writer.zero<uint16_t>(wide, OnnxType::u16, 32768);
    x = writer.dequantised(graph.node("QuantizeLinear", {x, scale, zero}, wide + ".steps"), scale, zero,
                           wide);
  }
  for (size_t i = 0; i < source.linears.size(); ++i) {
    const Int8Linear& linear = source.linears[i];
    const std::vector<int64_t> dims = {linear.k, linear.rows};
    const std::string w = writer.weights_name(i), output = fmt::format("y{}", i);
    Columns columns = columns_of(linear, bits);
    OutputScale scale{columns.scales};
    if (form == Form::integers) {
      std::vector<uint8_t> values(columns.values.size());
      for (size_t v = 0; v < values.size(); ++v) values[v] = static_cast<uint8_t>(columns.values[v] + 128);
      graph.tensor(w, OnnxType::u8, dims, std::span<const uint8_t>(values));
      graph.node("MatMulInteger", {x, w, x_zero, writer.zero<uint8_t>(w, OnnxType::u8, 128)}, output);
      graph.output(output, OnnxType::i32, {tokens, std::to_string(linear.rows)});
    } else {
      // steps: rows are scaled so that each one's range is 1; the model's scale comes in afterwards.
      std::vector<float> scales(linear.rows);
      for (size_t r = 0; r < scales.size(); ++r) {
        scales[r] = form == Form::steps ? 1 / columns.ranges[r] : columns.scales[r];
        scale.factors[r] = form == Form::steps ? columns.scales[r] * columns.ranges[r] / 32767 : 1.0f;
      }
      packed_weights(writer, w, columns, dims, bits);
      const std::string weights = writer.dequantised(w, graph.floats(w + ".scale", {linear.rows}, scales),
                                                     weight_zeros(writer, w, linear.rows, bits),
                                                     writer.name("w", i), {{"axis", {1}}});
      if (form == Form::steps) {
        const std::string product = graph.node("MatMul", {x, weights}, writer.name("product", i));
        const std::string step = writer.name("y", i);
        graph.node(
            "QuantizeLinear",
            {product, writer.scalar(step, 1.0f / 32767), writer.zero<uint16_t>(step, OnnxType::u16, 32768)},
            output);
        graph.output(output, OnnxType::u16, {tokens, std::to_string(linear.rows)});
      } else {
        graph.node("MatMul", {x, weights}, output);
        graph.output(output, OnnxType::f32, {tokens, std::to_string(linear.rows)});
      }
    }
    written.outputs.push_back(std::move(scale));
  }
  written.bytes = graph.model(kOpset, kIrVersion);
  return written;
}

}  // namespace cairn::offload::onnx
