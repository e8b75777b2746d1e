#include "stack/fit.hpp"

#include <algorithm>

#include "stack/strip.hpp"

namespace cairn::stack {

FittedMatrix fit_matrix(std::span<const float> weights, uint32_t rows, uint32_t columns,
                        const Factors& factors, const Tables& tables, const FitOptions& options,
                        ThreadPool& pool) {
  FittedMatrix out{rows, columns, std::vector<uint8_t>(size_t{rows} * columns), {}, {}};
  for (unsigned k = 0; k <= kPlanes; ++k) {
    if (k > 0) out.scales[k].resize(rows);
    out.losses[k].resize(rows);
  }
  constexpr size_t kRows = kernels::kStripRows;
  const auto& kernels = kernels::encode_kernels(kernels::default_target());
  pool.run((rows + kRows - 1) / kRows, [&](size_t, size_t index) {
    const size_t first = index * kRows, count = std::min<size_t>(kRows, rows - first);
    Strip strip(factors, tables, options, kernels);
    strip.start(weights.subspan(first * columns, count * columns), count);
    for (unsigned i = 0; i < options.passes; ++i) strip.feed_back();
    for (unsigned i = 0; i < options.sweeps; ++i) strip.descend();
    strip.store(out, first);
  });
  return out;
}

}  // namespace cairn::stack
