// The engine of GPUs against transformers' logits on tiny models, and against itself: however a text is cut,
// whoever shares the step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "backends/cuda/engine.hpp"
#include "backends/fake_gpu.hpp"
#include "base/error.hpp"
#include "base/temporary_folder.hpp"
#include "formats/small_llama.hpp"
#include "graph/golden_models.hpp"

namespace cairn::cuda {
namespace {

using engine::Logits;
using engine::Sequence;
using engine::Slice;
using graph::Golden;
using Rows = std::vector<float>;

// Whatever the ops of CudaOp are enough for.
constexpr auto kModels = [] {
  std::array<const char*, graph::kDenseModels.size() + 3> all{};
  auto end = std::copy(graph::kDenseModels.begin(), graph::kDenseModels.end(), all.begin());
  for (const char* name : {"gemma4_small", "gemma4_large", "gemma4_shared"}) *end++ = name;
  return all;
}();

// Root mean square of the difference, relative to the logits' own.
double difference(std::span<const float> expected, std::span<const float> found) {
  double error = 0, power = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double e = double{expected[i]}, d = double{found[i]} - e;
    error += d * d;
    power += e * e;
  }
  return std::sqrt(error / power);
}

int32_t token(size_t sequence, size_t position) {
  return static_cast<int32_t>((7 + sequence * 31 + position * position * 13 + position * 5) % 128);
}
std::vector<int32_t> tokens(size_t sequence, size_t begin, size_t count) {
  std::vector<int32_t> result(count);
  for (size_t i = 0; i < count; ++i) result[i] = token(sequence, begin + i);
  return result;
}

std::unique_ptr<engine::Engine> engine_of(const std::string& path, uint32_t context = graph::kGoldenContext,
                                          uint32_t chunk = 64) {
  return make_device_engine(gguf::File(path), {.context = context, .chunk = chunk, .device = "cuda"});
}

class CudaGolden : public ::testing::TestWithParam<const char*> {
 protected:
  const testing::FakeGpu gpu_;
  const std::string path_ = graph::golden_model_path(GetParam());
};

TEST_P(CudaGolden, AgreesWithTransformers) {
  const Golden golden(GetParam());
  const auto engine = engine_of(path_);
  for (const size_t step : {size_t{64}, size_t{1}, size_t{8}, size_t{20}}) {
    const auto sequence = engine->make_sequence();
    Rows logits(golden.tokens.size() * golden.vocabulary);
    for (size_t at = 0; at < golden.tokens.size(); at += step) {
      const auto piece = std::span<const int32_t>(golden.tokens)
                             .subspan(at)
                             .first(std::min(step, golden.tokens.size() - at));
      engine->step({sequence.get(), piece, Logits::all, logits.data() + at * golden.vocabulary});
    }
    Rows kept;
    for (const int32_t position : golden.positions) {
      const auto begin =
          logits.begin() + static_cast<ptrdiff_t>(static_cast<size_t>(position) * golden.vocabulary);
      kept.insert(kept.end(), begin, begin + static_cast<ptrdiff_t>(golden.vocabulary));
    }
    // Keys and values are rounded to 16 bits; a GPU's products are of 8 bits, as the CPU's standard ones.
    const double found = difference(golden.logits, kept);
    RecordProperty("error_" + std::to_string(step), std::to_string(found));
    EXPECT_LT(found, testing::on_real_gpu() ? 7e-2 : 2e-3) << step;
  }
}

TEST_P(CudaGolden, ASequencesBitsAreItsOwn) {
  constexpr size_t kSequences = 12, kDecoded = 6;
  const auto engine = engine_of(path_, 128, 128);
  const size_t vocabulary = engine->model().parameters.vocabulary;
  const auto prompt = [](size_t which) { return which % 2 == 0 ? 11 + 7 * which : 1 + which % 8; };
  const auto prompted = [&](size_t which) {
    auto sequence = engine->make_sequence();
    engine->step({sequence.get(), tokens(which, 0, prompt(which))});
    return sequence;
  };
  std::vector<Rows> alone;
  for (size_t s = 0; s < kSequences; ++s) {
    const auto sequence = prompted(s);
    Rows& rows = alone.emplace_back(kDecoded * vocabulary);
    for (size_t i = 0; i < kDecoded; ++i) {
      const int32_t next = token(s, prompt(s) + i);
      engine->step({sequence.get(), {&next, 1}, Logits::last, rows.data() + i * vocabulary});
    }
  }
  EXPECT_NE(alone[0], alone[1]);
  std::vector<std::unique_ptr<Sequence>> sequences, forks;
  std::vector<Rows> rows(kSequences, Rows(kDecoded * vocabulary));
  for (size_t s = 0; s < kSequences; ++s) {
    sequences.push_back(prompted(s));
    forks.push_back(sequences.back()->fork());
  }
  // All together, a token of each in one step.
  for (size_t i = 0; i < kDecoded; ++i) {
    std::vector<int32_t> next(kSequences);
    std::vector<Slice> slices;
    for (size_t s = 0; s < kSequences; ++s) {
      next[s] = token(s, prompt(s) + i);
      slices.push_back({sequences[s].get(), {&next[s], 1}, Logits::last, rows[s].data() + i * vocabulary});
    }
    engine->step(slices);
  }
  EXPECT_EQ(rows, alone);
  // What their forks know is what it was; as many tokens of each as a slice of rows takes, of which some are
  // wrong and taken back, beside a prompt.
  std::vector<Rows> checked(kSequences, Rows(8 * vocabulary));
  std::vector<std::vector<int32_t>> drafts;
  std::vector<Slice> slices;
  for (size_t s = 0; s < kSequences; ++s) {
    drafts.push_back(tokens(s, prompt(s), 3));
    for (int32_t wrong = 0; wrong < 5; ++wrong) drafts.back().push_back(99 + wrong);
  }
  for (size_t s = 0; s < kSequences; ++s)
    slices.push_back({forks[s].get(), drafts[s], Logits::all, checked[s].data()});
  const auto beside = engine->make_sequence();
  const auto text = tokens(40, 0, 50);
  slices.push_back({beside.get(), text});
  engine->step(slices);
  for (size_t s = 0; s < kSequences; ++s) {
    EXPECT_TRUE(std::equal(alone[s].begin(), alone[s].begin() + static_cast<ptrdiff_t>(3 * vocabulary),
                           checked[s].begin()))
        << s;
    const auto left = static_cast<uint32_t>(prompt(s) + 3);
    ASSERT_EQ(forks[s]->truncate(left), left);
    const auto three = tokens(s, left, 3);
    engine->step({forks[s].get(), three, Logits::all, checked[s].data()});
    EXPECT_TRUE(std::equal(alone[s].begin() + static_cast<ptrdiff_t>(3 * vocabulary), alone[s].end(),
                           checked[s].begin()))
        << s;
  }
}

INSTANTIATE_TEST_SUITE_P(, CudaGolden, ::testing::ValuesIn(kModels),
                         [](const auto& tested) { return std::string(tested.param); });

class CudaEngine : public ::testing::Test {
 protected:
  testing::FakeGpu gpu_;
  const testing::TemporaryFolder folder_;
};

void expect_refused(ErrorCode code, const std::string& part, const std::function<void()>& body) {
  try {
    body();
    ADD_FAILURE() << "no error: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), ::testing::HasSubstr(part));
  }
}

TEST_F(CudaEngine, RefusesByNameWhatHasNoKernel) {
  for (const auto& [name, part] : {std::pair{"qwen3moe", "the op 'route'"},
                                   {"gpt_oss", "attention sinks"},
                                   {"lfm2", "the op 'convolve'"},
                                   {"deepseek2", "the op 'head_linear'"},
                                   {"bert", "what lies behind"},
                                   {"qwen35_draft", "a layer that drafts"}}) {
    const std::string path = graph::golden_model_path(name);
    expect_refused(ErrorCode::unsupported, part, [&] { engine_of(path); });
  }
  const gguf::File file(graph::golden_model_path("llama"));
  expect_refused(ErrorCode::unsupported, "--precision f32", [&] {
    make_device_engine(file, {.context = 8, .precision = engine::Precision::f32, .device = "cuda"});
  });
  expect_refused(ErrorCode::unsupported, "f16 alone", [&] {
    make_device_engine(file, {.context = 8, .kv = engine::KvType::q4, .device = "cuda"});
  });
  for (const char* device : {"cuda:", "cuda:x", "cuda:0x", "gpu", "cuda:99999999999"}) {
    expect_refused(ErrorCode::invalid_argument, device,
                   [&] { make_device_engine(file, {.context = 8, .device = device}); });
  }
  expect_refused(ErrorCode::not_found, "there is no GPU cuda:77",
                 [&] { make_device_engine(file, {.context = 8, .device = "cuda:77"}); });
}

TEST_F(CudaEngine, EveryEncoding) {
  for (const EncodingInfo& encoding : encodings()) {
    const std::string path = folder_ / (std::string(encoding.name) + ".gguf");
    testing::write_small_llama(
        path, {.embedding = 256, .ffn = 512, .tokenizer = false, .random = encoding.encoding});
    const auto cpu = cpu::make_engine(gguf::File(path),
                                      {.context = 64, .threads = 1, .precision = engine::Precision::f32});
    const auto gpu = engine_of(path);
    const size_t vocabulary = gpu->model().parameters.vocabulary;
    Rows expected(5 * vocabulary), found(5 * vocabulary);
    const auto a = cpu->make_sequence(), b = gpu->make_sequence();
    cpu->step({a.get(), tokens(3, 0, 5), Logits::all, expected.data()});
    gpu->step({b.get(), tokens(3, 0, 5), Logits::all, found.data()});
    EXPECT_LT(difference(expected, found), testing::on_real_gpu() ? 7e-2 : 3e-3) << encoding.name;
  }
}

TEST_F(CudaEngine, HiddenStatesAndAsManyLogitsAsAreEnough) {
  const std::string path = graph::golden_model_path("llama");
  const auto cpu =
      cpu::make_engine(gguf::File(path), {.context = 64, .threads = 1, .precision = engine::Precision::f32});
  const auto gpu = engine_of(path);
  const size_t vocabulary = gpu->model().parameters.vocabulary, width = gpu->model().parameters.embedding;
  for (const size_t count : {size_t{3}, size_t{40}}) {
    const auto text = tokens(1, 0, count);
    Rows expected(count * width), found(count * width), logits(count * vocabulary), part(vocabulary, -7),
        whole(vocabulary);
    const auto a = cpu->make_sequence(), b = gpu->make_sequence(), c = gpu->make_sequence(),
               d = gpu->make_sequence();
    cpu->step({.sequence = a.get(), .tokens = text, .hidden = expected.data()});
    gpu->step({.sequence = b.get(),
               .tokens = text,
               .wanted = Logits::all,
               .logits = logits.data(),
               .hidden = found.data()});
    EXPECT_LT(difference(expected, found), testing::on_real_gpu() ? 7e-2 : 2e-3);
    const std::vector<Slice> slices = {{c.get(), text, Logits::last, part.data(), 24},
                                       {d.get(), text, Logits::last, whole.data()}};
    gpu->step(slices);
    EXPECT_TRUE(std::equal(part.begin(), part.begin() + 24, whole.begin()));
    EXPECT_EQ(part.back(), -7);
    EXPECT_TRUE(std::equal(whole.begin(), whole.end(), logits.end() - static_cast<ptrdiff_t>(vocabulary)));
  }
}

TEST_F(CudaEngine, CopiesASharedPageBeforeItIsWrittenAndGivesPagesBack) {
  const auto engine = engine_of(graph::golden_model_path("llama"), 512, 512);
  const auto a = engine->make_sequence();
  engine->step({a.get(), tokens(0, 0, 70)});
  const uint64_t page = engine->kv_bytes() / 2;
  EXPECT_EQ(engine->kv_bytes(), 2 * page);
  auto b = a->fork();
  EXPECT_EQ(engine->kv_bytes(), 2 * page);
  engine->step({b.get(), tokens(1, 70, 1)});
  EXPECT_EQ(engine->kv_bytes(), 3 * page);
  engine->reserve(*b, 200);
  EXPECT_EQ(engine->kv_bytes(), 6 * page);
  b->truncate(64);
  EXPECT_EQ(engine->kv_bytes(), 2 * page);
  EXPECT_EQ(a->length(), 70U);
  b.reset();
  EXPECT_EQ(engine->kv_bytes(), 2 * page);
}

TEST_F(CudaEngine, AWindowLetsGo) {
  const auto engine = engine_of(graph::golden_model_path("mistral_window"), 4096, 512);
  const auto a = engine->make_sequence();
  while (a->length() < 2048) engine->step({a.get(), tokens(0, a->length(), 512)});
  EXPECT_LT(a->bytes(), engine->context() * a->bytes() / 2048);
  EXPECT_EQ(a->truncate(2040), 2040U);
  EXPECT_EQ(a->truncate(10), 0U);
}

TEST_F(CudaEngine, TellsWhatDoesNotFit) {
  if (testing::on_real_gpu()) return;
  gpu_.set("_MEMORY", "300000");
  expect_refused(ErrorCode::out_of_memory, "do not fit in cuda:0 (Fake 0), which has 0.3 MiB free",
                 [&] { engine_of(graph::golden_model_path("llama")); });
  gpu_.set("_MEMORY", "100000000");
  const gguf::File file(graph::golden_model_path("llama"));
  expect_refused(ErrorCode::out_of_memory, "more than --gpu-memory allows (0.1 MiB)", [&] {
    make_device_engine(file, {.context = 8, .device = "cuda", .device_memory = 100000});
  });
  // Of keys and values: who asks is told, and the others go on.
  gpu_.set("_MEMORY", "50000000");
  const auto engine = engine_of(graph::golden_model_path("llama"), 4096, 64);
  const auto a = engine->make_sequence();
  engine->step({a.get(), tokens(0, 0, 20)});
  std::vector<std::unique_ptr<Sequence>> many;
  expect_refused(ErrorCode::out_of_memory, "bytes of the fake GPU's memory", [&] {
    for (int i = 0; i < 100; ++i) {
      many.push_back(engine->make_sequence());
      engine->reserve(*many.back(), 4096);
    }
  });
  EXPECT_EQ(many.back()->bytes(), 0U);
  engine->step({a.get(), tokens(0, 20, 20)});
  EXPECT_EQ(a->length(), 40U);
}

TEST_F(CudaEngine, SaysWhyThereIsNone) {
  if (testing::on_real_gpu()) return;
  const std::string path = graph::golden_model_path("llama");
  for (const auto& [setting, code, part] :
       {std::tuple{"no-driver", ErrorCode::not_found, "no NVIDIA driver is installed"},
        {"old-driver", ErrorCode::unsupported, "knows CUDA 11.4"},
        {"old-gpu", ErrorCode::unsupported, "capability 6.1"},
        {"none", ErrorCode::not_found, "there is no NVIDIA GPU"}}) {
    gpu_.set("", setting);
    expect_refused(code, part, [&] { engine_of(path); });
  }
}

}  // namespace
}  // namespace cairn::cuda
