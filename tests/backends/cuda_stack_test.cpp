// A stack whose planes are in a GPU's memory: against the CPU's floats, at every size, while it grows and
// shrinks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "backends/cuda/engine.hpp"
#include "backends/fake_gpu.hpp"
#include "base/error.hpp"
#include "base/temporary_folder.hpp"
#include "formats/small_llama.hpp"
#include "formats/stack_file.hpp"
#include "resident/plain_stack.hpp"

namespace cairn::cuda {
namespace {

using engine::Logits;
using engine::Sequence;
using engine::Slice;
using Rows = std::vector<float>;

class CudaStack : public ::testing::Test {
 protected:
  CudaStack() { testing::write_small_llama(model_, {.embedding = 192, .ffn = 448, .tokenizer = false}); }
  static std::unique_ptr<engine::Engine> on_gpu(const std::string& path, uint64_t memory = 0,
                                                bool automatic = false) {
    return make_device_engine(gguf::File(path), {.context = 128,
                                                 .chunk = 64,
                                                 .device = "cuda",
                                                 .device_memory = memory,
                                                 .device_memory_auto = automatic});
  }
  static std::unique_ptr<engine::Engine> on_cpu(const std::string& path) {
    return cpu::make_engine(gguf::File(path),
                            {.context = 128, .threads = 1, .chunk = 64, .precision = engine::Precision::f32});
  }
  // Of a chunk and of rows behind it.
  static Rows logits_of(engine::Engine& engine) {
    const size_t vocabulary = engine.model().parameters.vocabulary;
    const auto sequence = engine.make_sequence();
    Rows rows(25 * vocabulary);
    std::vector<int32_t> tokens(25);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>((5 + i * i * 7) % 300);
    const auto all = std::span<const int32_t>(tokens);
    engine.step({sequence.get(), all.first(20), Logits::all, rows.data()});
    engine.step({sequence.get(), all.subspan(20), Logits::all, rows.data() + 20 * vocabulary});
    return rows;
  }
  static void expect_close(const Rows& expected, const Rows& found, const std::string& what) {
    double error = 0, power = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      error += std::pow(double{expected[i]} - double{found[i]}, 2);
      power += std::pow(double{expected[i]}, 2);
    }
    EXPECT_LT(std::sqrt(error / power), testing::on_real_gpu() ? 7e-2 : 2e-3) << what;
  }
  // A file of the stack's first blocks.
  std::string cut(const std::string& stack, size_t blocks) const {
    const std::string path = folder_ / ("cut" + std::to_string(blocks) + ".gguf");
    std::filesystem::copy_file(stack, path, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(path, stack::read_layout(gguf::File(stack)).end_of(blocks));
    return path;
  }

  testing::FakeGpu gpu_;
  const testing::TemporaryFolder folder_;
  const std::string model_ = folder_ / "model.gguf", stack_ = folder_ / "stack.gguf";
};

TEST_F(CudaStack, ComputesWhatTheCpuDoesAtEveryLevel) {
  for (const bool exact : {false, true}) {
    for (const bool rotate : {false, true}) {
      resident::write_plain_stack(model_, stack_, {.rows_per_group = 48, .exact = exact, .rotate = rotate});
      const stack::Layout layout = stack::read_layout(gguf::File(stack_));
      for (size_t blocks = layout.base_blocks; blocks <= layout.blocks.size();
           blocks += 2 * layout.base_blocks + 3) {
        const std::string path = cut(stack_, blocks);
        const auto gpu = on_gpu(path), cpu = on_cpu(path);
        expect_close(logits_of(*cpu), logits_of(*gpu), std::to_string(blocks));
        EXPECT_NEAR(gpu->memory().bits, layout.bits(blocks), 1e-9);
      }
    }
  }
}

TEST_F(CudaStack, GrowsAndShrinksBetweenSteps) {
  resident::write_plain_stack(model_, stack_, {.rows_per_group = 48, .exact = true});
  const stack::Layout layout = stack::read_layout(gguf::File(stack_));
  const auto engine = on_gpu(stack_);
  const Rows whole = logits_of(*engine);
  const engine::MemoryStatus all = engine->memory();
  EXPECT_EQ(all.stack, all.stack_all);
  EXPECT_EQ(all.budget, 0U);
  EXPECT_TRUE(engine->elastic());
  for (const size_t blocks : {layout.base_blocks * 3, layout.base_blocks, layout.base_blocks * 2 + 5}) {
    const uint64_t less = layout.end_of(layout.blocks.size()) - layout.end_of(blocks);
    engine->set_memory(all.device - less);
    const engine::MemoryStatus now = engine->memory();
    EXPECT_LE(now.device, all.device - less);
    EXPECT_EQ(now.budget, all.device - less);
    // Slabs of 8 MiB: this stack is one behind its base, and read anew as far as there is room.
    const Rows found = logits_of(*engine);
    const engine::MemoryStatus then = engine->memory();
    EXPECT_LE(then.device, all.device - less);
    EXPECT_NEAR(then.bits, layout.bits(blocks), 1e-9);
    expect_close(logits_of(*on_cpu(cut(stack_, blocks))), found, std::to_string(blocks));
  }
  EXPECT_GT(engine->memory().gave_way, 0U);
  // Pages that nobody has go too.
  EXPECT_GT(engine->spare_kv_bytes(), 0U);
  engine->set_memory(engine->memory().least - engine->spare_kv_bytes());
  EXPECT_EQ(engine->spare_kv_bytes(), 0U);
  engine->set_memory(0);
  EXPECT_EQ(logits_of(*engine), whole);
  try {
    engine->set_memory(1000);
    ADD_FAILURE() << "less than the base";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
    EXPECT_THAT(error.what(),
                ::testing::HasSubstr("are too little: the stack's base and all beside it need"));
  }
  EXPECT_EQ(logits_of(*engine), whole);
}

TEST_F(CudaStack, PlanesGiveWayToKeysAndValuesFirst) {
  if (testing::on_real_gpu()) return;
  resident::write_plain_stack(model_, stack_, {.rows_per_group = 48});
  // Room for a second slab of pages, if 300 kB of planes make way.
  const uint64_t room = [&] {
    const auto engine = on_gpu(stack_);
    logits_of(*engine);
    return engine->memory().device + engine->kv_bytes() + engine->spare_kv_bytes() - 300'000;
  }();
  const stack::Layout layout = stack::read_layout(gguf::File(stack_));
  const uint64_t base = layout.end_of(layout.base_blocks) - layout.blocks_begin;
  // Within a budget, and where the device has no more.
  for (const bool budget : {true, false}) {
    if (!budget) gpu_.set("_MEMORY", std::to_string(room));
    const auto engine = on_gpu(stack_, budget ? room : 0);
    const auto before = engine->memory();
    EXPECT_EQ(before.stack, before.stack_all);
    std::vector<std::unique_ptr<Sequence>> sequences;
    bool full = false;
    for (int i = 0; i < 4000 && !full; ++i) {
      sequences.push_back(engine->make_sequence());
      try {
        engine->reserve(*sequences.back(), 64);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
        full = true;
      }
    }
    EXPECT_TRUE(full);
    EXPECT_GT(sequences.size(), 600U);
    EXPECT_LE(engine->memory().device, room);
    EXPECT_LT(engine->memory().stack, before.stack - 300'000);
    EXPECT_GE(engine->memory().stack, base);
  }
}

TEST_F(CudaStack, AnAutomaticBudgetFollowsWhatIsFree) {
  if (testing::on_real_gpu()) return;
  resident::write_plain_stack(model_, stack_, {.rows_per_group = 48});
  gpu_.set("_MEMORY", std::to_string(uint64_t{1} << 30));
  const auto engine = on_gpu(stack_, 0, true);
  const auto all = engine->memory();
  EXPECT_TRUE(all.automatic);
  EXPECT_EQ(all.stack, all.stack_all);
  const auto wait_for = [&](const auto& done) {
    for (int i = 0; i < 200 && !done(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return done();
  };
  // Another takes all but 200 MiB, while nothing is stepped.
  gpu_.set("_MEMORY", std::to_string(all.device + (200 << 20)));
  EXPECT_TRUE(wait_for([&] { return engine->memory().stack < all.stack; }));
  EXPECT_GT(engine->memory().gave_way, 0U);
  logits_of(*engine);
  gpu_.set("_MEMORY", std::to_string(uint64_t{1} << 30));
  EXPECT_TRUE(wait_for([&] { return engine->memory().stack == all.stack; }));
}

TEST_F(CudaStack, DraftsWithItsFirstBits) {
  for (const bool exact : {false, true}) {
    resident::write_plain_stack(model_, stack_, {.rows_per_group = 48, .embeddings = false, .exact = exact});
    const stack::Layout layout = stack::read_layout(gguf::File(stack_));
    const size_t blocks = layout.base_blocks * 2 + 3;
    const auto whole = on_gpu(stack_), first = on_gpu(cut(stack_, blocks));
    const size_t vocabulary = whole->model().parameters.vocabulary;
    const std::vector<int32_t> tokens = {3, 1, 4, 1, 5};
    Rows expected(5 * vocabulary), found(5 * vocabulary), checked(5 * vocabulary), again(5 * vocabulary);
    const auto a = whole->make_sequence(), b = first->make_sequence(), c = whole->make_sequence();
    const Slice draft{a.get(), tokens, Logits::all, found.data()};
    whole->draft({&draft, 1}, layout.bits(blocks));
    first->step({b.get(), tokens, Logits::all, expected.data()});
    EXPECT_EQ(found, expected);
    EXPECT_EQ(a->truncate(0), 0U);
    whole->step({a.get(), tokens, Logits::all, checked.data()});
    whole->step({c.get(), tokens, Logits::all, again.data()});
    EXPECT_EQ(checked, again);
    EXPECT_NE(checked, found);
  }
}

TEST_F(CudaStack, ABadBlockIsLeftOutAndTold) {
  resident::write_plain_stack(model_, stack_, {.rows_per_group = 48});
  const stack::Layout layout = stack::read_layout(gguf::File(stack_));
  const auto spoil = [&](size_t block) {
    const std::string path = folder_ / "bad.gguf";
    std::filesystem::copy_file(stack_, path, std::filesystem::copy_options::overwrite_existing);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(layout.blocks[block].offset + 70));
    file.write("bad!", 4);
    return path;
  };
  const auto engine = on_gpu(spoil(layout.base_blocks + 2));
  logits_of(*engine);
  ASSERT_EQ(engine->memory().problems.size(), 1U);
  EXPECT_THAT(engine->memory().problems[0],
              ::testing::HasSubstr("block " + std::to_string(layout.base_blocks + 2)));
  const std::string base = spoil(1);
  EXPECT_THROW(on_gpu(base), Error);
}

}  // namespace
}  // namespace cairn::cuda
