// What becomes of answers when a GPU fails, has no memory left, or is not there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "backends/cuda/engine.hpp"
#include "backends/fake_gpu.hpp"
#include "backends/make_engine.hpp"
#include "base/error.hpp"
#include "graph/golden_models.hpp"

namespace cairn::cuda {
namespace {

using engine::Logits;
using engine::Sequence;
using engine::Slice;
using Rows = std::vector<float>;

// The fake alone has mishaps to choose.
class CudaFallback : public ::testing::Test {
 protected:
  CudaFallback() { setenv("CAIRN_LIB", CAIRN_FAKE_CUDA_FOLDER, 1); }

  engine::Options options(const char* device, uint32_t context = 256) {
    return {.context = context,
            .threads = 1,
            .chunk = 64,
            .device = device,
            .warn = [this](const std::string& line) { told_.push_back(line); }};
  }
  static std::vector<int32_t> tokens(size_t which, size_t begin, size_t count) {
    const std::vector<int32_t> all = graph::long_text(which, begin + count);
    return {all.begin() + static_cast<ptrdiff_t>(begin), all.end()};
  }
  // `count` tokens one after the other, and their logits.
  static Rows decode(engine::Engine& engine, Sequence& sequence, size_t which, size_t count) {
    const size_t vocabulary = engine.model().parameters.vocabulary;
    Rows rows(count * vocabulary);
    for (size_t i = 0; i < count; ++i)
      engine.step(
          {&sequence, tokens(which, sequence.length(), 1), Logits::last, rows.data() + i * vocabulary});
    return rows;
  }
  Rows on_cpu(size_t which, size_t prompt, size_t count) const {
    const auto engine = cpu::make_engine(file_, {.context = 256, .threads = 1, .chunk = 64});
    const auto sequence = engine->make_sequence();
    engine->step({sequence.get(), tokens(which, 0, prompt)});
    return decode(*engine, *sequence, which, count);
  }
  static double difference(const Rows& expected, const Rows& found) {
    double error = 0, power = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      error += std::pow(double{expected[i]} - double{found[i]}, 2);
      power += std::pow(double{expected[i]}, 2);
    }
    return std::sqrt(error / power);
  }

