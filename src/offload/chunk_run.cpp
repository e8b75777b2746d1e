#include "offload/chunk_run.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cairn::offload {
namespace {

constexpr size_t kSlice = 64;  // columns in float at a time

}  // namespace

ChunkRun::ChunkRun(const cpu::Machine& machine, const kernels::StaticKernels& kernels, uint32_t most_tokens)
    : kernels_(kernels), executor_(machine, most_tokens) {
  const size_t lanes = kernels.tile_tokens, tiles = (most_tokens + lanes - 1) / lanes;
  size_t widest = 0;
  for (const cpu::Step& step : machine.plan.layers) {
    if (step.kind == cpu::StepKind::linears) widest = std::max(widest, step.ops.front().matrix.k);
  }
  values_.resize(tiles * lanes * widest);
  scales_.resize(tiles * lanes);
  outliers_.resize(tiles);
  scratch_.resize(machine.pool.threads());
  columns_.assign(machine.pool.threads(), std::vector<const float*>(kSlice));
}

void ChunkRun::begin_prepare(const Product& product, uint32_t rows) {
  // A pass that broke off may have left sums that nobody took over.
  shadow_.clear();
  for (TileOutliers& tile : outliers_) {
    tile.channels.clear();
    tile.x.clear();
    tile.elements = 0;
  }
  rows_ = rows;
  if (product.treatment.float_product) return;
  const size_t k = product.linears.front().k(), lanes = kernels_.tile_tokens;
  const quantize::Treatment& t = product.treatment;
  // Room for all that the loop may want: its threads shall not allocate.
  const size_t mixing = product.rotation == nullptr ? 0 : product.rotation->scratch_floats();
  for (std::vector<float>& scratch : scratch_) scratch.resize(std::max(scratch.size(), k * lanes + mixing));
  if (rows > 0) {
    const size_t padded = std::max<size_t>(rows, executor_.tiles() * lanes);
    row_values_.resize(std::max(row_values_.size(), padded * k));
  }
  if (t.outliers != quantize::Outliers::clamp) {
    for (TileOutliers& tile : outliers_) {
      tile.channels.reserve(k);
      tile.x.reserve(k * lanes);
    }
  }
}

void ChunkRun::prepare(const Product& product, size_t thread, size_t index) {
  const quantize::Treatment& t = product.treatment;
  if (t.float_product) return;
  const size_t k = product.linears.front().k(), lanes = kernels_.tile_tokens;
  float* x = executor_.tile(product.input(), index);
  if (!t.divisors.empty() || t.rotate || t.outliers == quantize::Outliers::mixed) {
    // The input itself may have other readers (parallel blocks), so a copy is changed.
    float* copy = scratch_[thread].data();
    std::memcpy(copy, x, k * lanes * sizeof(float));
    x = copy;
  }
  prepare_tile(product, index, x, scratch_[thread].data() + k * lanes);
  if (rows_ == 0) return;
  // u8 to s8 is the top bit of each byte.
  kernels_.transpose(reinterpret_cast<const uint32_t*>(values_.data() + index * k * lanes), lanes, k / 4,
                     lanes, reinterpret_cast<uint32_t*>(row_values_.data() + index * lanes * k), k / 4,
                     0x80808080u);
}

void ChunkRun::prepare_tile(const Product& product, size_t index, float* x, float* mixing) {
  const quantize::Treatment& t = product.treatment;
  const size_t k = product.linears.front().k(), lanes = kernels_.tile_tokens;
  for (size_t i = 0; i < t.divisors.size(); ++i) {
    const float inverse = 1 / t.divisors[i];
    for (size_t lane = 0; lane < lanes; ++lane) x[i * lanes + lane] *= inverse;
  }
  if (product.rotation != nullptr) product.rotation->apply_tile(x, lanes, mixing);
  TileOutliers& outliers = outliers_[index];
  if (t.outliers == quantize::Outliers::mixed) {
    for (size_t i = 0; i < k; ++i) {
      float* row = x + i * lanes;
      float largest = 0;
      for (size_t lane = 0; lane < lanes; ++lane) largest = std::max(largest, std::abs(row[lane]));
      if (largest < t.threshold) continue;
      outliers.channels.push_back(static_cast<uint32_t>(i));
      outliers.x.insert(outliers.x.end(), row, row + lanes);
      outliers.elements += lanes;
      std::fill_n(row, lanes, 0.0f);
    }
  }
  float* scales = scales_.data() + index * lanes;
  float inverse[kernels::kMostTileTokens];
  if (t.scale_kind == quantize::ScaleKind::fixed) {
    std::fill_n(scales, lanes, t.scale);
    std::fill_n(inverse, lanes, 1 / t.scale);
  } else {
    kernels_.token_largest(x, k, scales);
    for (size_t lane = 0; lane < lanes; ++lane) {  // as the engine's own prefill of planes has it
      inverse[lane] = scales[lane] > 1e-30f ? 127 / scales[lane] : 0;
      scales[lane] /= 127;
    }
  }
  const bool clamped = kernels_.quantize(x, k, inverse, values_.data() + index * k * lanes);
  if (clamped && t.outliers == quantize::Outliers::shadow) set_aside(t, k, index, x, inverse);
}

