// Convolutions of rows on every instruction set against sums written out, to the last bit.
#include "kernels/conv.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/kernel_set.hpp"

namespace cairn::kernels {
namespace {

class Conv : public testing::TestWithParam<Target> {
 protected:
  const ConvKernels& kernels_ = kernel_set(GetParam()).conv;
  std::mt19937 random_{7};

  int uniform(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
};

constexpr size_t kAfter = 64;

struct Hidden {
  int weight, input, together;  // magnitudes
  size_t steps, outputs;
};

TEST_P(Conv, HiddenLayersEqualTheirSums) {
  const size_t pixels = 2 * kernels_.step_pixels;
  for (const Hidden& h : {Hidden{15, 255, 4, 18, 8}, Hidden{15, 255, 4, 3, 4}, Hidden{31, 255, 2, 37, 12},
                          Hidden{63, 255, 1, 36, 16}, Hidden{127, 127, 1, 9, 20}, Hidden{7, 255, 4, 27, 4}}) {
    std::vector<std::vector<uint8_t>> inputs(h.steps);
    std::vector<const uint8_t*> pointers;
    for (auto& input : inputs) {
      input.resize(pixels * 4);
      // Extremes often: they are where sums of 16 bits would overflow.
      for (auto& v : input) v = static_cast<uint8_t>(uniform(0, 3) == 0 ? h.input : uniform(0, h.input));
      pointers.push_back(input.data());
    }
    std::vector<int8_t> weights(h.outputs * h.steps * 4);
    for (auto& w : weights)
      w = static_cast<int8_t>(uniform(0, 3) == 0 ? h.weight * (uniform(0, 1) * 2 - 1)
                                                 : uniform(-h.weight, h.weight));
    std::vector<int32_t> bias(h.outputs);
    std::vector<float> multiplier(h.outputs);
    for (auto& b : bias) b = uniform(-50000, 50000);
    for (auto& m : multiplier) m = static_cast<float>(uniform(-20, 200)) / 9999.0f;
    std::vector<std::vector<uint8_t>> out(h.outputs / 4, std::vector<uint8_t>(pixels * 4 + kAfter, 0xA5));
    std::vector<uint8_t*> out_rows;
    for (auto& row : out) out_rows.push_back(row.data());
    const ConvLayer layer{h.steps,
                          h.outputs,
                          weights.data(),
                          bias.data(),
                          multiplier.data(),
                          static_cast<uint8_t>(h.input),
                          static_cast<uint8_t>(h.together)};
    kernels_.hidden(layer, pointers.data(), pixels, out_rows.data());
    for (size_t o = 0; o < h.outputs; ++o) {
      for (size_t x = 0; x < pixels; ++x) {
        int32_t sum = bias[o];
        for (size_t s = 0; s < h.steps; ++s) {
          for (size_t i = 0; i < 4; ++i)
            sum += inputs[s][x * 4 + i] * weights[((o / 4 * h.steps + s) * 4 + o % 4) * 4 + i];
        }
        const float scaled = std::nearbyint(static_cast<float>(sum) * multiplier[o]);
        const auto want = static_cast<int>(std::clamp(scaled, 0.0f, static_cast<float>(h.input)));
        ASSERT_EQ(out[o / 4][x * 4 + o % 4], want)
            << "steps " << h.steps << " output " << o << " pixel " << x;
      }
    }
    for (const auto& row : out) {
      for (size_t i = pixels * 4; i < row.size(); ++i) ASSERT_EQ(row[i], 0xA5) << "written beyond the row";
    }
  }
}

TEST_P(Conv, TailsEqualTheirSums) {
  const size_t pixels = 2 * kernels_.step_pixels;
  for (size_t scale = 1; scale <= 4; ++scale) {
    for (const size_t steps : {size_t{0}, size_t{9}, size_t{18}}) {
      const size_t phases = scale * scale, block = scale == 2 ? 4 : scale;
      std::vector<std::vector<uint8_t>> inputs(steps);
      std::vector<const uint8_t*> pointers(1);
      pointers.clear();
      for (auto& input : inputs) {
        input.resize(pixels * 4);
        for (auto& v : input) v = static_cast<uint8_t>(uniform(0, 255));
        pointers.push_back(input.data());
      }
      std::vector<std::vector<uint32_t>> rows(kSkipRows, std::vector<uint32_t>(pixels + 64));
      std::vector<std::vector<int>> samples(kSkipRows, std::vector<int>(pixels + 64));
      std::vector<const uint32_t*> row_pointers;
      for (size_t r = 0; r < kSkipRows; ++r) {
        for (auto& v : samples[r]) v = uniform(0, 1023);
        for (size_t x = 0; x + 1 < pixels + 64; ++x)
          rows[r][x] = static_cast<uint32_t>(samples[r][x] | samples[r][x + 1] << 16);
        row_pointers.push_back(rows[r].data() + 16);
      }
      std::vector<int8_t> weights(phases * steps * 4 + 4);
      for (auto& w : weights) w = static_cast<int8_t>(uniform(-15, 15));
      std::vector<int16_t> skip(phases * kSkipRows * kSkipPairs * 2);
      for (size_t i = 0; i < skip.size(); ++i)
        skip[i] = i % 6 == 5 ? int16_t{0} : static_cast<int16_t>(uniform(-2000, 3000));
      std::vector<float> multiplier(phases, 0.003f), offset(phases, 11.25f);
      const ConvTail tail{
          steps,   scale, weights.data(), multiplier.data(), offset.data(), skip.data(), 1.0f / 16384,
          1023.0f, 4};
      std::vector<std::vector<uint16_t>> out(scale, std::vector<uint16_t>(pixels * scale));
      std::vector<uint16_t*> out_rows;
      for (auto& row : out) out_rows.push_back(row.data());
      kernels_.tail(tail, pointers.data(), row_pointers.data(), pixels, out_rows.data());
      for (size_t p = 0; p < phases; ++p) {
        for (size_t x = 0; x < pixels; ++x) {
          int32_t sum = 0, filter = 0;
          for (size_t s = 0; s < steps; ++s) {
            for (size_t i = 0; i < 4; ++i)
              sum += inputs[s][x * 4 + i] * weights[((p / block * steps + s) * block + p % block) * 4 + i];
          }
          for (size_t t = 0; t < 25; ++t)
            filter += samples[t / 5][16 + x + t % 5 - 2] * skip[p * 30 + t / 5 * 6 + t % 5];
          const float value =
              static_cast<float>(sum) * 0.003f + (static_cast<float>(filter) / 16384 + 11.25f);
          const auto want = static_cast<int>(std::nearbyint(std::clamp(value, 0.0f, 1023.0f)));
          ASSERT_EQ(out[p / scale][x * scale + p % scale], want)
              << "scale " << scale << " phase " << p << " x " << x;
        }
      }
    }
  }
}

TEST_P(Conv, ExpandsSamples) {
  const size_t pixels = kernels_.step_pixels;
  std::vector<uint16_t> samples(pixels + 128);
  for (auto& s : samples) s = static_cast<uint16_t>(uniform(0, 3) == 0 ? 1023 : uniform(0, 1023));
  const uint16_t* p = samples.data() + 32;
  std::vector<uint8_t> taps(pixels * 4), rests(pixels * 4);
  std::vector<uint32_t> pairs(pixels);
  const auto byte = [&](size_t x, size_t i) { return std::min((p[x + i - 1] + 2) >> 2, 255); };
  kernels_.expand(p, pixels, 2, taps.data(), nullptr, pairs.data());
  for (size_t x = 0; x < pixels; ++x) {
    for (size_t i = 0; i < 3; ++i) ASSERT_EQ(taps[4 * x + i], byte(x, i));
    ASSERT_EQ(taps[4 * x + 3], 0);
    ASSERT_EQ(pairs[x], p[x] + 65536u * p[x + 1]);
  }
  kernels_.expand(p, pixels, 2, taps.data(), rests.data(), nullptr);
  for (size_t x = 0; x < pixels; ++x) {
    for (size_t i = 0; i < 3; ++i) {
      ASSERT_EQ(taps[4 * x + i] + rests[4 * x + i], byte(x, i));
      ASSERT_LE(std::max(taps[4 * x + i], rests[4 * x + i]), 128);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Conv,
                         testing::ValuesIn(available_targets().begin(), available_targets().end()),
                         [](const auto& tested) { return name(tested.param); });

}  // namespace
}  // namespace cairn::kernels
