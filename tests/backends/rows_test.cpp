// A sequence's bits depend on its own tokens alone: not on who shares the step, not on the number of threads,
// not on whether a token was decoded alone or as one of several.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "backends/cpu/engine.hpp"
#include "base/error.hpp"
#include "base/temporary_folder.hpp"
#include "base/thread_pool.hpp"
#include "formats/small_llama.hpp"
#include "graph/golden_models.hpp"
#include "resident/plain_stack.hpp"

namespace cairn::cpu {
namespace {

using engine::KvType;
using engine::Logits;
using engine::Precision;
using engine::Sequence;
using engine::Slice;

constexpr uint32_t kVocabulary = 128;  // of every model here, at least
constexpr size_t kSequences = 8, kDecoded = 8;

int32_t token(size_t sequence, size_t position) {
  return static_cast<int32_t>((7 + sequence * 31 + position * position * 13 + position * 5) % kVocabulary);
}
std::vector<int32_t> tokens(size_t sequence, size_t begin, size_t count) {
  std::vector<int32_t> result(count);
  for (size_t i = 0; i < count; ++i) result[i] = token(sequence, begin + i);
  return result;
}
size_t prompt_length(size_t sequence) {
  return sequence % 2 == 0 ? 11 + 9 * sequence : 1 + sequence;  // chunks and rows, from one page or two
}

using Rows = std::vector<float>;  // [kDecoded][vocabulary]

class Rig {
 public:
  Rig(const std::string& path, Precision precision, KvType kv, uint32_t threads = 1)
      : engine_(make_engine(
            gguf::File(path),
            {.context = 128, .threads = threads, .chunk = 128, .precision = precision, .kv = kv})),
        vocabulary_(engine_->model().parameters.vocabulary) {}

  // Its prompt is read once: the kernels of some instruction sets are slow.
  std::unique_ptr<Sequence> prompted(size_t which) {
    std::unique_ptr<Sequence>& read = prompts_[which];
    if (!read) {
      read = engine_->make_sequence();
      engine_->step({read.get(), tokens(which, 0, prompt_length(which))});
    }
    return read->fork();
  }
  // Everything decoded by itself, one token after the other.
  Rows alone(size_t which) {
    const auto sequence = prompted(which);
    Rows rows(kDecoded * vocabulary_);
    for (size_t i = 0; i < kDecoded; ++i) {
      const int32_t next = token(which, prompt_length(which) + i);
      engine_->step({sequence.get(), {&next, 1}, Logits::last, rows.data() + i * vocabulary_});
    }
    return rows;
  }
  // Sequences [0, count), a token of each in one step.
  std::vector<Rows> together(size_t count) {
    std::vector<std::unique_ptr<Sequence>> sequences;
    std::vector<Rows> rows(count, Rows(kDecoded * vocabulary_));
    for (size_t s = 0; s < count; ++s) sequences.push_back(prompted(s));
    for (size_t i = 0; i < kDecoded; ++i) {
      std::vector<int32_t> next(count);
      std::vector<Slice> slices;
      for (size_t s = 0; s < count; ++s) {
        next[s] = token(s, prompt_length(s) + i);
        slices.push_back({sequences[s].get(), {&next[s], 1}, Logits::last, rows[s].data() + i * vocabulary_});
      }
      engine_->step(slices);
    }
    return rows;
  }
  // Four tokens in a slice, beside a slice of one token, one of three and a prompt.
  Rows in_fours(size_t which) {
    const auto sequence = prompted(which), one = prompted(1), three = prompted(3);
    Rows rows(kDecoded * vocabulary_), other(4 * vocabulary_);
    for (size_t i = 0; i < kDecoded; i += 4) {
      const auto four = tokens(which, prompt_length(which) + i, 4), more = tokens(5, 0, 3),
                 long_one = tokens(2, 0, 12);
      const auto prompt = engine_->make_sequence();
      const std::vector<Slice> slices = {{one.get(), std::span(more).first(1), Logits::last, other.data()},
                                         {prompt.get(), long_one, Logits::none, nullptr},
                                         {sequence.get(), four, Logits::all, rows.data() + i * vocabulary_},
                                         {three.get(), more, Logits::all, other.data() + vocabulary_}};
      engine_->step(slices);
    }
    return rows;
  }
  // As a draft is checked: the right tokens with wrong ones behind them, of which truncate() takes back all.
  Rows drafted(size_t which) {
    const auto sequence = prompted(which);
    Rows rows(kDecoded * vocabulary_), all(8 * vocabulary_);
    for (size_t i = 0; i < kDecoded; i += 2) {
      auto draft = tokens(which, prompt_length(which) + i, 2);
      for (int32_t wrong = 0; wrong < 5; ++wrong) draft.push_back(99 + wrong);
      engine_->step({sequence.get(), draft, Logits::all, all.data()});
      std::copy_n(all.begin(), 2 * vocabulary_, rows.begin() + static_cast<ptrdiff_t>(i * vocabulary_));
      const auto length = static_cast<uint32_t>(prompt_length(which) + i + 2);
      EXPECT_EQ(sequence->truncate(length), length);
    }
    return rows;
  }
  // Everything decoded by itself, the prompt and all, with the stack's first bits.
  Rows sketched(size_t which, double bits) {
    const auto sequence = engine_->make_sequence();
    Rows rows(kDecoded * vocabulary_);
    for (size_t i = 0; i < prompt_length(which); i += 8) {
      const auto piece = tokens(which, i, std::min<size_t>(8, prompt_length(which) - i));
      const Slice slice{sequence.get(), piece};
      engine_->draft({&slice, 1}, bits);
    }
    for (size_t i = 0; i < kDecoded; ++i) {
      const int32_t next = token(which, prompt_length(which) + i);
      const Slice slice{sequence.get(), {&next, 1}, Logits::last, rows.data() + i * vocabulary_};
      engine_->draft({&slice, 1}, bits);
    }
    return rows;
  }
  // Two tokens at a time, which the stack has drafted in the same sequence before.
  Rows checked(size_t which, double bits) {
    const auto sequence = prompted(which);
    Rows rows(kDecoded * vocabulary_), rough(2 * vocabulary_);
    for (size_t i = 0; i < kDecoded; i += 2) {
      const auto two = tokens(which, prompt_length(which) + i, 2);
      const uint32_t length = sequence->length();
      const Slice draft{sequence.get(), two, Logits::all, rough.data()};
      engine_->draft({&draft, 1}, bits);
      EXPECT_EQ(sequence->truncate(length), length);
      engine_->step({sequence.get(), two, Logits::all, rows.data() + i * vocabulary_});
    }
    return rows;
  }

