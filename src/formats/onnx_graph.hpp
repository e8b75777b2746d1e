// ONNX models, written: tensors, nodes and the values between them (github.com/onnx/onnx, onnx.proto).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "formats/protobuf.hpp"

namespace cairn::formats {

// TensorProto.DataType
enum class OnnxType : int { f32 = 1, u8 = 2, i8 = 3, u16 = 4, i32 = 6, i64 = 7, f16 = 10, i4 = 22 };

struct OnnxAttribute {
  const char* name;
  std::vector<int64_t> numbers;  // one: an INT, unless `list`
  bool list = false;
  const char* text = nullptr;
  std::optional<float> real{};  // a FLOAT in the numbers' place
};

// A graph that grows node by node; each value has the name of what made it.
class OnnxGraph {
 public:
  // An initialiser of `bytes` as ONNX keeps them (little-endian; 4 bits: two in a byte, the first below).
  // Returns its name, as the others do.
  std::string tensor(const std::string& name, OnnxType type, const std::vector<int64_t>& dims,
                     std::span<const std::byte> bytes);
  template <class T>
  std::string tensor(const std::string& name, OnnxType type, const std::vector<int64_t>& dims,
                     std::span<const T> values) {
    return tensor(name, type, dims, std::as_bytes(values));
  }
  std::string floats(const std::string& name, const std::vector<int64_t>& dims,
                     std::span<const float> values) {
    return tensor(name, OnnxType::f32, dims, values);
  }
  std::string number(const std::string& name, float value) { return floats(name, {}, {&value, 1}); }
  std::string integers(const std::string& name, const std::vector<int64_t>& values) {
    return tensor(name, OnnxType::i64, {static_cast<int64_t>(values.size())}, std::span(values));
  }
  std::string node(const char* type, const std::vector<std::string>& inputs, const std::string& output,
                   const std::vector<OnnxAttribute>& attributes = {});
  void call(const std::string& name);
  // dims: digits, or the name of a size that differs from run to run.
  void input(const std::string& name, OnnxType type, const std::vector<std::string>& dims);
  void output(const std::string& name, OnnxType type, const std::vector<std::string>& dims);

  // The whole model; notes: key and text of its metadata.
  std::string model(int opset, int ir_version,
                    const std::vector<std::pair<std::string, std::string>>& notes = {}) const;

 private:
  Message graph_;
};

}  // namespace cairn::formats
