// What gives way first when a stack's process is to hold less: kept prefixes, then planes.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>

#include "backends/cpu/engine.hpp"
#include "base/temporary_folder.hpp"
#include "fake_tokenizer.hpp"
#include "formats/small_llama.hpp"
#include "llm/scheduler.hpp"
#include "resident/plain_stack.hpp"

namespace cairn::llm {
namespace {

bool wait_for(const std::function<bool()>& what) {
  for (int i = 0; i < 5000; ++i, std::this_thread::sleep_for(std::chrono::milliseconds(1))) {
    if (what()) return true;
  }
  return false;
}

TEST(MemoryOrder, KeptPrefixesGoBeforePlanes) {
  const cairn::testing::TemporaryFolder folder;
  const std::string model = folder / "model.gguf", stack = folder / "stack.gguf";
  cairn::testing::write_small_llama(model,
                                    {.embedding = 256, .ffn = 4096, .vocabulary = 512, .tokenizer = false});
  resident::write_plain_stack(model, stack, {.random = true});
  engine::Options options;
  options.context = 8192;
  options.threads = 2;
  const std::shared_ptr<engine::Engine> engine = cpu::make_engine(gguf::File(stack), options);
  Scheduler scheduler(engine, std::make_shared<fake::Tokenizer>());
  Request request;
  request.options.max_tokens = 1;
  request.options.ignore_end = true;
  for (Token i = 0; i < 4000; ++i) request.prompt.push_back(i * 37 % 250);
  scheduler.submit(request).wait();

  constexpr uint64_t kMebibyte = 1 << 20;
  const engine::MemoryStatus before = engine->memory();
  ASSERT_EQ(before.stack, before.stack_all);
  ASSERT_GT(before.stack, 4 * kMebibyte);
  ASSERT_GT(scheduler.status().kept_bytes, 3 * kMebibyte);  // a kibibyte a token
  engine->set_memory(before.process - 2 * kMebibyte);
  EXPECT_EQ(scheduler.status().kept_bytes, 0);
  EXPECT_EQ(engine->kv_bytes(), 0);
  EXPECT_EQ(engine->memory().stack, before.stack_all);
  EXPECT_LE(engine->memory().process, before.process - 2 * kMebibyte);
  engine->set_memory(engine->memory().process - 2 * kMebibyte);
  EXPECT_TRUE(wait_for([&] { return engine->memory().stack < before.stack_all - kMebibyte; }));

  // What is kept from now on does not push planes out: the next one's pages take its place.
  const uint64_t planes = engine->memory().stack;
  request.prompt.resize(1000);
  scheduler.submit(request).wait();
  const uint64_t after_one = engine->memory().stack;
  EXPECT_LT(after_one, planes);  // the pages had to come from somewhere
  for (int turn = 1; turn < 5; ++turn) {
    request.prompt.front() = turn;  // nothing in common
    scheduler.submit(request).wait();
    // At once or a little later: planes that made room for pages come back in a thread of their own. A
    // sanitizer's own memory may take the place of one block.
    EXPECT_TRUE(wait_for([&] { return engine->memory().stack + 3 * kMebibyte / 2 >= after_one; })) << turn;
    EXPECT_LE(scheduler.status().kept_bytes, 2 * kMebibyte) << turn;
  }
}

}  // namespace
}  // namespace cairn::llm
