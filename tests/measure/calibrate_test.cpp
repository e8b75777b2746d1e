#include "measure/calibrate.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <thread>

#include "base/clock.hpp"
#include "base/expect_error.hpp"
#include "base/interrupt.hpp"
#include "measure/evaluate.hpp"
#include "offload/timeline.hpp"
#include "quantize/calibration_file.hpp"
#include "quantize/collector.hpp"
#include "quantize/make_scheme.hpp"
#include "quantize/support.hpp"

namespace cairn::measure {
namespace {

using quantize::Calibration;
using quantize::Form;
using quantize::kForms;
using quantize::kInputs;
using testing::expect_error;
using testing::read_file;
using testing::write_file;

std::string some_text(size_t words, uint64_t seed = 5) {
  Random random(seed);
  std::string text;
  for (size_t i = 0; i < words; ++i) {
    for (uint64_t n = 2 + random.next() % 7; n > 0; --n) text += static_cast<char>('a' + random.next() % 26);
    text += ' ';
  }
  return text;
}

// What a calibration says but for its times, which no two runs share.
std::string content(Calibration calibration) {
  calibration.times.clear();
  return quantize::checksum(calibration);
}

class Calibrate : public ::testing::Test {
 protected:
  Calibrate() {
    options_.threads = 1;
    options_.windows = 6;
    options_.window = 128;
    options_.cost_windows = 1;
    options_.whole_windows = 2;
    options_.chunk = 64;
    options_.chunks = 3;
    options_.checkpoint_seconds = 1e9;
  }
  Calibration run(const CalibrateProgress& progress = {}) {
    return calibrate(*model_, text_, options_, checkpoint_, progress);
  }

