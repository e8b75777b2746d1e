// Field numbers are those of onnx.proto.
#include "formats/onnx_graph.hpp"

#include <bit>

namespace cairn::formats {
namespace {

static_assert(std::endian::native == std::endian::little);

Message encoded(const OnnxAttribute& a) {
  constexpr int kFloat = 1, kInt = 2, kString = 3, kInts = 7;
  Message m;
  m.bytes(1, a.name);
  if (a.text != nullptr) return m.bytes(4, a.text).number(20, kString);
  if (a.real) return m.real(2, *a.real).number(20, kFloat);
  if (!a.list) return m.number(3, a.numbers.at(0)).number(20, kInt);
  for (const int64_t number : a.numbers) m.number(8, number);
  return m.number(20, kInts);
}

Message value_info(const std::string& name, OnnxType type, const std::vector<std::string>& dims) {
  Message shape;
  for (const std::string& dim : dims) {
    const bool digits = dim.find_first_not_of("0123456789") == std::string::npos;
    shape.message(1, digits ? Message().number(1, std::stoll(dim)) : Message().bytes(2, dim));
  }
  const Message tensor = Message().number(1, static_cast<int>(type)).message(2, shape);
  return Message().bytes(1, name).message(2, Message().message(1, tensor));
}

}  // namespace

std::string OnnxGraph::tensor(const std::string& name, OnnxType type, const std::vector<int64_t>& dims,
                              std::span<const std::byte> bytes) {
  Message m;
  for (const int64_t dim : dims) m.number(1, dim);
  m.number(2, static_cast<int>(type)).bytes(8, name).raw(9, bytes);
  graph_.message(5, m);
  return name;
}

std::string OnnxGraph::node(const char* type, const std::vector<std::string>& inputs,
                            const std::string& output, const std::vector<OnnxAttribute>& attributes) {
  Message m;
  for (const std::string& input : inputs) m.bytes(1, input);
  m.bytes(2, output).bytes(3, output).bytes(4, type);
  for (const OnnxAttribute& attribute : attributes) m.message(5, encoded(attribute));
  graph_.message(1, m);
  return output;
}

void OnnxGraph::call(const std::string& name) {
  graph_.bytes(2, name);
}

void OnnxGraph::input(const std::string& name, OnnxType type, const std::vector<std::string>& dims) {
  graph_.message(11, value_info(name, type, dims));
}

void OnnxGraph::output(const std::string& name, OnnxType type, const std::vector<std::string>& dims) {
  graph_.message(12, value_info(name, type, dims));
}

std::string OnnxGraph::model(int opset, int ir_version,
                             const std::vector<std::pair<std::string, std::string>>& notes) const {
  Message model;
  model.number(1, ir_version).bytes(2, "cairn").message(7, graph_);
  model.message(8, Message().bytes(1, "").number(2, opset));
  for (const auto& [key, text] : notes) model.message(14, Message().bytes(1, key).bytes(2, text));
  return model.str();
}

}  // namespace cairn::formats
