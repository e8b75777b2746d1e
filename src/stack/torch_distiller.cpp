#include <array>
#include <utility>

#include "backends/cpu/executor.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/plugin.hpp"
#include "kernels/kernel_set.hpp"
#include "quantize/scheme.hpp"
#include "stack/distillation.hpp"
#include "stack/torch_job.hpp"
#include "stack/trainable.hpp"

namespace cairn::stack {
namespace {

std::vector<float> read_rows(const gguf::File& file, const std::string& name, uint64_t first, uint64_t rows) {
  const gguf::Tensor& tensor = file.tensor(name);
  std::vector<float> values(rows * tensor.row_elements());
  kernels::kernel_set(kernels::default_target())
      .encoding(tensor.encoding)
      .dequantize(tensor.data.data() + first * tensor.row_bytes(), values.size(), values.data());
  return values;
}

std::vector<float> inverse_rotation(uint32_t width) {
  const quantize::Rotation rotation(width);
  std::vector<float> rows(size_t{width} * width), scratch(rotation.scratch_floats());
  for (size_t i = 0; i < width; ++i) {
    rows[i * width + i] = 1;
    rotation.apply_inverse(rows.data() + i * width, scratch.data());
  }
  return rows;
}

std::vector<float> rope_tables(const gguf::File& file, const graph::Rope& rope, uint32_t positions) {
  const size_t half = rope.dims / 2;
  std::vector<float> factors, tables(2 * positions * half);
  if (!rope.factors.empty()) factors = read_rows(file, rope.factors, 0, 1);
  for (uint32_t p = 0; p < positions; ++p) {
    cpu::rope_table(rope, factors.empty() ? nullptr : &factors, p, 1, tables.data() + p * half,
                    tables.data() + (positions + p) * half);
  }
  return tables;
}

// Null: automatic, and there is none that opens.
const TorchPlugin* open_torch(TuneOn on) {
  if (on == TuneOn::automatic && find_own_library(TorchPlugin::kLibrary).empty()) return nullptr;
  try {
    return &open_plugin<TorchPlugin>(own_library(TorchPlugin::kLibrary, "cairn was built without libtorch"));
  } catch (const Error& error) {
    if (on != TuneOn::automatic) throw;
    warn("{}; tuning on the CPU", error.what());
    return nullptr;
  }
}

}  // namespace

void check_tuning(TuneOn on) {
  if (on == TuneOn::torch || on == TuneOn::cuda) open_torch(on);
}

std::unique_ptr<Distiller> make_torch_distiller(const Distillation& of, TuneOn on, uint32_t threads) {
  check_trainable(of.model);
  const TorchPlugin* plugin = open_torch(on);
  if (plugin == nullptr) return nullptr;
  const TorchJob job{of.model,
                     of.matrices,
                     of.layout.tables,
                     of.windows,
                     [&file = of.source](const std::string& name, uint64_t first, uint64_t rows) {
                       return read_rows(file, name, first, rows);
                     },
                     inverse_rotation,
                     [&file = of.source](const graph::Rope& rope, uint32_t positions) {
                       return rope_tables(file, rope, positions);
                     },
                     on,
                     threads};
  std::array<char, 1024> message{};
  std::unique_ptr<Distiller> distiller(
      static_cast<Distiller*>(plugin->make_distiller(&job, message.data(), message.size())));
  if (distiller == nullptr && message[0] != '\0') fail(ErrorCode::not_found, "{}", message.data());
  return distiller;
}

}  // namespace cairn::stack