 private:
  std::unique_ptr<engine::Engine> engine_;
  size_t vocabulary_;
  std::map<size_t, std::unique_ptr<Sequence>> prompts_{};
};

void expect_equal_bits(const std::string& path, Precision precision, KvType kv) {
  SCOPED_TRACE(path + (precision == Precision::f32 ? ", f32" : "") +
               (kv == KvType::i8   ? ", int8 cache"
                : kv == KvType::q4 ? ", 4-bit cache"
                                   : ""));
  Rig rig(path, precision, kv), threads(path, precision, kv, 2);
  std::vector<Rows> expected;
  for (size_t s = 0; s < kSequences; ++s) expected.push_back(rig.alone(s));
  for (const size_t count : {2, 4, 8}) {
    const std::vector<Rows> found = rig.together(count);
    for (size_t s = 0; s < count; ++s) EXPECT_EQ(found[s], expected[s]) << s << " of " << count;
  }
  const std::vector<Rows> found = threads.together(8);
  for (const size_t s : {0, 2, 5}) {
    EXPECT_EQ(found[s], expected[s]) << s << " of 8, two threads";
    EXPECT_EQ(rig.in_fours(s), expected[s]) << s;
    EXPECT_EQ(rig.drafted(s), expected[s]) << s;
    EXPECT_EQ(threads.alone(s), expected[s]) << s << ", two threads";
  }
  EXPECT_NE(expected[0], expected[1]);
}

class EngineRows : public ::testing::Test {
 protected:
  EngineRows() { pretend_processors(2); }
  ~EngineRows() override { pretend_processors(0); }
  const testing::TemporaryFolder folder_;
};

TEST_F(EngineRows, OfEveryFamily) {
  for (const char* name : graph::kGoldenModels) {
    for (const KvType kv : {KvType::f16, KvType::i8, KvType::q4})
      expect_equal_bits(graph::golden_model_path(name), Precision::standard, kv);
    expect_equal_bits(graph::golden_model_path(name), Precision::f32, KvType::f16);
  }
}

TEST_F(EngineRows, OfEveryEncoding) {
  for (const EncodingInfo& encoding : encodings()) {
    const std::string path = folder_ / (std::string(encoding.name) + ".gguf");
    testing::write_small_llama(
        path, {.embedding = 256, .ffn = 512, .tokenizer = false, .random = encoding.encoding});
    expect_equal_bits(path, Precision::standard, KvType::f16);
  }
}

// A prompt read in one go, in pieces of any length, behind something that was taken back.
TEST_F(EngineRows, RepeatableWhateverWasReadBefore) {
  constexpr size_t kPrompt = 90;  // two pages
  for (const char* name : graph::kGoldenModels) {
    SCOPED_TRACE(name);
    const gguf::File file(graph::golden_model_path(name));
    const engine::Options options{.context = 128, .threads = 1, .chunk = 128, .repeatable = true};
    const auto engine = make_engine(file, options);
    engine::Options usual = options;
    usual.repeatable = false;
    const bool state = graph::has_state(engine->model());
    if (!state) EXPECT_NE(engine->blocks().format, make_engine(file, usual)->blocks().format);
    ASSERT_EQ(engine->chunk(), engine->rows());
    const size_t vocabulary = engine->model().parameters.vocabulary;
    const auto read = [&](Sequence& sequence, size_t piece) {
      Rows last(vocabulary);
      while (sequence.length() < kPrompt) {
        const size_t size = std::min(piece, kPrompt - sequence.length());
        engine->step({&sequence, tokens(0, sequence.length(), size), Logits::last, last.data()});
      }
      return last;
    };
    const auto whole = engine->make_sequence(), single = engine->make_sequence(),
               cut = engine->make_sequence();
    const Rows expected = read(*whole, engine->chunk());
    EXPECT_EQ(read(*single, 1), expected);
    read(*cut, 5);
    ASSERT_EQ(cut->truncate(37), state ? 0 : 37);  // the one of 64 tokens lies behind
    EXPECT_EQ(read(*cut, 3), expected);
  }
}

TEST_F(EngineRows, OfAStackAtEveryLevel) {
  const std::string model = folder_ / "model.gguf", stack = folder_ / "stack.gguf";
  testing::write_small_llama(model, {.embedding = 256, .ffn = 448, .tokenizer = false});
  for (const bool exact : {false, true}) {
    resident::write_plain_stack(model, stack, {.rows_per_group = 48, .exact = exact});
    for (const Precision precision : {Precision::standard, Precision::f32})
      expect_equal_bits(stack, precision, KvType::f16);
  }
}

// A stack drafts with what a file that is cut there holds, and a check that follows knows nothing of it.
TEST_F(EngineRows, AStackDraftsWithItsFirstBits) {
  const std::string model = folder_ / "model.gguf", path = folder_ / "stack.gguf", cut = folder_ / "cut.gguf";
  testing::write_small_llama(model, {.embedding = 256, .ffn = 448, .tokenizer = false});
  for (const bool exact : {false, true}) {
    // The embedding, which drafts read whole, is no part of it.
    resident::write_plain_stack(model, path, {.rows_per_group = 48, .embeddings = false, .exact = exact});
    const stack::Layout layout = stack::read_layout(gguf::File(path));
    for (const Precision precision : {Precision::standard, Precision::f32}) {
      Rig rig(path, precision, KvType::f16);
      const Rows whole = rig.alone(2);
      for (const size_t blocks : {layout.base_blocks, layout.base_blocks * 2 + 3, layout.base_blocks * 4}) {
        std::filesystem::copy_file(path, cut, std::filesystem::copy_options::overwrite_existing);
        std::filesystem::resize_file(cut, layout.end_of(blocks));
        Rig small(cut, precision, KvType::f16);
        EXPECT_EQ(rig.sketched(7, layout.bits(blocks)), small.alone(7)) << blocks << (exact ? ", exact" : "");
      }
      EXPECT_EQ(rig.alone(2), whole);
      EXPECT_EQ(rig.checked(2, 2.0), whole);
    }
  }
}

// Of the logits the first ones alone, beside a sequence that wants all of them.
TEST_F(EngineRows, ComputeAsManyLogitsAsAreEnough) {
  const std::string path = graph::golden_model_path(graph::kGoldenModels[0]);
  const auto engine = make_engine(gguf::File(path), {.context = 64, .threads = 1});
  const size_t vocabulary = engine->model().parameters.vocabulary;
  const std::vector<int32_t> text = tokens(0, 0, 3);
  std::vector<float> whole(vocabulary), part(vocabulary, -7), beside(vocabulary);
  const auto a = engine->make_sequence(), b = engine->make_sequence(), c = engine->make_sequence(),
             d = engine->make_sequence();
  engine->step({a.get(), text, Logits::last, whole.data()});
  engine->step({b.get(), text, Logits::last, part.data(), 24});
  EXPECT_TRUE(std::equal(whole.begin(), whole.begin() + 24, part.begin()));
  EXPECT_EQ(part.back(), -7);
  const std::vector<Slice> slices = {{c.get(), text, Logits::last, part.data(), 24},
                                     {d.get(), text, Logits::last, beside.data()}};
  engine->step(slices);
  EXPECT_EQ(beside, whole);
}

TEST_F(EngineRows, OnlyAStackDrafts) {
  const std::string model = folder_ / "model.gguf", path = folder_ / "stack.gguf";
  testing::write_small_llama(model, {.embedding = 256, .ffn = 448, .tokenizer = false});
  resident::write_plain_stack(model, path, {.rows_per_group = 48});
  const std::vector<int32_t> nine = tokens(0, 0, 9);
  for (const auto& [file, slice, reason] :
       {std::tuple{model, 1, "no stack"}, {path, 9, "1 to 8 tokens, not 9"}}) {
    const auto engine = make_engine(gguf::File(file), {.context = 64, .threads = 1});
    const auto sequence = engine->make_sequence();
    const Slice one{sequence.get(), std::span(nine).first(static_cast<size_t>(slice))};
    try {
      engine->draft({&one, 1}, 2);
      ADD_FAILURE() << file;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
    }
    EXPECT_EQ(sequence->length(), 0u);
  }
}

}  // namespace
}  // namespace cairn::cpu
