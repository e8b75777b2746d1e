// Selective scans, token by token and in tiles, against plain double precision, on every instruction set.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/random_floats.hpp"
#include "kernels/recurrent.hpp"

namespace cairn::kernels {
namespace {

class Scan : public testing::TestWithParam<Target> {
 protected:
  const RecurrentKernels& kernels_ = recurrent_kernels(GetParam());
  const size_t tile_ = kernel_set(GetParam()).gemm.tile_tokens;
};

// One head's tokens: values are s x.
struct Head {
  Head(size_t keys, size_t head_size, size_t count)
      : state(keys),
        size(head_size),
        columns(round_up(head_size, kDeltaColumns)),
        stride(round_up(keys, 16)),
        b(random_floats(count * stride, 1)),
        c(random_floats(count * stride, 2)),
        x(random_floats(count * columns, 3)),
        values(x),
        steps(random_floats(count, 4, 0, 2)),
        decays(random_floats(count, 5, 0, 1)),
        out(count * columns) {
    for (size_t t = 0; t < count; ++t) {
      for (size_t i = 0; i < columns; ++i) values[t * columns + i] *= steps[t];
    }
  }
  DeltaTokens tokens(size_t begin, size_t count) {
    return {count,
            c.data() + begin * stride,
            b.data() + begin * stride,
            values.data() + begin * columns,
            decays.data() + begin,
            nullptr,
            out.data() + begin * columns,
            nullptr};
  }
  DeltaPast past(size_t begin, size_t count) const {
    return {count, b.data() + begin * stride, values.data() + begin * columns, decays.data() + begin};
  }
  DeltaState from_to(const float* from, float* kept, float* to) const {
    return {state, columns, stride, from, kept, to};
  }
  // What the tokens' results are, [token][size], and the state behind them.
  std::vector<double> expected(std::vector<double>& s, size_t count) const {
    std::vector<double> result(count * size);
    for (size_t t = 0; t < count; ++t) {
      for (size_t i = 0; i < state; ++i) {
        for (size_t j = 0; j < size; ++j) {
          double& v = s[i * size + j];
          v = v * static_cast<double>(decays[t]) +
              static_cast<double>(b[t * stride + i]) * static_cast<double>(values[t * columns + j]);
          result[t * size + j] += v * static_cast<double>(c[t * stride + i]);
        }
      }
    }
    return result;
  }
  size_t state, size, columns, stride;
  std::vector<float> b, c, x, values, steps, decays, out;
};

constexpr std::pair<size_t, size_t> kSizes[] = {{128, 64}, {22, 8}, {16, 20}, {7, 48}, {256, 80}};

TEST_P(Scan, IsItsDefinition) {
  for (const auto& [keys, size] : kSizes) {
    constexpr size_t kTokens = 30;
    Head head(keys, size, kTokens);
    std::vector<float> state(keys * head.columns);
    kernels_.selective_scan(head.from_to(state.data(), nullptr, state.data()), {}, head.tokens(0, kTokens));
    std::vector<double> s(keys * size);
    const std::vector<double> expected = head.expected(s, kTokens);
    for (size_t t = 0; t < kTokens; ++t) {
      for (size_t j = 0; j < size; ++j)
        ASSERT_NEAR(head.out[t * head.columns + j], expected[t * size + j], 1e-4) << keys << ' ' << t;
    }
    for (size_t i = 0; i < keys; ++i) {
      for (size_t j = 0; j < size; ++j) ASSERT_NEAR(state[i * head.columns + j], s[i * size + j], 1e-5);
    }
  }
}

// However the tokens are cut, and whether those before are past: the same bits.
TEST_P(Scan, OfAPastIsTheSame) {
  for (const auto& [keys, size] : kSizes) {
    constexpr size_t kTokens = 12;
    Head whole(keys, size, kTokens), cut(keys, size, kTokens);
    const std::vector<float> first = random_floats(keys * whole.columns, 10);
    std::vector<float> state = first, base = first;
    kernels_.selective_scan(whole.from_to(state.data(), nullptr, state.data()), {}, whole.tokens(0, kTokens));
    for (size_t t = 0; t < 5; ++t)
      kernels_.selective_scan(cut.from_to(base.data(), nullptr, nullptr), cut.past(0, t), cut.tokens(t, 1));
    EXPECT_EQ(base, first);
    kernels_.selective_scan(cut.from_to(base.data(), base.data(), nullptr), cut.past(0, 5), cut.tokens(5, 3));
    std::vector<float> other(base.size()), last(base.size());
    kernels_.selective_scan(cut.from_to(base.data(), other.data(), nullptr), cut.past(5, 3), {});
    kernels_.selective_scan(cut.from_to(other.data(), nullptr, last.data()), {}, cut.tokens(8, 4));
    EXPECT_EQ(cut.out, whole.out);
    EXPECT_EQ(last, state);
  }
}

// Tiles one after the other, the last with lanes that are no tokens.
TEST_P(Scan, OfTilesIsTheSame) {
  for (const auto& [keys, size] : kSizes) {
    const size_t tokens = 2 * tile_ + tile_ / 2 + 1, tiles = 3;
    Head head(keys, size, tiles * tile_);
    constexpr float kSkip = 0.75F;
    std::vector<float> state = random_floats(keys * head.columns, 10);
    std::vector<double> s(keys * size);
    for (size_t i = 0; i < keys; ++i) {
      for (size_t j = 0; j < head.columns; ++j)
        j < size ? void(s[i * size + j] = static_cast<double>(state[i * head.columns + j]))
                 : void(state[i * head.columns + j] = 0);
    }
    const std::vector<double> expected = head.expected(s, tokens);
    std::vector<float> scratch(scan_scratch(tile_, head.columns)), scores(tile_ * tile_);
    for (size_t i = 0; i < tiles; ++i) {
      const size_t begin = i * tile_;
      std::vector<float> x(size * tile_), b(keys * tile_), c(keys * tile_), out(size * tile_);
      std::vector<float> steps(tile_), decays(tile_, 1);
      for (size_t t = 0; t < tile_; ++t) {
        const size_t token = begin + t;
        for (size_t j = 0; j < size; ++j) x[j * tile_ + t] = head.x[token * head.columns + j];
        for (size_t j = 0; j < keys; ++j) b[j * tile_ + t] = head.b[token * head.stride + j];
        for (size_t j = 0; j < keys; ++j) c[j * tile_ + t] = head.c[token * head.stride + j];
        if (token < tokens) steps[t] = head.steps[token], decays[t] = head.decays[token];
      }
      kernels_.scan_scores(b.data(), c.data(), keys, scores.data());
      kernels_.scan_tile(
          {keys, size, x.data(), b.data(), c.data(), scores.data(), steps.data(), decays.data(), kSkip},
          head.columns, state.data(), state.data(), out.data(), scratch.data());
      for (size_t t = 0; t < tile_ && begin + t < tokens; ++t) {
        for (size_t j = 0; j < size; ++j) {
          const double more = static_cast<double>(kSkip * x[j * tile_ + t]);
          ASSERT_NEAR(out[j * tile_ + t], expected[(begin + t) * size + j] + more, 2e-4)
              << keys << " × " << size << ", token " << begin + t;
        }
      }
    }
    for (size_t i = 0; i < keys; ++i) {
      for (size_t j = 0; j < size; ++j) ASSERT_NEAR(state[i * head.columns + j], s[i * size + j], 1e-5);
    }
  }
}

// Decays so strong that their products are zero, and steps of any size.
TEST_P(Scan, StepsAndDecaysOfAnySize) {
  const std::vector<float> alpha = {-200, -30, -5, -0.5F, 0, 1e-3F, 0.5F, 3, 15, 88, 200, 1e4F, -1e4F};
  std::vector<float> steps(alpha.size()), decays(alpha.size());
  for (const float rate : {-1.0F, -1e-3F, -16.0F}) {
    kernels_.scan_steps(alpha.data(), 0.25F, rate, alpha.size(), steps.data(), decays.data());
    for (size_t i = 0; i < alpha.size(); ++i) {
      const double x = static_cast<double>(alpha[i]) + 0.25, step = x > 50 ? x : std::log1p(std::exp(x));
      EXPECT_NEAR(steps[i], step, 1e-6 * std::max(step, 1e-30)) << alpha[i];
      EXPECT_NEAR(decays[i], std::exp(static_cast<double>(rate) * step), 1e-6) << alpha[i];
    }
  }
  const size_t keys = 16, size = 16;
  std::vector<float> x(size * tile_, 1), b(keys * tile_, 1), c(keys * tile_, 1), out(size * tile_),
      state(keys * size, 1), scores(tile_ * tile_), scratch(scan_scratch(tile_, size));
  const std::vector<float> ones(tile_, 1), tiny(tile_, 1e-30F);
  kernels_.scan_scores(b.data(), c.data(), keys, scores.data());
  kernels_.scan_tile({keys, size, x.data(), b.data(), c.data(), scores.data(), ones.data(), tiny.data(), 0},
                     size, state.data(), state.data(), out.data(), scratch.data());
  for (const float v : out) EXPECT_FLOAT_EQ(v, 16);
  for (const float v : state) EXPECT_FLOAT_EQ(v, 1);
}

INSTANTIATE_TEST_SUITE_P(Targets, Scan,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& tested) { return std::string(name(tested.param)); });

}  // namespace
}  // namespace cairn::kernels
