// What Engine and Sequence promise, of the engine on the processor.
#include "engine/engine.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/expect_error.hpp"
#include "base/memory_pressure.hpp"
#include "base/temporary_folder.hpp"
#include "formats/small_llama.hpp"
#include "graph/golden_models.hpp"

namespace cairn::engine {
namespace {

using testing::expect_error;

std::vector<int32_t> tokens(size_t count, int32_t seed = 1) {
  std::vector<int32_t> result(count);
  for (size_t i = 0; i < count; ++i) result[i] = static_cast<int32_t>((i * i * 7 + i * 3) % 90) + seed;
  return result;
}

class Contract : public ::testing::Test {
 protected:
  explicit Contract(const char* model = "llama", uint32_t context = 256, KvType kv = KvType::f16)
      : engine_(cpu::make_engine(gguf::File(graph::golden_model_path(model)),
                                 {.context = context, .threads = 2, .chunk = 64, .kv = kv})) {}

  void read(Sequence& sequence, std::span<const int32_t> more) {
    for (size_t at = 0; at < more.size(); at += engine_->chunk())
      engine_->step({&sequence, more.subspan(at, std::min<size_t>(engine_->chunk(), more.size() - at))});
  }
  std::vector<float> next(Sequence& sequence, int32_t token) {
    std::vector<float> logits(engine_->model().parameters.vocabulary);
    engine_->step({&sequence, {&token, 1}, Logits::last, logits.data()});
    return logits;
  }

