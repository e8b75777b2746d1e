#include "formats/gguf_part.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <set>

#include "base/error.hpp"
#include "formats/byte_reader.hpp"
#include "formats/stack_checksums.hpp"

namespace cairn::gguf {
namespace {

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kLargestAlignment = uint64_t{1} << 30;

// The specification's gguf_metadata_value_type.
enum class Kind : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

// The fewest bytes that a value takes in the file.
uint64_t least_bytes(Kind kind, ByteReader& reader, uint64_t at) {
  switch (kind) {
    case Kind::u8:
    case Kind::i8:
    case Kind::boolean:
      return 1;
    case Kind::u16:
    case Kind::i16:
      return 2;
    case Kind::u32:
    case Kind::i32:
    case Kind::f32:
      return 4;
    case Kind::u64:
    case Kind::i64:
    case Kind::f64:
    case Kind::string:
      return 8;
    case Kind::array:
      reader.error_at(at, ErrorCode::unsupported, "arrays of arrays are not supported");
  }
  reader.error_at(at, ErrorCode::unsupported, "metadata kind {} is not known", static_cast<uint32_t>(kind));
}

bool read_boolean(ByteReader& reader) {
  const uint64_t at = reader.offset();
  const auto byte = reader.read<uint8_t>("a boolean");
  if (byte > 1) reader.error_at(at, ErrorCode::format, "a boolean is {}, neither 0 nor 1", byte);
  return byte == 1;
}

// Calls `visit` with a function that reads one value of `kind`, widened.
template <class Visit>
Value with_reader(Kind kind, ByteReader& r, const Visit& visit) {
  switch (kind) {
    case Kind::u8:
      return visit([&] { return uint64_t{r.read<uint8_t>("a value")}; });
    case Kind::u16:
      return visit([&] { return uint64_t{r.read<uint16_t>("a value")}; });
    case Kind::u32:
      return visit([&] { return uint64_t{r.read<uint32_t>("a value")}; });
    case Kind::u64:
      return visit([&] { return r.read<uint64_t>("a value"); });
    case Kind::i8:
      return visit([&] { return int64_t{r.read<int8_t>("a value")}; });
    case Kind::i16:
      return visit([&] { return int64_t{r.read<int16_t>("a value")}; });
    case Kind::i32:
      return visit([&] { return int64_t{r.read<int32_t>("a value")}; });
    case Kind::i64:
      return visit([&] { return r.read<int64_t>("a value"); });
    case Kind::f32:
      return visit([&] { return double{r.read<float>("a value")}; });
    case Kind::f64:
      return visit([&] { return r.read<double>("a value"); });
    case Kind::boolean:
      return visit([&] { return read_boolean(r); });
    case Kind::string:
      return visit([&] { return r.string("a string"); });
    case Kind::array:
      break;
  }
  r.error(ErrorCode::unsupported, "metadata kind {} is not known", static_cast<uint32_t>(kind));
}

Value read_array(ByteReader& reader) {
  const uint64_t at = reader.offset();
  const auto kind = static_cast<Kind>(reader.read<uint32_t>("an array's kind"));
  const uint64_t count = reader.count(least_bytes(kind, reader, at), "an array's length");
  return with_reader(kind, reader, [count](auto read_one) -> Value {
    std::vector<decltype(read_one())> values;
    values.reserve(count);
    for (uint64_t i = 0; i < count; ++i) values.push_back(read_one());
    return values;
  });
}

Value read_value(ByteReader& reader) {
  const uint64_t at = reader.offset();
  const auto kind = static_cast<Kind>(reader.read<uint32_t>("a value's kind"));
  if (kind == Kind::array) return read_array(reader);
  least_bytes(kind, reader, at);  // refuses unknown kinds at their place
  return with_reader(kind, reader, [](auto read_one) -> Value { return read_one(); });
}

void read_metadata(ByteReader& reader, uint64_t count, Part& part) {
  const auto bytes = part.file.bytes();
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = reader.offset();
    const auto key = reader.string("a metadata key");
    if (key.empty()) reader.error_at(at, ErrorCode::format, "a metadata key is empty");
    if (part.metadata.contains(key))
      reader.error_at(at, ErrorCode::format, "metadata key {} appears twice", quote(key));
    const uint64_t begin = reader.offset();
    part.metadata.emplace(key, read_value(reader));
    part.raw_metadata.emplace_back(key, bytes.subspan(begin, reader.offset() - begin));
  }
}

uint64_t read_alignment(const Metadata& metadata, const ByteReader& reader) {
  const auto found = metadata.find("general.alignment");
  if (found == metadata.end()) return kDefaultAlignment;
  const auto* value = std::get_if<uint64_t>(&found->second);
  if (!value) reader.error(ErrorCode::format, "general.alignment is not an unsigned integer");
  // Multiples of 8 as the specification asks; powers of two as every writer does.
  if (!std::has_single_bit(*value) || *value < 8 || *value > kLargestAlignment)
    reader.error(ErrorCode::format, "general.alignment is {}, not a power of two from 8 to {}", *value,
                 kLargestAlignment);
  return *value;
}

constexpr uint32_t kInt8 = 24;  // ggml's number

// What the file says about a tensor, before its data's place is known.
struct Entry {
  uint64_t at;  // where the entry stands in the file
  uint64_t offset, bytes;
};

Entry read_tensor(ByteReader& reader, uint64_t alignment, Tensor& tensor) {
  Entry entry{reader.offset(), 0, 0};
  tensor.name = reader.string("a tensor's name");
  const auto refuse = [&](ErrorCode code, const std::string& reason) {
    reader.error_at(entry.at, code, "tensor {}: {}", quote(tensor.name), reason);
  };
  if (tensor.name.empty()) refuse(ErrorCode::format, "the name is empty");
  const auto dimensions = reader.read<uint32_t>("a tensor's number of dimensions");
  if (dimensions < 1 || dimensions > 4)
    refuse(ErrorCode::format, fmt::format("has {} dimensions, not 1 to 4", dimensions));
  uint64_t elements = 1;
  for (uint32_t d = 0; d < dimensions; ++d) {
    const auto length = reader.read<uint64_t>("a tensor's dimension");
    if (length == 0) refuse(ErrorCode::format, fmt::format("dimension {} is 0", d));
    // Products stay below 2^63, as ggml's signed 64-bit shapes require.
    if (length > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) / elements)
      refuse(ErrorCode::format, fmt::format("the product of its dimensions overflows at dimension {}", d));
    elements *= length;
    tensor.shape.push_back(length);
  }
  const auto type = reader.read<uint32_t>("a tensor's type");
  if (tensor.name == kStackBlocks) {
    if (type != kInt8 || dimensions != 1) refuse(ErrorCode::format, "is not one row of int8");
    entry.bytes = elements;
    entry.offset = reader.read<uint64_t>("a tensor's offset");
    return entry;
  }
  const EncodingInfo* encoding = find_encoding(type);
  if (!encoding)
    refuse(ErrorCode::unsupported, fmt::format("encoding {} is not known", unread_encoding(type)));
  tensor.encoding = encoding->encoding;
  if (tensor.shape[0] % encoding->block_elements != 0)
    refuse(ErrorCode::format, fmt::format("a row of {} elements is not a whole number of {} blocks of {}",
                                          tensor.shape[0], encoding->name, encoding->block_elements));
  const uint64_t blocks = elements / encoding->block_elements;
  if (blocks > std::numeric_limits<uint64_t>::max() / encoding->block_bytes)
    refuse(ErrorCode::format, "its size in bytes overflows");
  entry.bytes = blocks * encoding->block_bytes;
  entry.offset = reader.read<uint64_t>("a tensor's offset");
  if (entry.offset % alignment != 0)
    refuse(ErrorCode::format, fmt::format("offset {} is not a multiple of {}", entry.offset, alignment));
  return entry;
}

