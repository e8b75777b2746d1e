#include "stack/size.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

#include "base/error.hpp"
#include "formats/stack_checksums.hpp"

namespace cairn::stack {

uint64_t parse_size(const std::string& text) {
  double number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  double factor = 1;
  if (!unit.empty()) {
    const size_t power = std::string_view("kmgt").find(static_cast<char>(unit.front() | 0x20));
    if (power != std::string_view::npos) {
      factor = std::pow(1024.0, static_cast<double>(power + 1));
      unit.remove_prefix(1);
      if (unit == "iB" || unit == "B") unit = {};
    } else if (unit == "B") {
      unit = {};
    }
  }
  const double bytes = number * factor;
  if (status != std::errc() || !unit.empty() || !(bytes >= 1) || bytes > 1e18)
    fail(ErrorCode::invalid_argument, "'{}' is not a size: bytes, or a number with K, M, G or T", text);
  return static_cast<uint64_t>(bytes);
}

namespace {

// The most blocks of those present for which `fits` holds; it holds up to some count and never after it.
template <class Fits>
size_t most_blocks(const Reader& reader, const Fits& fits) {
  size_t low = 0, high = reader.present();
  while (low < high) {
    const size_t middle = (low + high + 1) / 2;
    if (fits(middle))
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

}  // namespace

size_t blocks_for_size(const Reader& reader, uint64_t bytes) {
  const Layout& layout = reader.layout();
  // A prefix's own header is shorter, it does not name what is cut off; its end is padded. An old stack's
  // gets checksums.
  const bool old = !has_checksums(reader.file());
  const uint64_t sums = old ? 128 + sizeof(uint64_t) * reader.file().tensors().size() : 0;
  const auto end = [&](size_t count) {
    const uint64_t whole = layout.end_of(count);
    if (!old && count == layout.blocks.size()) return whole;
    return whole - layout.entry_bytes * (layout.blocks.size() - count) + sums + kBlockAlignment - 1;
  };
  const size_t count = most_blocks(reader, [&](size_t n) { return end(n) <= bytes; });
  if (count < layout.base_blocks)
    fail(ErrorCode::invalid_argument, "{}: {} bytes are less than the base's {}", reader.file().path(), bytes,
         end(layout.base_blocks));
  return count;
}

size_t blocks_for_bits(const Reader& reader, double bits) {
  const Layout& layout = reader.layout();
  const size_t count = most_blocks(reader, [&](size_t n) { return layout.bits(n) <= bits; });
  if (count < layout.base_blocks)
    fail(ErrorCode::invalid_argument, "{}: {} bits a weight are less than the base's {:.3f}",
         reader.file().path(), bits, layout.bits(layout.base_blocks));
  if (count == reader.present() && bits > layout.bits(count) + 0.05)
    fail(ErrorCode::invalid_argument, "{}: {} bits a weight are more than the {:.3f} that it holds",
         reader.file().path(), bits, layout.bits(count));
  return count;
}

}  // namespace cairn::stack
