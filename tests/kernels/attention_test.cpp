// Attention against plain double precision, on every instruction set.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/gemm.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/packed_rows.hpp"
#include "kernels/vector.hpp"

namespace cairn::kernels {
namespace {

std::vector<float> random_floats(size_t n, uint32_t seed, float range = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-range, range);
  std::vector<float> x(n);
  for (float& v : x) v = uniform(random);
  return x;
}

class Attention : public testing::TestWithParam<Target> {
 protected:
  const AttentionKernels& attention_ = kernel_set(GetParam()).attention;
  const size_t lanes_ = kernel_set(GetParam()).gemm.tile_tokens;

  // A token's column of a tile.
  std::vector<float> column(const float* tile, size_t rows, size_t lane) const {
    std::vector<float> x(rows);
    for (size_t i = 0; i < rows; ++i) x[i] = tile[i * lanes_ + lane];
    return x;
  }
};

// One head's attention for the query at `position`, in double precision, over what the cache holds.
std::vector<double> attend(const AttentionShape& shape, const std::vector<float>& keys,
                           const std::vector<float>& values, size_t position, const float* query) {
  const size_t n = shape.head_size;
  const size_t begin = shape.window != 0 && position + 1 > shape.window ? position + 1 - shape.window : 0;
  std::vector<double> weights, out(n);
  double total = 0;
  for (size_t key = begin; key <= position; ++key) {
    double score = 0;
    for (size_t d = 0; d < n; ++d) score += static_cast<double>(keys[key * n + d]) * query[d];
    score *= shape.scale;
    if (shape.softcap > 0) score = shape.softcap * std::tanh(score / shape.softcap);
    weights.push_back(std::exp(score));
    total += weights.back();
  }
  for (size_t key = begin; key <= position; ++key)
    for (size_t d = 0; d < n; ++d) out[d] += weights[key - begin] / total * values[key * n + d];
  return out;
}

float from_half(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                   : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return half >> 15 == 0 ? size : -size;
}

// Pages that are nowhere near each other, with something before their rows.
struct Cache {
  Cache(const AttentionKernels& attention, KvFormat format, const std::vector<float>& x, size_t n)
      : kept(x.size()), format_(format), scales_(kRows + kPagePositions * n * 4) {
    const size_t row_bytes = kv_row_bytes(format, n), scale_bytes = kv_scale_bytes(format, n);
    for (size_t page = 0; page < (x.size() / n + kPagePositions - 1) / kPagePositions; ++page) {
      memory_.emplace_back(scales_ + kPagePositions * scale_bytes);
      pages_.push_back(memory_.back().data());
    }
    float largest = 0;  // of the row
    for (size_t i = 0; i < x.size(); ++i) {
      std::byte* page = memory_[i / n / kPagePositions].data();
      std::byte* row = page + kRows + i / n % kPagePositions * row_bytes;
      std::byte* scales = page + scales_ + i / n % kPagePositions * scale_bytes;
      if (i % n == 0) attention.store_row(format, &x[i], n, row, scales);
      const std::byte* at = row + i % n * (row_bytes / n);
      if (format == KvFormat::f32) std::memcpy(&kept[i], at, 4);
      if (format == KvFormat::i8)
        kept[i] = static_cast<float>(static_cast<int8_t>(*at)) * *reinterpret_cast<float*>(scales);
      if (is_packed(format)) kept[i] = packed_element(format, row, scales, i % n, n);
      if (format == KvFormat::f16) {
        uint16_t half;
        std::memcpy(&half, at, 2);
        kept[i] = from_half(half);
      }
      largest = i % n == 0 ? 0 : largest;
      for (size_t j = i; i % n == 0 && j < i + n; ++j) largest = std::max(largest, std::abs(x[j]));
      if (!is_packed(format)) {
        EXPECT_NEAR(kept[i], x[i], largest * (format == KvFormat::i8 ? 0.0041f : 0.001f));
      }
    }
  }
  KvRows rows() const { return {format_, pages_.data(), kRows, scales_}; }
  std::vector<float> kept;

