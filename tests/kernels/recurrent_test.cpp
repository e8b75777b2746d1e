// Short convolutions and the gated delta rule against plain double precision, on every instruction set.
#include "kernels/recurrent.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "kernels/random_floats.hpp"

namespace cairn::kernels {
namespace {

class Recurrent : public testing::TestWithParam<Target> {
 protected:
  const RecurrentKernels& kernels_ = recurrent_kernels(GetParam());
};

TEST_P(Recurrent, Convolutions) {
  constexpr size_t kWindow = 4, kTokens = 37;
  for (const size_t channels : {1u, 7u, 16u, 45u}) {
    const std::vector<float> weights = random_floats(kWindow * channels, 3),
                             x = random_floats((kTokens + kWindow - 1) * channels, 4),
                             bias = random_floats(channels, 11);
    const auto expected = [&](size_t t, size_t c) {
      double sum = static_cast<double>(bias[c]);
      for (size_t i = 0; i < kWindow; ++i)
        sum +=
            static_cast<double>(weights[i * channels + c]) * static_cast<double>(x[(t + i) * channels + c]);
      return sum;
    };
    for (size_t t = 0; t < kTokens; ++t) {
      std::array<const float*, kWindow> inputs;
      for (size_t i = 0; i < kWindow; ++i) inputs[i] = x.data() + (t + i) * channels;
      std::vector<float> out(inputs[kWindow - 1], inputs[kWindow - 1] + channels);
      inputs[kWindow - 1] = out.data();  // in place
      kernels_.convolve_token(inputs.data(), weights.data(), bias.data(), kWindow, channels, out.data());
      for (size_t c = 0; c < channels; ++c) EXPECT_NEAR(out[c], expected(t, c), 1e-6);
    }
    for (size_t c = 0; c < channels; ++c) {
      std::vector<float> line, out(kTokens);
      for (size_t t = 0; t < kTokens + kWindow - 1; ++t) line.push_back(x[t * channels + c]);
      kernels_.convolve_channel(line.data(), weights.data() + c, bias[c], kWindow, channels, kTokens,
                                out.data());
      for (size_t t = 0; t < kTokens; ++t) EXPECT_NEAR(out[t], expected(t, c), 1e-6);
    }
  }
}

// One head's tokens.
struct Head {
  Head(size_t n, size_t count)
      : size(n),
        columns(round_up(n, kDeltaColumns)),
        queries(random_floats(count * columns, 5)),
        keys(random_floats(count * columns, 6)),
        values(random_floats(count * columns, 7)),
        decays(random_floats(count, 8, 0.6F, 1)),
        steps(random_floats(count, 9, 0, 1)),
        out(count * columns),
        deltas(count * columns),
        scratch(n * kDeltaBlock) {
    for (size_t t = 0; t < count; ++t) {
      double sum = 0;
      for (size_t i = 0; i < n; ++i) sum += std::pow(static_cast<double>(keys[t * columns + i]), 2);
      for (size_t i = 0; i < n; ++i) keys[t * columns + i] /= static_cast<float>(std::sqrt(sum));
    }
  }
  DeltaTokens tokens(size_t begin, size_t count) {
    const size_t at = begin * columns;
    return {count,
            queries.data() + at,
            keys.data() + at,
            values.data() + at,
            decays.data() + begin,
            steps.data() + begin,
            out.data() + at,
            deltas.data() + at};
  }
  DeltaPast past(size_t begin, size_t count) const {
    return {count, keys.data() + begin * columns, deltas.data() + begin * columns, decays.data() + begin};
  }
  size_t size, columns;
  std::vector<float> queries, keys, values, decays, steps, out, deltas, scratch;
};

TEST_P(Recurrent, DeltaRuleIsItsDefinition) {
  for (const size_t n : {8u, 24u, 64u, 128u}) {
    constexpr size_t kTokens = 50;
    Head head(n, kTokens);
    std::vector<float> state(n * head.columns);
    kernels_.delta_rule({n, head.columns, head.columns, state.data(), nullptr, state.data()}, {},
                        head.tokens(0, kTokens), head.scratch.data());
    std::vector<double> s(n * n);
    for (size_t t = 0; t < kTokens; ++t) {
      const float *q = &head.queries[t * head.columns], *k = &head.keys[t * head.columns];
      for (double& v : s) v *= static_cast<double>(head.decays[t]);
      for (size_t j = 0; j < n; ++j) {
        double known = 0, result = 0;
        for (size_t i = 0; i < n; ++i) known += static_cast<double>(k[i]) * s[i * n + j];
        const double delta = (static_cast<double>(head.values[t * head.columns + j]) - known) *
                             static_cast<double>(head.steps[t]);
        for (size_t i = 0; i < n; ++i) s[i * n + j] += static_cast<double>(k[i]) * delta;
        for (size_t i = 0; i < n; ++i) result += static_cast<double>(q[i]) * s[i * n + j];
        EXPECT_NEAR(head.out[t * head.columns + j], result, 2e-5) << n << ' ' << t;
      }
    }
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) EXPECT_NEAR(state[i * head.columns + j], s[i * n + j], 1e-5);
    }
  }
}

// However the tokens are cut, and whether those before are past: the same bits.
TEST_P(Recurrent, DeltaRuleOfAPastIsTheSame) {
  for (const size_t n : {24u, 128u}) {
    constexpr size_t kTokens = 12;
    Head whole(n, kTokens);
    const std::vector<float> first = random_floats(n * whole.columns, 10);
    std::vector<float> state = first;
    kernels_.delta_rule({n, whole.columns, whole.columns, state.data(), nullptr, state.data()}, {},
                        whole.tokens(0, kTokens), whole.scratch.data());
    // Single tokens that leave the state as it was, and one that takes up the past.
    Head cut(n, kTokens);
    std::vector<float> base = first;
    for (size_t t = 0; t < 5; ++t) {
      kernels_.delta_rule({n, cut.columns, cut.columns, base.data(), nullptr, nullptr}, cut.past(0, t),
                          cut.tokens(t, 1), cut.scratch.data());
    }
    EXPECT_EQ(base, first);
    kernels_.delta_rule({n, cut.columns, cut.columns, base.data(), base.data(), nullptr}, cut.past(0, 5),
                        cut.tokens(5, 3), cut.scratch.data());
    std::vector<float> other(base.size());
    kernels_.delta_rule({n, cut.columns, cut.columns, base.data(), nullptr, other.data()}, cut.past(5, 3),
                        cut.tokens(8, 4), cut.scratch.data());
    EXPECT_EQ(cut.out, whole.out);
    EXPECT_EQ(cut.deltas, whole.deltas);
    EXPECT_EQ(other, state);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Recurrent,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& tested) { return std::string(name(tested.param)); });

}  // namespace
}  // namespace cairn::kernels
