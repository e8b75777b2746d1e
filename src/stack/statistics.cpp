#include "stack/statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "quantize/collector.hpp"

namespace cairn::stack {
namespace {

// Of a share's spool.
void add_costs(const Spool& share, CostSums& sums) {
  std::vector<std::byte> record(share.bytes(0));
  share.read(0, 0, record);
  sums.add_sums(record);
}

}  // namespace

TextStatistics::TextStatistics(Job job, ThreadPool& pool, EncodeProgress progress,
                               std::function<void()> pass_done)
    : job_(std::move(job)), pool_(pool), progress_(std::move(progress)), pass_done_(std::move(pass_done)) {
  const uint32_t shares = job_.options.shares;
  if (shares > 1 && job_.options.codec == Codec::avd)
    fail(ErrorCode::invalid_argument, "statistics by shares are of planes");
  // A share without any would let all its tokens count alike.
  if (const size_t seen = importance_windows(); shares > 1 && seen != 0 && seen < shares)
    fail(ErrorCode::invalid_argument,
         "{} shares, but importance is measured on {} windows: one each at least", shares, seen);
}

uint32_t TextStatistics::layers_of_pass(const EncodeOptions& options, std::span<const Source> sources,
                                        size_t layers) {
  const uint64_t bytes = std::max<uint64_t>(MomentCollector::bytes(input_widths(sources)), 1);
  return static_cast<uint32_t>(std::clamp<uint64_t>(options.moment_bytes / bytes, 1, layers));
}

size_t TextStatistics::importance_windows() const {
  return std::min<size_t>(job_.options.importance_windows, job_.windows.size());
}

Spool TextStatistics::share_spool(uint32_t share) const {
  return Spool(share_path(job_.path, share, job_.options.shares),
               fmt::format("{} share {} of {}", job_.key, share, job_.options.shares));
}

void TextStatistics::gather(uint32_t share) {
  Spool spool = share_spool(share);
  if (spool.size() == 0) {
    const auto [begin, end] = range_of_share(importance_windows(), share, job_.options.shares);
    spool.append(measured_costs(begin, end).sums());
  }
  CostSums sums = new_sums();
  add_costs(spool, sums);
  weigh_by(sums.tokens().weights());
  const auto layers = static_cast<uint32_t>(job_.graph.layers.size());
  const uint32_t at_once = layers_of_pass(job_.options, job_.sources, layers);
  while (spool.size() < 1 + layers) {
    const auto first = static_cast<uint32_t>(spool.size() - 1), end = std::min(first + at_once, layers);
    MomentCollector moments(first, end - first, input_widths(job_.sources), pool_);
    observe("second moments", range_of_share(job_.windows.size(), share, job_.options.shares),
            weighted([&](auto... input) { moments.add(input...); }));
    pass_done_();
    for (uint32_t layer = first; layer < end; ++layer) spool.append(moment_record(moments, layer));
  }
}

void TextStatistics::gather_all() {
  for (uint32_t share = 0; by_shares() && share < job_.options.shares; ++share) gather(share);
}

void TextStatistics::remove_shares() const {
  for (uint32_t share = 0; by_shares() && share < job_.options.shares; ++share) share_spool(share).remove();
}

CostSums TextStatistics::measured_costs(size_t begin, size_t end) {
  CostSums sums = new_sums();
  sums.measure(job_.windows, begin, end, importance_windows(),
               [&](uint64_t done, uint64_t total) { progress_("importance", done, total); });
  observe("importance", {begin, end}, [&](auto... input) { sums.weigh(input...); });
  return sums;
}

CostSums TextStatistics::costs() {
  if (!by_shares()) return measured_costs(0, importance_windows());
  CostSums sums = new_sums();
  for (uint32_t share = 0; share < job_.options.shares; ++share) add_costs(share_spool(share), sums);
  return sums;
}

MomentCollector TextStatistics::moments(uint32_t first, uint32_t layers) {
  MomentCollector moments(first, job_.windows.empty() ? 0 : layers, input_widths(job_.sources), pool_);
  for (uint32_t share = 0; by_shares() && share < job_.options.shares; ++share) {
    const Spool from = share_spool(share);
    for (uint32_t layer = first; layer < first + layers; ++layer)
      add_moment_record(from, 1 + layer, share_path(job_.path, share, job_.options.shares), layer, moments);
  }
  if (!by_shares())
    observe("second moments", {0, job_.windows.size()},
            weighted([&](auto... input) { moments.add(input...); }));
  pass_done_();
  return moments;
}

void TextStatistics::observe(std::string_view stage, WindowRange range, const ObserveInputs& add) {
  const size_t windows = range.end - range.begin;
  if (windows == 0) return;
  quantize::InputOrder order;
  engine::Options options{
      .context = job_.options.window, .threads = job_.options.threads, .chunk = job_.options.window};
  options.observer = [&](uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t) {
    add(layer, order.next(slot), rows, tokens);
  };
  const auto engine = job_.model.make_engine(options);
  const auto sequence = engine->make_sequence();
  for (size_t i = 0; i < windows; ++i) {
    progress_(stage, i, windows);
    sequence->truncate(0);
    engine->step({sequence.get(), job_.windows[range.begin + i]}, interrupted);
  }
  progress_(stage, windows, windows);
}

ObserveInputs TextStatistics::weighted(ObserveInputs add) const {
  return [this, add = std::move(add), widths = input_widths(job_.sources)](
             uint32_t layer, quantize::Input input, const float* rows, size_t tokens) {
    const size_t width = widths[static_cast<size_t>(input)];
    const std::vector<double> squares = row_squares(rows, tokens, width);
    std::vector<float> scaled(rows, rows + tokens * width);
    for (size_t t = 0; t < tokens; ++t) {
      const float factor = std::sqrt(weights_.of(layer, input, squares[t]));
      for (size_t i = 0; i < width; ++i) scaled[t * width + i] *= factor;
    }
    add(layer, input, scaled.data(), tokens);
  };
}

}  // namespace cairn::stack
