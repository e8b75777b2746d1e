// Runs one kernel REPEATS times, for an emulator to count its instructions (bench/instructions.py):
//   count_kernels KERNEL WEIGHTS TARGET REPEATS
// KERNEL is gemv or gemm (WEIGHTS an encoding, as q4_0, or planesN), fill or quantize. Prints the units of
// work of one repeat: weights of gemv and fill, multiply-adds of gemm, activations of quantize.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "base/error.hpp"
#include "formats/random_blocks.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::kernels {
namespace {

constexpr size_t kColumns = 2048, kRows = 48;

struct alignas(64) Line {
  uint8_t bytes[64];
};

std::vector<float> floats(size_t count) {
  std::vector<float> x(count);
  for (size_t i = 0; i < count; ++i) x[i] = static_cast<float>(i * 7 % 31) - 15;
  return x;
}

struct Blocks {
  explicit Blocks(const EncodingInfo& e)
      : row_bytes(kColumns / e.block_elements * e.block_bytes), bytes(kRows * row_bytes + 64) {
    RandomBlocks(1).fill(e.encoding, std::as_writable_bytes(std::span(bytes).first(kRows * row_bytes)));
  }
  size_t row_bytes;
  std::vector<uint8_t> bytes;
};

size_t gemv(const EncodingInfo& e, const KernelSet& set, size_t repeats) {
  const EncodingKernels& kernels = set.encoding(e.encoding);
  const Blocks blocks(e);
  const std::vector<Line> values(kColumns / 64, Line{{3}});
  const std::vector<float> scales(kColumns / kGroup, 0.01F);
  const QuantizedVector x{reinterpret_cast<const int8_t*>(values.data()), scales.data(), scales.data()};
  const Buffer prepared(kernels.prepared_bytes(kColumns, 1, false));
  kernels.prepare({&x, nullptr, 1}, kColumns, prepared.as<void>());
  std::vector<float> y(kRows);
  for (size_t i = 0; i < repeats; ++i)
    kernels.gemv(blocks.bytes.data(), blocks.row_bytes, kRows, kColumns, {prepared.as<void>(), 1, false},
                 y.data(), 0);
  return kRows * kColumns;
}

size_t planes(uint32_t level, const KernelSet& set, size_t repeats) {
  const PlaneKernels& kernels = set.planes;
  constexpr uint32_t kTiles = kRows / kPlaneRows;
  const std::vector<Line> bits(kTiles * kColumns / kPlaneColumns * level, Line{{0x3B}});
  const std::vector<uint16_t> halves(kRows, 0x2C00);
  PlaneRows rows{};
  rows.scales = halves.data();
  rows.level = level;
  rows.tiles = kTiles;
  for (uint32_t p = 0; p < level; ++p)
    rows.planes[p] = reinterpret_cast<const std::byte*>(bits.data() + bits.size() / level * p);
  std::vector<int8_t> entries(64);
  for (size_t i = 0; i < entries.size(); ++i) entries[i] = static_cast<int8_t>(2 * i - 64);
  const PlaneTable table = make_plane_table(level, entries.data());
  std::vector<Line> values(kColumns / 64), sizes(kColumns / 64);
  const PlaneVector x = kernels.quantize(floats(kColumns).data(), kColumns,
                                         reinterpret_cast<int8_t*>(values.data()), sizes.data()->bytes);
  std::vector<float> y(kRows);
  for (size_t i = 0; i < repeats; ++i) kernels.gemv(rows, table, kColumns, x, rows, y.data());
  return kRows * kColumns;
}

// KERNEL gemm, fill or quantize: the parts of prefill's product.
size_t product(const std::string& kernel, const EncodingInfo& e, const KernelSet& set, size_t repeats) {
  const GemmKernels& gemm = set.gemm;
  const EncodingKernels& kernels = set.encoding(e.encoding);
  const Blocks blocks(e);
  const std::vector<float> x = floats(kColumns * gemm.tile_tokens);
  const Buffer memory(activation_bytes(gemm, kColumns));
  const ActivationTile tile = activation_tile(gemm, memory.as<uint8_t>(), kColumns);
  std::vector<Line> values(kRows * kColumns * 2 / 64);
  std::vector<float> scales(kRows * kColumns / 16), offsets(scales.size());
  std::vector<int32_t> corrections(kRows * kColumns / kGroup);
  const WeightPanel panel{reinterpret_cast<int8_t*>(values.data()), corrections.data(), scales.data(),
                          offsets.data()};
  std::vector<float> out(kRows * gemm.tile_tokens);
  const auto fill = [&] {
    kernels.fill_panel(blocks.bytes.data(), blocks.row_bytes, kRows, kColumns, panel);
  };
  const auto quantize = [&] { gemm.quantize_tile(x.data(), kColumns, tile); };
  fill();
  quantize();
  for (size_t i = 0; i < repeats; ++i) {
    if (kernel == "fill") fill();
    if (kernel == "quantize") quantize();
    if (kernel == "gemm") gemm.multiply(kernels.form, panel, kRows, kColumns, tile, out.data());
  }
  if (kernel == "fill") return kRows * kColumns;
  return kernel == "gemm" ? kRows * kColumns * gemm.tile_tokens : kColumns * gemm.tile_tokens;
}

int run(std::span<char*> arguments) {
  if (arguments.size() != 5)
    throw std::runtime_error("usage: count_kernels gemv|gemm|fill|quantize WEIGHTS TARGET REPEATS");
  const std::string kernel = arguments[1], weights = arguments[2];
  const size_t repeats = std::strtoul(arguments[4], nullptr, 10);
  const auto targets = available_targets();
  const auto target =
      std::ranges::find_if(targets, [&](Target t) { return arguments[3] == std::string(name(t)); });
  if (target == targets.end())
    throw std::runtime_error(fmt::format("no instruction set {} here", arguments[3]));
  const KernelSet& set = kernel_set(*target);
  if (weights.starts_with("planes") && weights.size() == 7 && kernel == "gemv") {
    fmt::print("{}\n", planes(static_cast<uint32_t>(weights[6] - '0'), set, repeats));
    return 0;
  }
  for (const EncodingInfo& e : encodings()) {
    if (weights != e.name) continue;
    fmt::print("{}\n", kernel == "gemv" ? gemv(e, set, repeats) : product(kernel, e, set, repeats));
    return 0;
  }
  throw std::runtime_error(fmt::format("no weights {}", weights));
}

}  // namespace
}  // namespace cairn::kernels

int main(int argc, char** argv) {
  try {
    return cairn::kernels::run({argv, static_cast<size_t>(argc)});
  } catch (const std::exception& error) {
    fmt::print(stderr, "count_kernels: {}\n", error.what());
    return 2;
  }
}
