#include "quantize/fingerprint.hpp"

#include <cstdint>
#include <span>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/sha256.hpp"

namespace cairn::quantize {
namespace {

constexpr size_t kWhole = 8 << 10, kStretch = 256, kStretches = 16;

class Digest {
 public:
  template <class T>
  requires std::is_arithmetic_v<T>
  void add(T value) { hash_.update(std::as_bytes(std::span(&value, 1))); }
  // Lengths go first, so that no two lists run into each other.
  void add(std::string_view text) {
    add(uint64_t{text.size()});
    hash_.update(std::as_bytes(std::span(text)));
  }
  template <class T>
  void add(const std::vector<T>& values) {
    add(uint64_t{values.size()});
    for (const T& value : values) add(value);
  }
  void add(const std::vector<bool>& values) {
    add(uint64_t{values.size()});
    for (const bool value : values) add(value);
  }
  void bytes(std::span<const std::byte> data) { hash_.update(data); }
  std::string hex() { return hash_.hex(); }

 private:
  Sha256 hash_;
};

}  // namespace

std::string model_fingerprint(const gguf::File& file) {
  Digest digest;
  digest.add(file.file_bytes());
  for (const auto& [key, value] : file.metadata()) {
    digest.add(std::string_view(key));
    digest.add(uint64_t{value.index()});
    std::visit([&](const auto& v) { digest.add(v); }, value);
  }
  for (const gguf::Tensor& tensor : file.tensors()) {
    digest.add(tensor.name);
    digest.add(static_cast<uint32_t>(tensor.encoding));
    digest.add(tensor.shape);
    if (tensor.data.size() <= kWhole) {
      digest.bytes(tensor.data);
      continue;
    }
    const size_t last = tensor.data.size() - kStretch;
    for (size_t i = 0; i < kStretches; ++i) {
      digest.bytes(tensor.data.subspan(last * i / (kStretches - 1), kStretch));
    }
  }
  return digest.hex();
}

}  // namespace cairn::quantize