void place_tensors(ByteReader& reader, uint64_t alignment, const std::vector<Entry>& entries, Part& part) {
  const auto bytes = part.file.bytes();
  const uint64_t padding = (alignment - reader.offset() % alignment) % alignment;
  // A file without tensors may end right after its metadata.
  if (entries.empty()) return;
  const uint64_t start = reader.offset() + padding;
  const uint64_t available = start < bytes.size() ? bytes.size() - start : 0;
  std::vector<size_t> order(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const Entry& e = entries[i];
    Tensor& tensor = part.tensors[i];
    order[i] = i;
    if (tensor.name == kStackBlocks) {
      constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
      if (e.offset > kMost - start || e.bytes > kMost - start - e.offset)
        reader.error_at(e.at, ErrorCode::format, "tensor {}: its end overflows", quote(tensor.name));
      part.stack = StackRegion{start + e.offset, e.bytes};
      continue;
    }
    if (e.bytes > available || e.offset > available - e.bytes)
      reader.error_at(e.at, ErrorCode::format,
                      "tensor {}: its {} bytes at offset {} exceed the {} bytes of data", quote(tensor.name),
                      e.bytes, e.offset, available);
    tensor.data = bytes.subspan(start + e.offset, e.bytes);
  }
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return entries[a].offset < entries[b].offset; });
  for (size_t i = 1; i < order.size(); ++i) {
    const Entry &a = entries[order[i - 1]], &b = entries[order[i]];
    if (a.offset + a.bytes > b.offset)
      reader.error_at(b.at, ErrorCode::format, "tensors {} and {} overlap",
                      quote(part.tensors[order[i - 1]].name), quote(part.tensors[order[i]].name));
  }
}

