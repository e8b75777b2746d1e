#include "stack/restore.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.hpp"
#include "base/half.hpp"
#include "base/interruptible.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/stack_checksums.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"
#include "quantize/scheme.hpp"
#include "stack/avd.hpp"
#include "stack/plane_blocks.hpp"

namespace cairn::stack {

Reader::Reader(const std::string& path) : file_(path), layout_(read_layout(file_)) {
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(ErrorCode::io, "{}: cannot open: {}", path, std::strerror(errno));
}

Reader::~Reader() {
  if (descriptor_ >= 0) close(descriptor_);
}

void Reader::read(size_t block, std::span<std::byte> out) const {
  read_block(descriptor_, file_.path(), layout_, block, out);
}

void Reader::check_padding(size_t index) const {
  const Block& block = layout_.blocks[index];
  std::array<std::byte, kBlockAlignment> bytes{};
  const size_t size = padded(block.bytes) - block.bytes;
  // The last block's may be missing.
  if (pread(descriptor_, bytes.data(), size, static_cast<off_t>(block.offset + block.bytes)) < 0)
    fail(ErrorCode::io, "{}: cannot read: {}", file_.path(), std::strerror(errno));
  if (std::any_of(bytes.begin(), bytes.end(), [](std::byte b) { return b != std::byte{}; }))
    fail(ErrorCode::format, "{}: behind block {} stands what is not zero", file_.path(), index);
}

std::vector<float> Reader::restore(uint32_t matrix, size_t count, ThreadPool& pool) const {
  return layout_.codec == Codec::avd ? restore_avd(matrix, count, pool) : restore_planes(matrix, count, pool);
}

std::vector<float> Reader::restore_planes(uint32_t matrix, size_t count, ThreadPool& pool) const {
  const Matrix& m = layout_.matrices[matrix];
  const size_t columns = m.columns;
  std::vector<uint8_t> codes(m.rows * columns), levels(m.groups());
  std::vector<uint16_t> scales(m.rows);
  std::vector<float> result(m.rows * columns);
  std::vector<std::byte> bytes;
  const auto& source = kernels::kernel_set(kernels::default_target()).encoding(m.source);
  for (size_t i = 0; i < count; ++i) {
    const Block& block = layout_.blocks[i];
    if (block.matrix != matrix) continue;
    bytes.resize(block.bytes);
    read(i, bytes);
    const size_t begin = m.group_begin(block.group), rows = m.group_rows(block.group);
    levels[block.group] = block.level;
    if (block.level <= m.planes) {
      unpack_planes(bytes, m.columns, block.level, std::span(scales).subspan(begin, rows),
                    std::span(codes).subspan(begin * columns, rows * columns));
      continue;
    }
    for (size_t r = 0; r < rows; ++r) {
      source.dequantize(bytes.data() + r * (block.bytes / rows), columns,
                        result.data() + m.permutation[begin + r] * columns);
    }
  }
  const quantize::Rotation rotation(m.columns);
  std::vector<std::vector<float>> scratch(pool.threads(), std::vector<float>(rotation.scratch_floats()));
  run_interruptible(pool, m.rows, [&](size_t thread, size_t stored) {
    const unsigned level = levels[stored / m.rows_per_group];
    if (level == m.exact()) return;
    float* to = result.data() + m.permutation[stored] * columns;
    const int8_t* table = layout_.tables.data() + table_offset(level);
    const float scale = from_half(scales[stored]);
    for (size_t c = 0; c < columns; ++c)
      to[c] = scale * static_cast<float>(table[codes[stored * columns + c] >> (kPlanes - level)]);
    if (m.rotated) rotation.apply_inverse(to, scratch[thread].data());
  });
  return result;
}

std::vector<float> Reader::restore_avd(uint32_t matrix, size_t count, ThreadPool& pool) const {
  const Matrix& m = layout_.matrices[matrix];
  AvdSum sum(m.rows, m.columns);
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < count; ++i) {
    if (layout_.blocks[i].matrix != matrix) continue;
    bytes.resize(layout_.blocks[i].bytes);
    read(i, bytes);
    sum.add(bytes, layout_.blocks[i].level, pool);
  }
  return sum.take();
}

void write_restored(const Reader& reader, size_t count, const std::string& path, ThreadPool& pool,
                    const RestoreProgress& progress) {
  const gguf::File& file = reader.file();
  require_sound_tensors(file);
  const Layout& layout = reader.layout();
  gguf::Writer writer;
  for (const auto& [key, raw] : file.raw_metadata()) {
    if (!key.starts_with("cairn.stack.") && key != "general.alignment")
      writer.set(std::string(key), gguf::RawValue{{raw.begin(), raw.end()}});
  }
  for (const gguf::Tensor& tensor : file.tensors())
    writer.add_tensor(std::string(tensor.name), tensor.encoding, tensor.shape);
  for (const Matrix& m : layout.matrices) writer.add_tensor(m.name, Encoding::f16, {m.columns, m.rows});
  const size_t others = file.tensors().size();
  writer.write(path, [&](size_t index, const gguf::Writer::Sink& sink) {
    if (index < others) return sink(file.tensors()[index].data);
    const auto matrix = static_cast<uint32_t>(index - others);
    const std::vector<float> values = reader.restore(matrix, count, pool);
    std::vector<uint16_t> halves(values.size());
    std::transform(values.begin(), values.end(), halves.begin(), to_half);
    sink(std::as_bytes(std::span(halves)));
    if (progress) progress(matrix + 1, layout.matrices.size());
  });
}

void write_prefix(const Reader& reader, size_t count, const std::string& path,
                  const RestoreProgress& progress) {
  require_sound_tensors(reader.file());  // what is damaged would be vouched for
  Layout layout = reader.layout();
  layout.blocks.resize(count);
  std::vector<const gguf::Tensor*> tensors;
  for (const gguf::Tensor& tensor : reader.file().tensors()) tensors.push_back(&tensor);
  write_stack(
      path, reader.file(), tensors, layout,
      [&](size_t block, std::span<std::byte> out) { reader.read(block, out); }, progress);
}

}  // namespace cairn::stack
