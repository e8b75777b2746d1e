#include "convert/safetensors.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.hpp"
#include "convert/json_file.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

// What the safetensors library itself allows.
constexpr uint64_t kMostHeader = 100'000'000;

struct DtypeInfo {
  std::string_view name;
  Dtype dtype;
  uint32_t bytes;
};
constexpr std::array<DtypeInfo, 17> kDtypes{{
    {"F32", Dtype::f32, 4},
    {"F16", Dtype::f16, 2},
    {"BF16", Dtype::bf16, 2},
    {"F8_E4M3", Dtype::f8_e4m3, 1},
    {"F8_E5M2", Dtype::other, 1},
    {"F8_E8M0", Dtype::other, 1},
    {"F64", Dtype::other, 8},
    {"C64", Dtype::other, 8},
    {"BOOL", Dtype::other, 1},
    {"U8", Dtype::other, 1},
    {"I8", Dtype::other, 1},
    {"U16", Dtype::other, 2},
    {"I16", Dtype::other, 2},
    {"U32", Dtype::other, 4},
    {"I32", Dtype::other, 4},
    {"U64", Dtype::other, 8},
    {"I64", Dtype::other, 8},
}};

class HeaderReader {
 public:
  explicit HeaderReader(const MappedFile& file) : file_(file) {
    ByteReader in(file.bytes(), file.path());
    const auto length = in.read<uint64_t>("the header's length");
    if (length > kMostHeader)
      in.error_at(0, ErrorCode::format,
                  "the header is said to have {} bytes, more than the {} that are allowed", length,
                  kMostHeader);
    const auto text = in.take(length, "the header");
    data_ = file.bytes().subspan(in.offset());
    header_ =
        parse_json({reinterpret_cast<const char*>(text.data()), text.size()}, file.path() + ": header", true);
  }

  std::vector<SourceTensor> read() {
    std::vector<SourceTensor> tensors;
    for (const auto& [name, entry] : header_.items()) {  // sorted by name
      if (name != "__metadata__") tensors.push_back(tensor(name, entry));
    }
    check_no_holes(tensors);
    return tensors;
  }

 private:
  template <class... Args>
  [[noreturn]] void error(const std::string& name, fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::format, "{}: tensor {}: {}", file_.path(), quote(name),
         fmt::format(format, std::forward<Args>(args)...));
  }

  SourceTensor tensor(const std::string& name, const Json& entry) const {
    SourceTensor t;
    t.name = name;
    const Json *shape = member(entry, "shape"), *offsets = member(entry, "data_offsets");
    t.dtype_name = text_of(entry, "dtype");
    const auto* known = std::find_if(kDtypes.begin(), kDtypes.end(),
                                     [&](const DtypeInfo& d) { return d.name == t.dtype_name; });
    if (t.dtype_name.empty()) error(name, "has no dtype");
    if (known == kDtypes.end()) error(name, "dtype {} is not known", quote(t.dtype_name));
    t.dtype = known->dtype;
    t.element_bytes = known->bytes;
    if (!shape || !shape->is_array()) error(name, "has no shape");
    uint64_t bytes = known->bytes;
    for (const Json& length : *shape) {
      if (!length.is_number_unsigned()) error(name, "a dimension is no whole number");
      t.shape.push_back(length.get<uint64_t>());
      if (t.shape.back() != 0 && bytes > std::numeric_limits<uint64_t>::max() / t.shape.back())
        error(name, "shape {} is too large", shape_text(t.shape));
      bytes *= t.shape.back();
    }
    const bool pair = offsets && offsets->is_array() && offsets->size() == 2 &&
                      (*offsets)[0].is_number_unsigned() && (*offsets)[1].is_number_unsigned();
    if (!pair) error(name, "data_offsets are not two whole numbers");
    const auto begin = (*offsets)[0].get<uint64_t>(), end = (*offsets)[1].get<uint64_t>();
    if (begin > end || end > data_.size())
      error(name, "lies at bytes {} to {} of {} bytes of data", begin, end, data_.size());
    if (end - begin != bytes)
      error(name, "takes {} bytes, but {} of shape {} takes {}", end - begin, t.dtype_name,
            shape_text(t.shape), bytes);
    t.data = data_.subspan(begin, bytes);
    return t;
  }

  // Each byte belongs to one tensor, as the format demands: nothing is hidden, nothing shared.
  void check_no_holes(const std::vector<SourceTensor>& tensors) const {
    std::vector<const SourceTensor*> order;
    for (const SourceTensor& t : tensors) order.push_back(&t);
    std::stable_sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
      return std::pair(a->data.data(), a->data.size()) < std::pair(b->data.data(), b->data.size());
    });
    const std::byte* at = data_.data();
    for (const SourceTensor* t : order) {
      if (t->data.data() < at) error(t->name, "shares bytes with another tensor");
      if (t->data.data() > at) error(t->name, "{} bytes before it belong to no tensor", t->data.data() - at);
      at = t->data.data() + t->data.size();
    }
    const auto left = static_cast<uint64_t>(data_.data() + data_.size() - at);
    if (left != 0) fail(ErrorCode::format, "{}: the last {} bytes belong to no tensor", file_.path(), left);
  }

  const MappedFile& file_;
  std::span<const std::byte> data_;
  Json header_;
};

}  // namespace

uint64_t SourceTensor::elements() const noexcept {
  return data.size() / element_bytes;
}

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string out = "[";
  for (const uint64_t length : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(length);
  return out + "]";
}

Safetensors::Safetensors(const std::string& path) : file_(std::make_shared<const MappedFile>(path)) {
  tensors_ = HeaderReader(*file_).read();
}

}  // namespace cairn::convert
