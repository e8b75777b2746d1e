#include "quantize/scheme.hpp"

#include <span>

namespace cairn::quantize {
namespace {

// FNV-1a, 64 bits, over the fields one by one (padding never enters).
class Hash {
 public:
  void bytes(std::span<const std::byte> data) {
    for (const std::byte b : data) value_ = (value_ ^ static_cast<uint64_t>(b)) * 0x100000001b3;
  }
  template <class T>
  void field(const T& value) {
    bytes(std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  void list(const std::vector<T>& values) {
    field(values.size());
    bytes(std::as_bytes(std::span(values)));
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325;
};

}  // namespace

const char* name(Input input) {
  switch (input) {
    case Input::qkv:
      return "qkv";
    case Input::attention_output:
      return "attention_output";
    case Input::gate_up:
      return "gate_up";
    case Input::down:
      return "down";
    case Input::count:
      break;
  }
  return "";
}

uint64_t Scheme::fingerprint() const {
  Hash hash;
  hash.field(weight_scale);
  hash.field(float_tokens);
  for (const auto& layer : layers) {
    for (const Treatment& t : layer) {
      hash.field(t.float_product);
      hash.field(t.scale_kind);
      hash.field(t.scale);
      hash.field(t.outliers);
      hash.field(t.threshold);
      hash.field(t.rotate);
      hash.list(t.divisors);
      hash.list(t.hot);
    }
  }
  return hash.value();
}

}  // namespace cairn::quantize