// round(x / s) − clamp(round(x / s)), times s.
void ChunkRun::set_aside(const quantize::Treatment& treatment, size_t k, size_t index, float* x,
                         const float* inverse) {
  const size_t lanes = kernels_.tile_tokens;
  TileOutliers& outliers = outliers_[index];
  const size_t valid = std::min(lanes, executor_.tokens() - index * lanes);
  for (size_t i = 0; i < k; ++i) {
    const float* row = x + i * lanes;
    float largest = 0;
    for (size_t lane = 0; lane < lanes; ++lane)
      largest = std::max(largest, std::abs(row[lane] * inverse[lane]));
    if (largest < 127.5f) continue;
    const size_t at = outliers.x.size();
    outliers.x.resize(at + lanes);
    for (size_t lane = 0; lane < valid; ++lane) {
      const float whole = std::nearbyint(row[lane] * inverse[lane]);
      const float rest = whole - std::clamp(whole, -127.0f, 127.0f);
      outliers.x[at + lane] = rest * treatment.scale;
      outliers.elements += rest != 0 ? 1 : 0;
    }
    outliers.channels.push_back(static_cast<uint32_t>(i));
  }
}

void ChunkRun::finish(const Product& product, size_t index) {
  for (const LinearWeights& linear : product.linears) {
    kernels_.finish(executor_.tile(linear.output(), index), linear.rows(),
                    scales_.data() + index * kernels_.tile_tokens, linear.bias());
  }
}

ShadowColumns::Counts ChunkRun::run_shadow(const Product& product, ThreadPool& pool) {
  ShadowColumns::Counts counts;
  const size_t lanes = kernels_.tile_tokens, tiles = executor_.tiles(), rows = product.shadow.rows();
  std::vector<uint32_t> channels;
  for (size_t i = 0; i < tiles; ++i)
    channels.insert(channels.end(), outliers_[i].channels.begin(), outliers_[i].channels.end());
  std::sort(channels.begin(), channels.end());
  channels.erase(std::unique(channels.begin(), channels.end()), channels.end());
  shadow_.assign(channels.empty() ? 0 : tiles * rows * lanes, 0.0f);

  std::vector<float> columns(std::min(kSlice, channels.size()) * rows);
  for (size_t begin = 0; begin < channels.size(); begin += kSlice) {
    const auto slice = std::span(channels).subspan(begin, std::min(kSlice, channels.size() - begin));
    const ShadowColumns::Counts loaded = product.shadow.load(slice, columns.data());
    counts.hot += loaded.hot;
    counts.cold += loaded.cold;
    counts.cold_bytes += loaded.cold_bytes;
    pool.run(tiles, [&](size_t thread, size_t index) {
      const TileOutliers& outliers = outliers_[index];
      const auto first = std::lower_bound(outliers.channels.begin(), outliers.channels.end(), slice.front());
      const auto last = std::upper_bound(first, outliers.channels.end(), slice.back());
      const float** const used = columns_[thread].data();
      size_t count = 0;
      for (auto channel = first; channel != last; ++channel) {
        const auto at = std::lower_bound(slice.begin(), slice.end(), *channel) - slice.begin();
        used[count++] = columns.data() + static_cast<size_t>(at) * rows;
      }
      if (count == 0) return;
      kernels_.add_columns(used, count, rows,
                           outliers.x.data() + static_cast<size_t>(first - outliers.channels.begin()) * lanes,
                           shadow_.data() + index * rows * lanes);
    });
  }
  return counts;
}

void ChunkRun::merge(const Product& product, ThreadPool& pool) {
  if (shadow_.empty()) return;
  const size_t lanes = kernels_.tile_tokens, rows = product.shadow.rows();
  pool.run(executor_.tiles(), [&](size_t, size_t index) {
    if (outliers_[index].channels.empty()) return;
    const float* from = shadow_.data() + index * rows * lanes;
    for (const LinearWeights& linear : product.linears) {
      float* to = executor_.tile(linear.output(), index);
      for (size_t i = 0; i < linear.rows() * lanes; ++i) to[i] += from[i];
      from += linear.rows() * lanes;
    }
  });
  shadow_.clear();
}

uint64_t ChunkRun::outliers() const {
  uint64_t total = 0;
  for (size_t i = 0; i < executor_.tiles(); ++i) total += outliers_[i].elements;
  return total;
}

uint64_t ChunkRun::own_bytes() const {
  const size_t widest = values_.size() / scales_.size();
  // A thread's transformed tile and what a rotation works in, which is less.
  return 2 * values_.size() + scales_.size() * sizeof(float) +
         scratch_.size() * 2 * widest * kernels_.tile_tokens * sizeof(float);
}

uint64_t ChunkRun::shadow_bytes() const {
  uint64_t total = shadow_.capacity() * sizeof(float);
  for (const TileOutliers& tile : outliers_)
    total += tile.x.size() * sizeof(float) + tile.channels.size() * sizeof(uint32_t);
  return total;
}

}  // namespace cairn::offload
