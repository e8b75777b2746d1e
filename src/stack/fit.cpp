#include "stack/fit.hpp"

#include <algorithm>
#include <cstring>

#include "base/interruptible.hpp"
#include "kernels/kernel_set.hpp"
#include "stack/strip.hpp"

namespace cairn::stack {
namespace {

constexpr size_t kRows = kernels::kStripRows;

// Calls visit(bytes of `fitted`) for all that rows [begin, end) hold.
template <class Fitted, class Visit>
void for_each_range(Fitted& fitted, size_t begin, size_t end, const Visit& visit) {
  const auto part = [&](auto& values, size_t each) {
    visit(std::span(values).subspan(begin * each, (end - begin) * each));
  };
  part(fitted.codes, fitted.columns);
  for (unsigned k = 0; k <= kPlanes; ++k) {
    if (k > 0) part(fitted.scales[k], 1);
    part(fitted.losses[k], 1);
  }
}

void keep_rows(const FittedMatrix& fitted, size_t begin, size_t end, Spool& parts) {
  std::vector<std::byte> record;
  for_each_range(fitted, begin, end, [&](auto values) {
    const auto bytes = std::as_bytes(values);
    record.insert(record.end(), bytes.begin(), bytes.end());
  });
  parts.append(record);
}

void read_rows(const Spool& parts, size_t part, size_t begin, size_t end, FittedMatrix& fitted) {
  uint64_t offset = 0;
  for_each_range(fitted, begin, end, [&](auto values) {
    const auto bytes = std::as_writable_bytes(values);
    parts.read(part, offset, bytes);
    offset += bytes.size();
  });
}

}  // namespace

size_t rows_of_part(uint32_t columns, size_t threads) {
  constexpr double kWork = 1e9;  // products of a weight with a moment: some seconds of a thread
  const double strip = static_cast<double>(kRows) * columns * columns;
  const auto strips = static_cast<size_t>(std::max(1.0, kWork / strip));
  return strips * kRows * threads;
}

FittedMatrix fit_matrix(std::span<const float> weights, uint32_t rows, uint32_t columns,
                        const Factors& factors, const Tables& tables, const FitOptions& options,
                        ThreadPool& pool, Spool* parts) {
  FittedMatrix out{rows, columns, std::vector<uint8_t>(size_t{rows} * columns), {}, {}};
  for (unsigned k = 0; k <= kPlanes; ++k) {
    if (k > 0) out.scales[k].resize(rows);
    out.losses[k].resize(rows);
  }
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encode;
  const size_t step = parts == nullptr ? rows : rows_of_part(columns, pool.threads());
  for (size_t begin = 0, part = 0; begin < rows; begin += step, ++part) {
    const size_t end = std::min<size_t>(begin + step, rows);
    if (parts != nullptr && part < parts->size()) {
      read_rows(*parts, part, begin, end, out);
      continue;
    }
    run_interruptible(pool, (end - begin + kRows - 1) / kRows, [&](size_t, size_t index) {
      const size_t first = begin + index * kRows, count = std::min(kRows, end - first);
      Strip strip(factors, tables, options, kernels);
      strip.start(weights.subspan(first * columns, count * columns), count);
      for (unsigned i = 0; i < options.passes && !interrupted(); ++i) strip.feed_back();
      for (unsigned i = 0; i < options.sweeps && !interrupted(); ++i) strip.descend();
      strip.store(out, first);
    });
    if (parts != nullptr && end < rows) keep_rows(out, begin, end, *parts);
  }
  return out;
}

}  // namespace cairn::stack
