#include "formats/gguf_writer.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>
#include <type_traits>

#include "base/atomic_file.hpp"
#include "base/error.hpp"

namespace cairn::gguf {
namespace {

// The specification's gguf_metadata_value_type of each kind that is written.
template <class T>
constexpr uint32_t kind_of() {
  if constexpr (std::is_same_v<T, uint32_t>) return 4;
  if constexpr (std::is_same_v<T, int32_t>) return 5;
  if constexpr (std::is_same_v<T, float>) return 6;
  if constexpr (std::is_same_v<T, bool>) return 7;
  if constexpr (std::is_same_v<T, std::string>) return 8;
  if constexpr (std::is_same_v<T, uint64_t>) return 10;
  if constexpr (std::is_same_v<T, int64_t>) return 11;
  if constexpr (std::is_same_v<T, double>) return 12;
}
constexpr uint32_t kArray = 9;

uint64_t padding(uint64_t offset) {
  return (Writer::kAlignment - offset % Writer::kAlignment) % Writer::kAlignment;
}

// Counts what it writes: the data's start follows from the header's length.
class Output {
 public:
  explicit Output(const Writer::Sink& sink) : sink_(sink) {}

  void bytes(std::span<const std::byte> data) {
    sink_(data);
    offset_ += data.size();
  }
  void pad() {
    static constexpr std::array<std::byte, Writer::kAlignment> kZeros{};
    bytes(std::span(kZeros).first(padding(offset_)));
  }

  template <class T>
  requires std::is_arithmetic_v<T>
  void put(const T& value) { bytes(std::as_bytes(std::span(&value, 1))); }
  void put(std::string_view text) {
    put(uint64_t{text.size()});
    bytes(std::as_bytes(std::span(text)));
  }

  void value(const WriterValue& any) {
    std::visit([this](const auto& v) { kind_and_value(v); }, any);
  }

 private:
  template <class T>
  void kind_and_value(const T& value) {
    put(kind_of<T>());
    put(value);
  }
  template <class T>
  void kind_and_value(const std::vector<T>& values) {
    put(kArray);
    put(kind_of<T>());
    put(uint64_t{values.size()});
    for (const T& value : values) put(value);
  }
  void kind_and_value(const RawValue& raw) { bytes(raw.bytes); }

  const Writer::Sink& sink_;
  uint64_t offset_ = 0;
};

}  // namespace

void Writer::set(std::string key, WriterValue value) {
  if (key.empty()) fail(ErrorCode::invalid_argument, "a metadata key is empty");
  if (key == "general.alignment") fail(ErrorCode::invalid_argument, "general.alignment cannot be chosen");
  for (const auto& [other, ignored] : metadata_)
    if (other == key) fail(ErrorCode::invalid_argument, "metadata key '{}' is set twice", key);
  metadata_.emplace_back(std::move(key), std::move(value));
}

void Writer::add_tensor(std::string name, Encoding encoding, std::vector<uint64_t> shape) {
  if (name.empty()) fail(ErrorCode::invalid_argument, "a tensor's name is empty");
  for (const Entry& other : tensors_)
    if (other.name == name) fail(ErrorCode::invalid_argument, "tensor '{}' is added twice", name);
  if (shape.empty() || shape.size() > 4)
    fail(ErrorCode::invalid_argument, "tensor '{}' has {} dimensions, not 1 to 4", name, shape.size());
  const EncodingInfo& e = info(encoding);
  uint64_t elements = 1;
  // An eighth of the range: neither bytes (at most 4 for an element) nor the sum with padding can overflow.
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max() / 8;
  for (const uint64_t length : shape) {
    if (length == 0) fail(ErrorCode::invalid_argument, "tensor '{}' has a dimension of 0", name);
    if (length > kMost / elements) fail(ErrorCode::invalid_argument, "tensor '{}' is too large", name);
    elements *= length;
  }
  if (shape[0] % e.block_elements != 0)
    fail(ErrorCode::invalid_argument,
         "tensor '{}': a row of {} elements is not a whole number of {} blocks of {}", name, shape[0], e.name,
         e.block_elements);
  const uint64_t bytes = elements / e.block_elements * e.block_bytes;
  if (bytes > kMost * 4 - data_bytes_) fail(ErrorCode::invalid_argument, "tensor '{}' is too large", name);
  tensors_.push_back({std::move(name), encoding, std::move(shape), data_bytes_, bytes});
  data_bytes_ += bytes + padding(bytes);
}

uint64_t Writer::bytes() const {
  uint64_t head = 0;
  write_head([&](std::span<const std::byte> data) { head += data.size(); });
  return head + data_bytes_;
}

void Writer::write(const std::string& path, const Fill& fill) const {
  AtomicFile file(path);
  write([&](std::span<const std::byte> data) { file.write(data); }, fill);
  file.commit();
}

void Writer::write_head(const Sink& sink) const {
  Output out(sink);
  out.bytes(std::as_bytes(std::span(std::string_view("GGUF"))));
  out.put(uint32_t{3});
  out.put(uint64_t{tensors_.size()});
  out.put(uint64_t{metadata_.size()});
  for (const auto& [key, value] : metadata_) {
    out.put(std::string_view(key));
    out.value(value);
  }
  for (const Entry& t : tensors_) {
    out.put(std::string_view(t.name));
    out.put(static_cast<uint32_t>(t.shape.size()));
    for (const uint64_t length : t.shape) out.put(length);
    out.put(static_cast<uint32_t>(t.encoding));
    out.put(t.offset);
  }
  out.pad();
}

void Writer::write(const Sink& sink, const Fill& fill) const {
  write_head(sink);
  Output out(sink);  // what is written is a whole number of alignments long
  for (size_t i = 0; i < tensors_.size(); ++i) {
    uint64_t written = 0;
    fill(i, [&](std::span<const std::byte> piece) {
      written += piece.size();
      out.bytes(piece);
    });
    if (written != tensors_[i].bytes)
      fail(ErrorCode::invalid_argument, "tensor '{}' takes {} bytes, {} were given", tensors_[i].name,
           tensors_[i].bytes, written);
    out.pad();
  }
}

}  // namespace cairn::gguf