  quantize::TinyFile tiny_;
  std::shared_ptr<const llm::Model> model_ = llm::Model::load(tiny_.path);
  const std::string text_ = some_text(600), checkpoint_ = tiny_.folder / "tiny.cal.calibrate.partial";
  CalibrateOptions options_;
};

TEST_F(Calibrate, StatisticsAreThoseOfTheFloatModel) {
  options_.cost_windows = 0;
  options_.devices.clear();
  const Calibration c = run();
  EXPECT_EQ(c.tokens, 6 * 128U);
  EXPECT_EQ(c.model, "tiny");
  EXPECT_EQ(c.cost_tokens, 0U);
  EXPECT_TRUE(c.whole.empty());
  EXPECT_TRUE(std::isnan(c.layers[1][2].costs[3]));

  std::map<std::pair<uint32_t, graph::Slot>, std::vector<float>> seen;  // qkv and gate_up in one
  const auto engine = model_->make_engine(
      {.context = 128,
       .threads = 1,
       .chunk = 128,
       .precision = engine::Precision::f32,
       .observer = [&](uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t width) {
         auto& all = seen[{layer, slot}];
         all.insert(all.end(), rows, rows + tokens * width);
       }});
  for (const auto& window : evaluation_windows(*model_->tokenizer(), text_, 128, 6)) {
    engine->step({engine->make_sequence().get(), window});
  }
  const auto maximum = [&](uint32_t layer, graph::Slot slot) {
    float most = 0;
    for (const float x : seen[{layer, slot}]) most = std::max(most, std::abs(x));
    return most;
  };
  for (uint32_t layer = 0; layer < 2; ++layer) {
    const auto found = [&](quantize::Input input) { return c.at(layer, input).ranges[0][0].maximum; };
    EXPECT_FLOAT_EQ(found(quantize::Input::attention_output), maximum(layer, graph::Slot::context));
    EXPECT_FLOAT_EQ(found(quantize::Input::down), maximum(layer, graph::Slot::gate));
    EXPECT_FLOAT_EQ(std::max(found(quantize::Input::qkv), found(quantize::Input::gate_up)),
                    maximum(layer, graph::Slot::normed));
  }
  const gguf::Tensor& down = tiny_.file.tensor("blk.1.ffn_down.weight");
  const auto* weights = reinterpret_cast<const float*>(down.data.data());
  float most = 0;
  for (size_t row = 0; row < down.rows(); ++row) most = std::max(most, std::abs(weights[row * 128 + 77]));
  EXPECT_EQ(c.at(1, quantize::Input::down).weight_maxima[77], most);
}

TEST_F(Calibrate, CostsAndTimesOfEverything) {
  const Calibration c = run();
  EXPECT_EQ(c.cost_tokens, kCostWindow / 2);
  double fixed = 0, rotated = 0;
  for (const auto& layer : c.layers) {
    for (const quantize::InputRecord& record : layer) {
      for (const float cost : record.costs) {
        EXPECT_GT(cost, 0);
        EXPECT_LT(cost, 0.1);
      }
      fixed += static_cast<double>(record.costs[0]);
      rotated += static_cast<double>(record.costs[4]);
    }
  }
  EXPECT_LT(rotated, fixed);
  ASSERT_EQ(c.whole.size(), 2 * kForms);
  for (const quantize::WholeCost& whole : c.whole) {
    EXPECT_GT(whole.kl, 0);
    EXPECT_NEAR(whole.perplexity, 1, 0.05);
  }
  EXPECT_LT(c.find_whole(Form::rotated_token, 1)->kl, c.find_whole(Form::fixed, 1)->kl);

  ASSERT_EQ(c.times.size(), 1U);
  const quantize::DeviceTimes& times = c.times[0];
  EXPECT_EQ(times.device, "cpu");
  EXPECT_EQ(times.chunks, 3U);
  using offload::TaskKind;
  for (const TaskKind task : {TaskKind::qkv, TaskKind::attention, TaskKind::attention_output, TaskKind::ffn,
                              TaskKind::shadow_down}) {
    const std::string kind = offload::name(task);
    const auto at = std::find(times.kinds.begin(), times.kinds.end(), kind);
    ASSERT_NE(at, times.kinds.end()) << kind;
    for (uint32_t chunk = 0; chunk < 3; ++chunk)
      EXPECT_GT(times.seconds[static_cast<size_t>(at - times.kinds.begin()) * 3 + chunk], 0) << kind;
  }
  // It serves: written, read, and turned into a scheme by auto.
  c.write(tiny_.folder / "tiny.cal");
  const Calibration read = Calibration::read(tiny_.folder / "tiny.cal", tiny_.file);
  EXPECT_EQ(make_scheme(read, {.method = quantize::Method::automatic, .budget = 50}).float_tokens, 1U);
}

TEST_F(Calibrate, GoesOnWhereItWasInterrupted) {
  options_.devices.clear();
  uint64_t steps = 0;
  const std::string whole = content(run([&](std::string_view, uint64_t, uint64_t) { ++steps; }));
  for (uint64_t stop = 1; stop < steps; stop += 7) {
    uint64_t step = 0, again = 0;
    expect_error(ErrorCode::cancelled, "interrupted", [&] {
      run([&](std::string_view, uint64_t, uint64_t) {
        if (++step == stop) fail(ErrorCode::cancelled, "interrupted");
      });
    });
    ASSERT_TRUE(std::filesystem::exists(checkpoint_));
    EXPECT_EQ(content(run([&](std::string_view, uint64_t, uint64_t) { ++again; })), whole) << stop;
    EXPECT_LE(again, steps - stop + 8);  // nothing is done twice but the step under way
    EXPECT_FALSE(std::filesystem::exists(checkpoint_));
  }
}

TEST_F(Calibrate, SharesMadeByAnyoneGiveTheSame) {
  options_.devices.clear();
  const std::string whole = content(run());
  options_.shares = 4;  // of 6 windows
  options_.shares_beside = tiny_.folder / "shared.cal";
  CalibrateOptions other = options_;
  other.threads = 2;
  uint64_t windows = 0;
  const auto count = [&](std::string_view stage, uint64_t, uint64_t) {
    windows += stage == "magnitudes" ? 1 : 0;
  };
  const std::string last = gather_share(*model_, text_, other, 3, count);
  EXPECT_EQ(last, options_.shares_beside + ".share-3-of-4");
  EXPECT_EQ(windows, 2U);
  gather_share(*model_, text_, options_, 0, count);
  windows = 0;
  EXPECT_EQ(content(run(count)), whole);
  EXPECT_EQ(windows, 3U);  // of shares 1 and 2
  EXPECT_FALSE(std::filesystem::exists(last));
  expect_error(ErrorCode::invalid_argument, "no share 4: they are 0 … 3",
               [&] { gather_share(*model_, text_, options_, 4); });
}

TEST_F(Calibrate, GoesOnFromWithinAWindow) {
  options_.devices.clear();
  options_.cost_windows = 0;
  catch_interrupts();
  std::string whole;
  double seconds = 1e9;  // the least of some runs: a signal after the end interrupts nothing
  for (int i = 0; i < 3; ++i) {
    const Stopwatch watch;
    whole = content(run());
    seconds = std::min(seconds, watch.seconds());
  }
  constexpr int kTimes = 20;
  int interrupted = 0;
  for (int i = 1; i < kTimes; ++i) {
    std::thread sender([&] {
      std::this_thread::sleep_for(std::chrono::duration<double>(seconds * i / kTimes));
      kill(getpid(), SIGINT);
    });
    try {
      run();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::cancelled) << error.what();
      ++interrupted;
    }
    sender.join();
    clear_interrupt();
    EXPECT_EQ(content(run()), whole) << i;
  }
  signal(SIGINT, SIG_DFL);
  EXPECT_GT(interrupted, kTimes / 4);
}

TEST_F(Calibrate, CheckpointsFromTimeToTime) {
  options_.devices.clear();
  options_.cost_windows = 0;
  options_.checkpoint_seconds = 0;
  bool seen = false;
  run([&](std::string_view, uint64_t, uint64_t) { seen = seen || std::filesystem::exists(checkpoint_); });
  EXPECT_TRUE(seen);
}

TEST_F(Calibrate, ACheckpointOfSomethingElseIsNotUsed) {
  options_.devices.clear();
  options_.cost_windows = 0;
  const auto interrupt = [&] {
    uint64_t step = 0;
    expect_error(ErrorCode::cancelled, "interrupted", [&] {
      run([&](std::string_view, uint64_t, uint64_t) {
        if (++step == 5) fail(ErrorCode::cancelled, "interrupted");
      });
    });
  };
  const auto first_step = [&] {
    uint64_t first = 99;
    run([&](std::string_view, uint64_t done, uint64_t) { first = std::min(first, done); });
    return first;
  };
  const auto begins_at = [&] {
    std::optional<uint64_t> first;
    run([&](std::string_view, uint64_t done, uint64_t) { first = first.value_or(done); });
    return *first;
  };
  EXPECT_EQ(first_step(), 0U);
  interrupt();
  EXPECT_EQ(begins_at(), 4U);
  interrupt();
  options_.windows = 5;
  EXPECT_EQ(begins_at(), 0U);
  interrupt();
  std::string damaged = read_file(checkpoint_);
  for (const size_t size : {damaged.size() / 2, size_t{10}}) {
    write_file(checkpoint_, damaged.substr(0, size));
    EXPECT_EQ(begins_at(), 0U);
  }
  damaged[damaged.size() / 2] ^= 1;
  write_file(checkpoint_, damaged);
  EXPECT_EQ(begins_at(), 0U);
}

TEST_F(Calibrate, RefusesWhatItCannotDo) {
  expect_error(ErrorCode::invalid_argument, "at least 512 are needed (4 windows of 128)",
               [&] { calibrate(*model_, some_text(60), options_); });
  expect_error(ErrorCode::invalid_argument, "the calibration text is too short: 0 tokens",
               [&] { calibrate(*model_, "", options_); });
  options_.window = 512;
  expect_error(ErrorCode::invalid_argument, "it takes 128 to 256", [&] { run(); });
  options_.window = 128;
  options_.cost_windows = 0;
  options_.devices = {"abacus"};
  expect_error(ErrorCode::invalid_argument, "abacus", [&] { run(); });

  const quantize::TinyFile poisoned({.poisoned = "blk.1.ffn_up.weight"});
  expect_error(ErrorCode::numeric, "layer 1, down: the activations of token 0 hold NaN",
               [&] { calibrate(*llm::Model::load(poisoned.path), text_, options_); });
}

}  // namespace
}  // namespace cairn::measure