 private:
  static constexpr size_t kRows = 192;
  KvFormat format_;
  size_t scales_;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<const std::byte*> pages_;
};

// What a tile of queries may differ by, values lying in [-1, 1]: an f16 cache has rounded each of them by up
// to 2.4e-4 already, so integers of such a size are allowed; an f32 cache asks for float.
double tolerance(KvFormat format) {
  return format == KvFormat::f32 ? 2e-5 : 4e-4;
}

struct Problem {
  AttentionShape shape;
  KvRows keys, values;
  const std::vector<float>&key_floats, &value_floats;  // what the cache holds
};

// Runs tokens from `first` on through `tiles` and compares each with double precision; returns the largest
// error.
double tiles_error(const AttentionKernels& attention, size_t lanes, const Problem& p, uint32_t first,
                   size_t tokens, const std::vector<float>& queries, size_t stride) {
  const size_t n = p.shape.head_size, tiles = (tokens + lanes - 1) / lanes;
  std::vector<float> scratch(attention.tiles_scratch(p.shape, tiles)), out(queries.size(), NAN);
  attention.tiles({p.shape, p.keys, p.values, first, tokens, queries.data(), out.data(), stride},
                  scratch.data());
  double worst = 0;
  for (size_t token = 0; token < tokens; ++token) {
    for (size_t head = 0; head < p.shape.group; ++head) {
      const size_t at = token / lanes * stride + head * n * lanes + token % lanes;
      std::vector<float> query(n);
      for (size_t d = 0; d < n; ++d) query[d] = queries[at + d * lanes];
      const std::vector<double> expected =
          attend(p.shape, p.key_floats, p.value_floats, first + token, query.data());
      for (size_t d = 0; d < n; ++d) {
        const double error = std::abs(out[at + d * lanes] - expected[d]);
        if (!(error <= worst)) worst = error;  // NaN counts
      }
    }
  }
  return worst;
}

TEST_P(Attention, TilesMatchDoublePrecision) {
  const size_t group = 2, positions = 300;
  for (const size_t n : {16, 20, 33, 64, 80, 256}) {
    for (const KvFormat format : {KvFormat::f16, KvFormat::i8, KvFormat::f32, KvFormat::q4, KvFormat::q5}) {
      const Cache keys(attention_, format, random_floats(positions * n, 9), n);
      const Cache values(attention_, format, random_floats(positions * n, 10), n);
      for (const uint32_t window : {0u, 3u, 40u}) {
        const Problem problem{
            {n, group, 1 / std::sqrt(static_cast<float>(n)), window == 40 ? 3.0f : 0.0f, window},
            keys.rows(),
            values.rows(),
            keys.kept,
            values.kept};
        for (const uint32_t first : {0u, 64u, 117u}) {
          for (const size_t tokens : {size_t{1}, lanes_, 2 * lanes_, 3 * lanes_ + 5}) {
            const size_t stride = group * n * lanes_ + 7;
            const std::vector<float> queries = random_floats((tokens + lanes_ - 1) / lanes_ * stride, 11);
            EXPECT_LE(tiles_error(attention_, lanes_, problem, first, tokens, queries, stride),
                      tolerance(format))
                << n << " elements, window " << window << ", from " << first << ", " << tokens << " tokens";
          }
        }
      }
    }
  }
}

// Queries that see all keys, those behind them too: one or several calls give each what it would get alone.
TEST_P(Attention, TilesOfATextSeeAllOfIt) {
  const size_t group = 2;
  for (const size_t n : {16, 33, 80}) {
    for (const KvFormat format : {KvFormat::f16, KvFormat::i8, KvFormat::f32, KvFormat::q4}) {
      for (const size_t positions : {size_t{1}, lanes_, size_t{63}, size_t{64}, size_t{150}}) {
        const Cache keys(attention_, format, random_floats(positions * n, 9), n);
        const Cache values(attention_, format, random_floats(positions * n, 10), n);
        const AttentionShape shape{n, group, 1 / std::sqrt(static_cast<float>(n)), 0, 0};
        const size_t tiles = std::min<size_t>(kMostQueryTiles, (positions + lanes_ - 1) / lanes_);
        const size_t tokens = std::min(positions, tiles * lanes_), stride = group * n * lanes_;
        const std::vector<float> queries = random_floats(tiles * stride, 11);
        std::vector<float> scratch(attention_.tiles_scratch(shape, tiles)), out(queries.size(), NAN);
        AttentionTiles whole{shape,  keys.rows(),    values.rows(), 0,
                             tokens, queries.data(), out.data(),    stride};
        whole.end = static_cast<uint32_t>(positions);
        attention_.tiles(whole, scratch.data());
        double worst = 0;
        for (size_t token = 0; token < tokens; ++token) {
          for (size_t head = 0; head < group; ++head) {
            const size_t at = token / lanes_ * stride + head * n * lanes_ + token % lanes_;
            std::vector<float> query(n);
            for (size_t d = 0; d < n; ++d) query[d] = queries[at + d * lanes_];
            const auto expected = attend(shape, keys.kept, values.kept, positions - 1, query.data());
            for (size_t d = 0; d < n; ++d) {
              const double error = std::abs(out[at + d * lanes_] - expected[d]);
              if (!(error <= worst)) worst = error;  // NaN counts
            }
          }
        }
        EXPECT_LE(worst, tolerance(format)) << n << " elements, " << positions << " positions";
      }
    }
  }
}

// A thousand weights that are each below any fixed step from the largest one, e^-10, still count: together
// they are 5 % of the sum.
TEST_P(Attention, ManySmallWeightsAreNotLost) {
  const size_t n = 16, positions = 1024 + 64;
  std::vector<float> key_floats(positions * n, 0.0f), value_floats(positions * n, 0.25f);
  key_floats[0] = 10;
  for (size_t d = 0; d < n; ++d) value_floats[d] = -1;
  const Cache keys(attention_, KvFormat::f16, key_floats, n);
  const Cache values(attention_, KvFormat::f16, value_floats, n);
  const Problem problem{{n, 1, 1.0f, 0, 0}, keys.rows(), values.rows(), keys.kept, values.kept};
  std::vector<float> queries(n * lanes_, 0.0f);
  for (size_t lane = 0; lane < lanes_; ++lane) queries[lane] = 1;
  EXPECT_LE(tiles_error(attention_, lanes_, problem, 1024, lanes_, queries, queries.size()), 2e-3);
}

// Trained models have channels a hundred times larger than their neighbours, and keys of very different
// sizes.
TEST_P(Attention, LargeChannelsLeaveTheOthersTheirBits) {
  const size_t n = 64, positions = 200;
  std::vector<float> key_floats = random_floats(positions * n, 12),
                     value_floats = random_floats(positions * n, 13);
  for (size_t key = 0; key < positions; ++key) {
    key_floats[key * n + 5] += 60;
    value_floats[key * n + 9] *= 100;
    if (key % 7 == 0)
      for (size_t d = 0; d < n; ++d) key_floats[key * n + d] *= 0.01f;
  }
  const Cache keys(attention_, KvFormat::f16, key_floats, n);
  const Cache values(attention_, KvFormat::f16, value_floats, n);
  Problem problem{{n, 1, 0.125f, 0, 0}, keys.rows(), values.rows(), keys.kept, values.kept};
  const std::vector<float> queries = random_floats(n * lanes_, 14);
  const size_t first = positions - lanes_;
  std::vector<float> scratch(attention_.tiles_scratch(problem.shape, 1)), out(queries.size());
  attention_.tiles({problem.shape, problem.keys, problem.values, static_cast<uint32_t>(first), lanes_,
                    queries.data(), out.data(), queries.size()},
                   scratch.data());
  for (size_t lane = 0; lane < lanes_; ++lane) {
    const std::vector<double> expected =
        attend(problem.shape, keys.kept, values.kept, first + lane, column(queries.data(), n, lane).data());
    for (size_t d = 0; d < n; ++d)
      EXPECT_NEAR(out[d * lanes_ + lane], expected[d], (d == 9 ? 100 : 1) * 1e-3) << d;
  }
}

TEST_P(Attention, TokensMatchDoublePrecision) {
  const size_t positions = 150;
  for (const size_t group : {1, 2, 3, 4, 8}) {
    for (const size_t n : {16, 20, 64, 100}) {
      for (const KvFormat format : {KvFormat::f16, KvFormat::i8, KvFormat::f32, KvFormat::q4, KvFormat::q5}) {
        const Cache keys(attention_, format, random_floats(positions * n, 9), n);
        const Cache values(attention_, format, random_floats(positions * n, 10), n);
        const AttentionShape shape{n, group, 0.7f, 3.0f, 0};
        const std::vector<float> queries = random_floats(group * n, 11);
        std::vector<float> out(group * n), maxima(group), sums(group);
        for (const uint32_t end : {1u, 20u, 150u}) {
          std::vector<float> scratch(attention_.token_scratch(shape, end));
          attention_.token({shape, keys.rows(), values.rows(), 0, end, queries.data(), out.data(),
                            maxima.data(), sums.data()},
                           scratch.data());
          for (size_t head = 0; head < group; ++head) {
            const std::vector<double> expected =
                attend(shape, keys.kept, values.kept, end - 1, &queries[head * n]);
            for (size_t d = 0; d < n; ++d) EXPECT_NEAR(out[head * n + d] / sums[head], expected[d], 2e-5);
          }
        }
      }
    }
  }
}

// Integers have no NaN; the logits must show it all the same, because that is where it is looked for.
TEST_P(Attention, WhatIsNotFiniteReachesTheResult) {
  const size_t n = 32, positions = 100;
  for (const KvFormat format : {KvFormat::f16, KvFormat::f32, KvFormat::q4, KvFormat::q5}) {
    // Highway's own conversion of halves knows no NaN; the processor's does.
    if (format == KvFormat::f16 && GetParam() == Target::portable) continue;
    for (int where = 0; where < 3; ++where) {
      std::vector<float> x[3] = {random_floats(positions * n, 15), random_floats(positions * n, 16),
                                 random_floats(n * lanes_, 17)};
      x[where][3] = NAN;  // key 0, value 0 or the query of lane 3
      std::vector<std::byte> rows[2];
      std::vector<const std::byte*> pages[2];
      for (int i = 0; i < 2; ++i) {
        const size_t bytes = kv_row_bytes(format, n), scale = kv_scale_bytes(format, n);
        rows[i].resize(2 * kPagePositions * (bytes + scale));
        for (size_t row = 0; row < positions; ++row) {
          std::byte* page = &rows[i][row / kPagePositions * kPagePositions * (bytes + scale)];
          if (row % kPagePositions == 0) pages[i].push_back(page);
          attention_.store_row(format, &x[i][row * n], n, page + row % kPagePositions * bytes,
                               page + kPagePositions * bytes + row % kPagePositions * scale);
        }
      }
      const size_t scales = kPagePositions * kv_row_bytes(format, n);
      const AttentionShape shape{n, 1, 0.2f, 0, 0};
      std::vector<float> scratch(attention_.tiles_scratch(shape, 1)), out(n * lanes_, 0.0f);
      attention_.tiles({shape,
                        {format, pages[0].data(), 0, scales},
                        {format, pages[1].data(), 0, scales},
                        64,
                        lanes_,
                        x[2].data(),
                        out.data(),
                        out.size()},
                       scratch.data());
      EXPECT_TRUE(std::isnan(out[3 * lanes_ + 3])) << where;
    }
  }
}

// Heads of any size: one of 2,048 elements (a llama of one head) once ran over a buffer of 1,024.
TEST_P(Attention, TilesAreStoredAsTheirRows) {
  const size_t tokens = lanes_ - 1;
  for (const size_t n : {size_t{20}, size_t{64}, size_t{2048}, size_t{70'001}}) {
    const std::vector<float> tile = random_floats(n * lanes_, 12);
    for (const KvFormat format : {KvFormat::f16, KvFormat::i8, KvFormat::f32, KvFormat::q4, KvFormat::q5}) {
      const size_t row_bytes = kv_row_bytes(format, n), scale_bytes = kv_scale_bytes(format, n);
      std::vector<uint8_t> stored(tokens * row_bytes), row(row_bytes), scales(tokens * scale_bytes),
          scale(scale_bytes);
      // In two parts, as where a page ends within the tile.
      const size_t half = tokens / 2;
      attention_.store_tile(format, tile.data(), n, 0, half, stored.data(), scales.data());
      attention_.store_tile(format, tile.data(), n, half, tokens - half, &stored[half * row_bytes],
                            scales.data() + half * scale_bytes);
      for (size_t lane = 0; lane < tokens; ++lane) {
        attention_.store_row(format, column(tile.data(), n, lane).data(), n, row.data(), scale.data());
        EXPECT_EQ(0, std::memcmp(row.data(), &stored[lane * row_bytes], row_bytes)) << n;
        EXPECT_TRUE(std::equal(scale.begin(), scale.end(),
                               scales.begin() + static_cast<ptrdiff_t>(lane * scale_bytes)));
      }
    }
  }
}

// The Hadamard transform of a head, blocks of powers of two with the largest first, in double precision.
std::vector<double> rotated(std::vector<double> x) {
  for (size_t at = 0; at < x.size();) {
    size_t block = 1;
    while (2 * block <= x.size() - at) block *= 2;
    std::vector<double> y(block);
    for (size_t i = 0; i < block; ++i) {
      for (size_t j = 0; j < block; ++j) y[i] += (__builtin_popcountll(i & j) % 2 == 0 ? 1 : -1) * x[at + j];
    }
    for (size_t i = 0; i < block; ++i) x[at + i] = y[i] / std::sqrt(static_cast<double>(block));
    at += block;
  }
  return x;
}

// Keys lack a bias that RoPE turns, as large as Qwen 2's: the kernels put it back.
TEST_P(Attention, PackedKeysGetTheirBiasBack) {
  const size_t positions = 150, group = 3;
  for (const bool neox : {true, false}) {
    for (const size_t n : {20, 64, 80}) {
      const size_t dims = n == 80 ? 32 : n, pairs = dims / 2;
      std::vector<float> values = random_floats(n, 30, 3), pages(3 * dims), within(kPagePositions * dims);
      values[n / 2] = 100;
      const auto angle = [&](size_t position, size_t i) {
        return static_cast<double>(position) *
               std::pow(1e4, -2.0 * static_cast<double>(i) / static_cast<double>(dims));
      };
      for (size_t i = 0; i < pairs; ++i) {
        for (size_t p = 0; p < kPagePositions; ++p) {
          within[p * dims + i] = static_cast<float>(std::cos(angle(p, i)));
          within[p * dims + pairs + i] = static_cast<float>(std::sin(angle(p, i)));
        }
        for (size_t p = 0; p < 3; ++p) {
          pages[p * dims + i] = static_cast<float>(std::cos(angle(p * kPagePositions, i)));
          pages[p * dims + pairs + i] = static_cast<float>(std::sin(angle(p * kPagePositions, i)));
        }
      }
      const Cache keys(attention_, KvFormat::q5, random_floats(positions * n, 9), n);
      const Cache cached(attention_, KvFormat::q4, random_floats(positions * n, 10), n);
      std::vector<float> whole(positions * n);
      for (size_t p = 0; p < positions; ++p) {
        std::vector<double> bias(values.begin(), values.end());
        for (size_t i = 0; i < pairs; ++i) {
          const size_t first = neox ? i : 2 * i, second = neox ? pairs + i : 2 * i + 1;
          const double c = std::cos(angle(p, i)), s = std::sin(angle(p, i)), a = bias[first],
                       b = bias[second];
          bias[first] = a * c - b * s;
          bias[second] = a * s + b * c;
        }
        bias = rotated(bias);
        for (size_t d = 0; d < n; ++d)
          whole[p * n + d] = static_cast<float>(static_cast<double>(keys.kept[p * n + d]) + bias[d]);
      }
      KvRows rows = keys.rows();
      rows.bias = {values.data(), dims, neox, pages.data(), within.data()};
      const AttentionShape shape{n, group, 0.1f, 0, 0};
      const Problem problem{shape, rows, cached.rows(), whole, cached.kept};
      // The bias raises a key's norm to some 110, and 16-bit integers' step with it: to 110 / 32,000, of
      // queries' to 4.6 / 32,000; with products of n elements that is 1e-3 of a score, and of a weight.
      const std::vector<float> queries = random_floats(3 * group * n * lanes_, 11);
      EXPECT_LE(tiles_error(attention_, lanes_, problem, 40, 3 * lanes_, queries, group * n * lanes_), 2e-3);

      std::vector<float> out(group * n), maxima(group), sums(group),
          scratch(attention_.token_scratch(shape, positions));
      attention_.token(
          {shape, rows, cached.rows(), 7, positions, queries.data(), out.data(), maxima.data(), sums.data()},
          scratch.data());
      AttentionShape window = shape;
      window.window = static_cast<uint32_t>(positions - 7);
      for (size_t head = 0; head < group; ++head) {
        const std::vector<double> expected =
            attend(window, whole, cached.kept, positions - 1, &queries[head * n]);
        for (size_t d = 0; d < n; ++d) EXPECT_NEAR(out[head * n + d] / sums[head], expected[d], 1e-4) << n;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Attention,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& tested) { return std::string(name(tested.param)); });

}  // namespace
}  // namespace cairn::kernels
