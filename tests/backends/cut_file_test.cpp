// A model file that somebody cuts while the CPU computes with it.
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <optional>
#include <thread>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"
#include "engine/one_sequence.hpp"
#include "formats/small_llama.hpp"

namespace cairn::cpu {
namespace {

using testing::expect_error;

class CutFile : public ::testing::Test {
 protected:
  CutFile() {
    testing::write_small_llama(path_, {.ffn = 1024, .tokenizer = false});
    runner_.emplace(make_engine(gguf::File(path_), {.context = 4096, .threads = 2, .chunk = 32}));
  }
  void cut() const { std::filesystem::resize_file(path_, 4096); }
  void forward(size_t count, uint32_t position = 0, const engine::Cancelled& cancelled = {}) {
    const std::vector<int32_t> tokens(count, 7);
    std::vector<float> logits(runner_->vocabulary());
    runner_->run(tokens, position, engine::Logits::last, logits.data(), cancelled);
  }

  const testing::TemporaryFolder folder_;
  const std::string path_ = folder_ / "model.gguf";
  std::optional<engine::OneSequence> runner_;
};

TEST_F(CutFile, BetweenTokensIsAnError) {
  forward(1);
  cut();
  expect_error(ErrorCode::io, "model.gguf: was cut to 4096 bytes while in use", [&] { forward(1, 1); });
  expect_error(ErrorCode::io, "was cut", [&] { forward(20, 1); });
}

TEST_F(CutFile, InTheMiddleOfAPassIsAnError) {
  forward(3);
  int step = 0;
  const auto cutter = [&] {
    if (++step == 4) cut();
    return false;
  };
  expect_error(ErrorCode::io, "was cut to 4096 bytes", [&] { forward(20, 3, cutter); });
  EXPECT_GE(step, 4);
  EXPECT_EQ(runner_->length(), 3u);
}

TEST_F(CutFile, InTheMiddleOfATokenIsAnError) {
  std::atomic<bool> begun{false};
  std::thread cutter([&] {
    while (!begun) std::this_thread::yield();
    cut();
  });
  expect_error(ErrorCode::io, "was cut to 4096 bytes", [&] {
    for (uint32_t position = 0; position < 4096; ++position) {
      forward(1, position);
      begun = true;
    }
    cutter.join();  // a processor that was elsewhere all the time
    forward(1, 0);
  });
  if (cutter.joinable()) cutter.join();
}

TEST_F(CutFile, ReachesNoWeightsThatAreCopied) {
  forward(3);
  std::vector<float> mapped(runner_->vocabulary()), copied(runner_->vocabulary());
  const std::vector<int32_t> tokens = {1, 5, 3};
  runner_->run(tokens, 0, engine::Logits::last, mapped.data());
  engine::OneSequence own(make_engine(
      gguf::File(path_), {.context = 4096, .threads = 2, .chunk = 32, .weights = engine::Weights::copied}));
  cut();
  own.run(tokens, 0, engine::Logits::last, copied.data());
  EXPECT_EQ(mapped, copied);
}

}  // namespace
}  // namespace cairn::cpu