uint32_t read_version(ByteReader& reader, std::span<const std::byte> bytes) {
  constexpr std::string_view kMagic = "GGUF";
  if (bytes.size() < kMagic.size() || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    reader.error(ErrorCode::format, "is not a GGUF file (it does not begin with \"GGUF\")");
  reader.take(kMagic.size(), "the magic");
  const uint64_t at = reader.offset();
  const auto version = reader.read<uint32_t>("the version");
  if (version == 0x02000000 || version == 0x03000000)
    reader.error_at(at, ErrorCode::unsupported, "big-endian GGUF files are not supported");
  if (version != 2 && version != 3)
    reader.error_at(at, ErrorCode::unsupported, "GGUF version {} is not supported (2 and 3 are)", version);
  return version;
}

// A stack says first of all how long its base is, so that a file cut anywhere in it can be told from
// nonsense.
void check_base(const Part& part) {
  constexpr uint64_t kFirstPair = 4 + 4 + 8 + 8;  // magic, version, two counts
  constexpr uint64_t kEnd = kFirstPair + 8 + kStackBase.size() + 4 + 8;
  const auto bytes = part.file.bytes();
  if (bytes.size() < kEnd) return;
  ByteReader reader(bytes.subspan(kFirstPair, kEnd - kFirstPair), part.file.path());
  if (reader.read<uint64_t>("a length") != kStackBase.size()) return;
  const auto key = reader.take(kStackBase.size(), "a key");
  if (std::memcmp(key.data(), kStackBase.data(), kStackBase.size()) != 0) return;
  if (reader.read<Kind>("a kind") != Kind::u64) return;
  const auto base = reader.read<uint64_t>("a length");
  if (part.file_bytes < base)
    fail(ErrorCode::format, "{}: is cut inside its stack's base: {} of {} bytes are there, {} are missing",
         part.file.path(), part.file_bytes, base, base - part.file_bytes);
}

// Reads what `part.file` holds.
void parse(Part& part) {
  // The fewest bytes of a tensor's entry (name's length, dimensions, one dimension, type, offset) and of a
  // metadata pair (key's length, one character, kind, a byte).
  constexpr uint64_t kLeastTensor = 8 + 1 + 4 + 8 + 4 + 8, kLeastPair = 8 + 1 + 4 + 1;
  ByteReader reader(part.file.bytes(), part.file.path());
  part.version = read_version(reader, part.file.bytes());
  check_base(part);
  const uint64_t tensors = reader.count(kLeastTensor, "the number of tensors");
  const uint64_t pairs = reader.count(kLeastPair, "the number of metadata pairs");
  read_metadata(reader, pairs, part);
  const uint64_t alignment = read_alignment(part.metadata, reader);
  std::vector<Entry> entries;
  std::set<std::string_view> names;
  for (uint64_t i = 0; i < tensors; ++i) {
    Tensor tensor{};
    entries.push_back(read_tensor(reader, alignment, tensor));
    if (!names.insert(tensor.name).second)
      reader.error_at(entries.back().at, ErrorCode::format, "tensor {} appears twice", quote(tensor.name));
    part.tensors.push_back(std::move(tensor));
  }
  place_tensors(reader, alignment, entries, part);
  if (!part.stack) return;
  std::erase_if(part.tensors, [](const Tensor& tensor) { return tensor.name == kStackBlocks; });
  for (const Tensor& tensor : part.tensors) {
    const auto end =
        static_cast<uint64_t>(tensor.data.data() - part.file.bytes().data()) + tensor.data.size();
    if (end > part.stack->offset)
      reader.error(ErrorCode::format, "tensor {} lies behind the stack's blocks", quote(tensor.name));
  }
}

}  // namespace

Part read_part(const std::string& path) {
  Part part;
  part.file = MappedFile(path);
  part.file_bytes = part.file.bytes().size();
  parse(part);
  if (!part.stack) return part;
  // Not mapped: a mapping of a file that shrinks ends the process.
  Part copy;
  copy.file = MappedFile::copy(path, std::min(part.stack->offset, part.file_bytes));
  copy.file_bytes = part.file_bytes;
  parse(copy);
  stack::check_header(copy);
  return copy;
}

}  // namespace cairn::gguf