  testing::FakeGpu gpu_;
  const gguf::File file_{graph::golden_model_path("qwen3")};
  std::vector<std::string> told_;
};

TEST_F(CudaFallback, AnAnswerGoesOnWhenTheGpuVanishes) {
  const Rows expected = on_cpu(1, 40, 8), other = on_cpu(2, 3, 4);
  for (int last = 1; last < 10; last += 2) {
    told_.clear();
    const auto engine = make_engine(file_, options("cuda:1"));
    gpu_.set("_VANISH", std::to_string(last));
    const auto a = engine->make_sequence(), b = engine->make_sequence();
    engine->step({a.get(), tokens(1, 0, 40)});
    engine->step({b.get(), tokens(2, 0, 3)});
    const Rows found = decode(*engine, *a, 1, 8);
    EXPECT_EQ(a->length(), 48U);
    EXPECT_EQ(b->length(), 3U);
    const size_t half = found.size() / 2;
    EXPECT_LT(difference({expected.begin() + static_cast<ptrdiff_t>(half), expected.end()},
                         {found.begin() + static_cast<ptrdiff_t>(half), found.end()}),
              7e-2)
        << last;
    EXPECT_LT(difference(other, decode(*engine, *b, 2, 4)), 7e-2) << last;
    ASSERT_EQ(told_.size(), 1U);
    EXPECT_THAT(told_[0], ::testing::HasSubstr("the fake GPU is gone; the CPU goes on"));
    EXPECT_EQ(a->truncate(41), 41U);
    const auto fork = a->fork();
    EXPECT_LT(difference({expected.begin() + static_cast<ptrdiff_t>(found.size() / 8),
                          expected.begin() + static_cast<ptrdiff_t>(half)},
                         decode(*engine, *fork, 1, 3)),
              7e-2);
    EXPECT_LT(difference({expected.begin() + static_cast<ptrdiff_t>(found.size() / 8),
                          expected.begin() + static_cast<ptrdiff_t>(half)},
                         decode(*engine, *a, 1, 3)),
              7e-2);
    const auto fresh = engine->make_sequence();
    engine->reserve(*fresh, 20);
    EXPECT_EQ(decode(*engine, *fresh, 2, 1).size(), found.size() / 8);
    gpu_.unset("_VANISH");
  }
}

TEST_F(CudaFallback, WhatTheGpuHasNoRoomForGoesToTheCpu) {
  // Room for one slab of pages.
  const auto plain = make_device_engine(file_, options("cuda"));
  const auto engine = make_engine(file_, options("cuda"));
  const auto a = engine->make_sequence(), b = engine->make_sequence();
  engine->step({a.get(), tokens(1, 0, 40)});
  gpu_.set("_MEMORY", "1");
  std::vector<std::unique_ptr<Sequence>> others;
  const auto full = [&] {
    try {
      others.push_back(engine->make_sequence());
      engine->reserve(*others.back(), 64);
      return false;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
      return true;
    }
  };
  for (int i = 0; i < 10'000 && !full();) ++i;  // others have pages: who asks is told
  EXPECT_TRUE(told_.empty());
  const Rows expected = on_cpu(2, 3, 4);
  const auto prompt = tokens(2, 0, 3), one = tokens(1, 40, 1);
  Rows logits(engine->model().parameters.vocabulary);
  const std::vector<Slice> slices = {{b.get(), prompt}, {a.get(), one, Logits::last, logits.data()}};
  engine->step(slices);  // in the middle of an answer the CPU goes on
  EXPECT_EQ(a->length(), 41U);
  EXPECT_LT(difference(on_cpu(1, 40, 1), logits), 7e-2);
  EXPECT_LT(difference(expected, decode(*engine, *b, 2, 4)), 7e-2);
  ASSERT_EQ(told_.size(), 1U);
  EXPECT_THAT(told_[0], ::testing::HasSubstr("the CPU goes on with what the GPU has no room for"));
}

TEST_F(CudaFallback, AutoTakesTheGpuThatIsThereAndElseTheCpu) {
  const auto on_gpu = [&](const gguf::File& file, engine::Options wanted) {
    const auto engine = backends::make_engine(file, wanted);
    const auto sequence = engine->make_sequence();
    engine->step({sequence.get(), tokens(0, 0, 5)});
    return engine->blocks().positions == 0;
  };
  EXPECT_TRUE(on_gpu(file_, options("auto")));
  EXPECT_TRUE(on_gpu(file_, options("cuda")));
  EXPECT_FALSE(on_gpu(file_, options("cpu")));
  // Who asks for what only the CPU does, and who has no GPU, is told nothing.
  engine::Options f32 = options("auto"), q4 = f32, memory = f32;
  f32.precision = engine::Precision::f32;
  q4.kv = engine::KvType::q4;
  memory.memory_auto = true;
  for (const engine::Options& wanted : {f32, q4}) EXPECT_FALSE(on_gpu(file_, wanted));
  for (const char* why : {"no-driver", "old-driver", "none"}) {
    gpu_.set("", why);
    EXPECT_FALSE(on_gpu(file_, options("auto")));
  }
  EXPECT_TRUE(told_.empty());
  gpu_.set("", "old-gpu");
  EXPECT_FALSE(on_gpu(file_, options("auto")));
  gpu_.set("", "");
  gpu_.set("_MEMORY", "300000");
  EXPECT_FALSE(on_gpu(file_, options("auto")));
  gpu_.unset("_MEMORY");
  EXPECT_FALSE(on_gpu(gguf::File(graph::golden_model_path("qwen3moe")), options("auto")));
  ASSERT_EQ(told_.size(), 3U);
  EXPECT_THAT(told_[0], ::testing::HasSubstr("capability 6.1"));
  EXPECT_THAT(told_[1], ::testing::HasSubstr("do not fit in cuda:0 (Fake 0)"));
  EXPECT_THAT(told_[2], ::testing::HasSubstr("no CUDA kernel for the op 'route'"));
  for (const std::string& line : told_) EXPECT_THAT(line, ::testing::EndsWith("; the CPU computes"));
  EXPECT_THROW(backends::make_engine(file_, options("tpu")), Error);
}

}  // namespace
}  // namespace cairn::cuda
