// What runs in the threads of a pool must not throw: it allocates nothing and asks for no environment. new
// and getenv of this program are ours.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/sanitized.hpp"
#include "base/temporary_folder.hpp"
#include "engine/one_sequence.hpp"
#include "formats/small_llama.hpp"
#include "offload/engine.hpp"
#include "resident/plain_stack.hpp"

#ifndef CAIRN_SANITIZED  // whose own new is needed
namespace {

std::atomic<bool> watching{false};
std::atomic<int> allocations{0}, questions{0};
thread_local bool is_the_test = false;

void note(std::atomic<int>& count) {
  if (watching.load(std::memory_order_relaxed) && !is_the_test) ++count;
}

}  // namespace

void* operator new(size_t bytes) {
  note(allocations);
  if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
  throw std::bad_alloc();
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  std::free(p);
}

extern "C" char* getenv(const char* name) noexcept {
  note(questions);
  const size_t length = std::strlen(name);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') return *entry + length + 1;
  }
  return nullptr;
}

namespace cairn::cpu {
namespace {

using engine::KvType;
using engine::Logits;
using engine::OneSequence;
using engine::Precision;

class ParallelLoops : public ::testing::Test {
 protected:
  // Widths that are no powers of two: their rotations have a dense part.
  ParallelLoops() {
    testing::write_small_llama(model_, {.embedding = 320, .ffn = 448, .tokenizer = false});
    resident::write_plain_stack(model_, stack_, {.rows_per_group = 48});
  }
  static void expect_none(OneSequence& runner, const std::string& what) {
    std::vector<int32_t> tokens(40);
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 7 % 300);
    std::vector<float> logits(tokens.size() * runner.vocabulary());
    is_the_test = true;
    allocations = questions = 0;
    watching = true;
    runner.run(tokens, 0, Logits::all, logits.data());
    for (uint32_t i = 0; i < 4; ++i) runner.run({&tokens[i], 1}, 40 + i, Logits::last, logits.data());
    runner.run({tokens.data(), 8}, 44, Logits::all, logits.data());
    watching = false;
    EXPECT_EQ(allocations, 0) << what;
    EXPECT_EQ(questions, 0) << what;
  }

  const testing::TemporaryFolder folder_;
  const std::string model_ = folder_ / "model.gguf", stack_ = folder_ / "stack.gguf";
};

TEST_F(ParallelLoops, OfAModelAndOfAStackInEveryPrecision) {
  for (const std::string& path : {model_, stack_}) {
    for (const Precision precision : {Precision::standard, Precision::f32}) {
      for (const KvType kv : {KvType::f16, KvType::i8}) {
        engine::Options options{.context = 64, .threads = 4, .chunk = 64, .precision = precision, .kv = kv};
        OneSequence runner(make_engine(gguf::File(path), options));
        // A stack's own threads read in the first pass, and may.
        std::vector<float> logits(runner.vocabulary());
        const int32_t token = 1;
        if (runner.engine->elastic()) runner.run({&token, 1}, 0, Logits::last, logits.data());
        expect_none(runner, path + (precision == Precision::f32 ? ", f32" : ", standard"));
      }
    }
  }
}

TEST_F(ParallelLoops, OfPrefillInInt8) {
  const gguf::File file(model_);
  for (const auto outliers :
       {quantize::Outliers::clamp, quantize::Outliers::shadow, quantize::Outliers::mixed}) {
    quantize::Scheme scheme;
    scheme.layers.resize(2);
    for (auto& layer : scheme.layers) {
      quantize::Treatment treatment{.outliers = outliers, .threshold = 0.5f, .rotate = true};
      if (outliers == quantize::Outliers::shadow) {
        treatment.scale_kind = quantize::ScaleKind::fixed;
        treatment.scale = 0.004f;
      }
      layer.fill(treatment);
    }
    offload::PrefillOptions options;
    options.engine = {.context = 64, .threads = 4, .chunk = 16};
    options.everything = true;
    options.concurrent = false;
    options.accelerator.keep_weights = true;  // else each pass makes them anew
    OneSequence runner(offload::make_prefill_engine(file, scheme, options));
    std::vector<int32_t> tokens(40, 9);
    std::vector<float> logits(tokens.size() * runner.vocabulary());
    runner.run(tokens, 0, Logits::all, logits.data());  // which makes the device's weights
    expect_none(runner, "prefill");
  }
}

}  // namespace
}  // namespace cairn::cpu
#endif