  std::unique_ptr<Engine> engine_;
};

// Whatever keys and values are kept in; qwen2's keys have biases, which 4-bit pages leave out.
class ContractOfPages : public Contract, public ::testing::WithParamInterface<KvType> {
 protected:
  ContractOfPages() : Contract("qwen2", 256, GetParam()) {}
};
INSTANTIATE_TEST_SUITE_P(, ContractOfPages, ::testing::Values(KvType::f16, KvType::i8, KvType::q4));

TEST_P(ContractOfPages, ForksShareTheirPagesUntilTheyWrite) {
  const auto first = engine_->make_sequence();
  read(*first, tokens(100));
  const uint64_t held = engine_->kv_bytes();
  EXPECT_EQ(first->bytes(), held);
  const auto second = first->fork();
  EXPECT_EQ(second->length(), 100u);
  EXPECT_EQ(engine_->kv_bytes(), held);
  const std::vector<float> a = next(*first, 5), b = next(*second, 6);
  EXPECT_EQ(engine_->kv_bytes(), held / 2 * 3);  // of two pages a layer, the second one is each one's own
  const auto fresh = engine_->make_sequence();
  read(*fresh, tokens(64));
  read(*fresh, std::span<const int32_t>(tokens(100)).subspan(64));
  const auto other = fresh->fork();
  EXPECT_EQ(next(*fresh, 5), a);
  EXPECT_EQ(next(*other, 6), b);
  // Each goes on with what it wrote itself.
  EXPECT_EQ(next(*first, 7), next(*fresh, 7));
  EXPECT_EQ(next(*second, 7), next(*other, 7));
}

TEST_P(ContractOfPages, TruncatedSequencesGoOnAsIfNothingHadBeen) {
  const auto sequence = engine_->make_sequence(), fresh = engine_->make_sequence();
  read(*sequence, tokens(60));
  read(*fresh, tokens(60));
  read(*sequence, tokens(50, 30));
  EXPECT_EQ(sequence->truncate(60), 60u);
  EXPECT_EQ(sequence->bytes(), fresh->bytes());
  EXPECT_EQ(next(*sequence, 9), next(*fresh, 9));
  expect_error(ErrorCode::invalid_argument, "a sequence of 61 tokens has no first 62",
               [&] { sequence->truncate(62); });
  EXPECT_EQ(sequence->truncate(0), 0u);
  EXPECT_EQ(sequence->bytes(), 0u);
}

TEST_F(Contract, ForksOutliveTheEngineAndEachOther) {
  auto first = engine_->make_sequence();
  read(*first, tokens(70));
  auto second = first->fork();
  first.reset();
  const uint64_t held = engine_->kv_bytes();
  EXPECT_EQ(second->bytes(), held);
  engine_.reset();
  std::thread([&] { second.reset(); }).join();
}

TEST_F(Contract, WhatAStepCannotRunLeavesAllAsItWas) {
  const auto a = engine_->make_sequence(), b = engine_->make_sequence();
  read(*a, tokens(20));
  read(*b, tokens(250));
  const std::vector<int32_t> one = {3}, many = tokens(7), bad = {1, 288}, negative = {-1};
  const auto refused = [&](const std::vector<Slice>& slices, const std::string& part) {
    expect_error(ErrorCode::invalid_argument, part.c_str(), [&] { engine_->step(slices); });
    EXPECT_EQ(a->length(), 20u);
    EXPECT_EQ(b->length(), 250u);
  };
  refused({{a.get(), one}, {b.get(), many}}, "257 tokens do not fit in the context of 256");
  refused({{a.get(), one}, {b.get(), bad}}, "token 288 is outside the vocabulary of 288");
  refused({{a.get(), negative}, {b.get(), one}}, "token -1 is outside the vocabulary");
  refused({{a.get(), {}}, {b.get(), one}}, "a slice takes 1 to 64 tokens, not 0");
  refused({{a.get(), tokens(65)}, {b.get(), one}}, "a slice takes 1 to 64 tokens, not 65");
  refused({{a.get(), one}, {nullptr, one}}, "no sequence");
  refused({{a.get(), one}, {b.get(), one}, {a.get(), one}},
          "two slices of one step are of the same sequence");
  const auto other = cpu::make_engine(gguf::File(graph::golden_model_path("llama")), {.context = 64});
  const auto foreign = other->make_sequence();
  refused({{a.get(), one}, {foreign.get(), one}}, "a sequence belongs to the engine that made it");
  expect_error(ErrorCode::invalid_argument, "a sequence belongs to the engine that made it",
               [&] { engine_->reserve(*foreign, 1); });
  engine_->step(std::vector<Slice>{{a.get(), one}, {b.get(), one}});
  EXPECT_EQ(a->length(), 21u);
  EXPECT_EQ(b->length(), 251u);
}

TEST_F(Contract, CancelledAndThrowingStepsLeaveAllAsItWas) {
  const auto row = engine_->make_sequence(), chunk = engine_->make_sequence(),
             fresh = engine_->make_sequence();
  read(*row, tokens(20));
  read(*chunk, tokens(20));
  read(*fresh, tokens(20));
  const std::vector<int32_t> one = {3}, many = tokens(40, 2);
  const std::vector<Slice> slices = {{row.get(), one}, {chunk.get(), many}};
  const uint64_t held = engine_->kv_bytes();
  for (int stop = 1; stop < 10; stop += 4) {
    int asked = 0;
    expect_error(ErrorCode::cancelled, "interrupted",
                 [&] { engine_->step(slices, [&] { return ++asked == stop; }); });
    EXPECT_THROW(engine_->step(slices, []() -> bool { throw std::runtime_error("not now"); }),
                 std::runtime_error);
    EXPECT_EQ(row->length(), 20u);
    EXPECT_EQ(chunk->length(), 20u);
    EXPECT_EQ(engine_->kv_bytes(), held);
  }
  engine_->step(slices);
  const std::vector<float> after = next(*chunk, 4);
  read(*fresh, many);
  EXPECT_EQ(next(*fresh, 4), after);
}

TEST_F(Contract, ReservedPagesAreTheSequencesOwn) {
  const auto sequence = engine_->make_sequence();
  engine_->reserve(*sequence, 65);
  const uint64_t held = engine_->kv_bytes();
  EXPECT_GT(held, 0u);
  EXPECT_EQ(sequence->length(), 0u);
  read(*sequence, tokens(65));
  EXPECT_EQ(engine_->kv_bytes(), held);
}

TEST_F(Contract, SeveralThreadsStepInTurn) {
  std::vector<std::vector<float>> found(4);
  std::vector<std::thread> threads;
  for (int32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const auto sequence = engine_->make_sequence();
      read(*sequence, tokens(30, i));
      for (int32_t t = 0; t < 10; ++t) found[static_cast<size_t>(i)] = next(*sequence, t);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int32_t i = 0; i < 4; ++i) {
    const auto sequence = engine_->make_sequence();
    read(*sequence, tokens(30, i));
    std::vector<float> expected;
    for (int32_t t = 0; t < 10; ++t) expected = next(*sequence, t);
    EXPECT_EQ(found[static_cast<size_t>(i)], expected) << i;
  }
}

TEST(Engines, ShareAPool) {
  const auto pool = std::make_shared<ThreadPool>(2);
  const gguf::File file(graph::golden_model_path("llama"));
  const auto a = cpu::make_engine(file, {.context = 64, .pool = pool}),
             b = cpu::make_engine(file, {.context = 64, .pool = pool});
  const auto of_a = a->make_sequence(), of_b = b->make_sequence();
  std::thread other([&] {
    for (int32_t i = 0; i < 20; ++i) a->step({of_a.get(), {&i, 1}});
  });
  for (int32_t i = 0; i < 20; ++i) b->step({of_b.get(), {&i, 1}});
  other.join();
  EXPECT_GT(a->thread_use().loop_seconds, 0);
  EXPECT_EQ(a->thread_use().loop_seconds, b->thread_use().loop_seconds);
}

// All of mistral_window's layers look at few positions; gemma3's only some.
class Windows : public Contract {
 protected:
  Windows() : Contract("mistral_window", 4096) {}
};

TEST_F(Windows, KeepOnlyTheirPagesAndSomeToGoBack) {
  const auto sequence = engine_->make_sequence(), fresh = engine_->make_sequence();
  read(*sequence, tokens(720));
  const uint64_t before = sequence->bytes();
  read(*sequence, tokens(1280, 2));
  EXPECT_LE(sequence->bytes(), before);
  EXPECT_EQ(engine_->kv_bytes(), sequence->bytes());
  // As far back as is promised, and on from there.
  EXPECT_EQ(sequence->truncate(2000 - 512), 2000u - 512);
  read(*fresh, tokens(720));
  read(*fresh, std::span<const int32_t>(tokens(1280, 2)).first(1280 - 512));
  EXPECT_EQ(next(*sequence, 3), next(*fresh, 3));
  // Beyond that everything has to be read again.
  EXPECT_EQ(sequence->truncate(100), 0u);
  EXPECT_EQ(sequence->bytes(), 0u);
  read(*sequence, tokens(100));
  fresh->truncate(0);
  read(*fresh, tokens(100));
  EXPECT_EQ(next(*sequence, 3), next(*fresh, 3));
}

// A fork is a checkpoint: it holds the pages that its sequence lets go of.
TEST_F(Windows, ForksKeepWhatTheOtherLetsGoOf) {
  const auto sequence = engine_->make_sequence(), fresh = engine_->make_sequence();
  read(*sequence, tokens(64));
  const auto checkpoint = sequence->fork();
  read(*sequence, tokens(900));
  read(*fresh, tokens(64));
  EXPECT_EQ(next(*checkpoint, 3), next(*fresh, 3));
}

TEST(Pages, GoBackToTheSystemButForAFew) {
  const testing::TemporaryFolder folder;
  testing::write_small_llama(folder / "model.gguf", {.embedding = 256, .ffn = 64, .tokenizer = false});
  const auto engine =
      cpu::make_engine(gguf::File(folder / "model.gguf"), {.context = 1 << 16, .threads = 1, .chunk = 64});
  auto sequence = engine->make_sequence();
  engine->step({sequence.get(), tokens(64)});
  const uint64_t before = resident_memory(), few = engine->kv_bytes();
  engine->reserve(*sequence, (1 << 16) - 64);
  constexpr uint64_t kStays = uint64_t{32} << 20;  // for the next text
  const uint64_t held = engine->kv_bytes() - few;
  EXPECT_GT(held, kStays * 3 / 2);
  EXPECT_GE(resident_memory(), before + held * 9 / 10);  // what is taken is there
  sequence.reset();
  EXPECT_EQ(engine->kv_bytes(), 0u);
  const uint64_t spare = engine->spare_kv_bytes();
  EXPECT_LE(spare, kStays);
  EXPECT_GT(spare, kStays * 9 / 10);
  EXPECT_LE(resident_memory(), before + spare + held / 10);
  const auto next = engine->make_sequence();
  engine->reserve(*next, 64);
  EXPECT_EQ(engine->spare_kv_bytes(), spare - engine->kv_bytes());  // they are the first to be taken
}

}  // namespace
}  // namespace cairn::engine
