// Prefixes in memory and on disk, on a small model of random weights.
#include "llm/prefix_cache.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "fake_engine.hpp"
#include "llm/model.hpp"
#include "llm/prefix_files.hpp"
#include "llm/scheduler.hpp"
#include "tiny_model.hpp"

namespace cairn::llm {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(PrefixCache, PiecesAreCutWhereNothingChanges) {
  EXPECT_EQ(next_piece(0, 1000, 512, 512), 512u);
  EXPECT_EQ(next_piece(512, 1000, 512, 512), 488u);
  EXPECT_EQ(next_piece(448, 1000, 512, 512), 64u);  // a chunk's end is one however the prompt was begun
  EXPECT_EQ(next_piece(0, 1000, 512, 128), 128u);
  EXPECT_EQ(next_piece(0, 1000, 512, 100), 64u);
  EXPECT_EQ(next_piece(128, 260, 512, 128), 132u);  // not 128 and 4, which would be rows
  EXPECT_EQ(next_piece(384, 516, 512, 128), 128u);  // here they are for everybody
  EXPECT_EQ(next_piece(512, 516, 512, 128), 4u);
  EXPECT_EQ(usable_prefix(1000, 1000, 512), 960u);
  EXPECT_EQ(usable_prefix(256, 260, 512), 192u);
  EXPECT_EQ(usable_prefix(512, 516, 512), 512u);
  EXPECT_EQ(usable_prefix(64, 64, 512), 0u);
  EXPECT_EQ(usable_prefix(3, 1, 512), 0u);
}

std::unique_ptr<engine::Sequence> sequence(const std::vector<Token>& tokens) {
  auto made = std::make_unique<fake::Sequence>();
  made->tokens = tokens;
  return made;
}

TEST(PrefixCache, FindsTheLongestAndDropsTheOldest) {
  std::vector<Token> a(210, 1), b(210, 1), c(100, 3);
  std::fill(b.begin() + 130, b.end(), 2);
  PrefixCache cache(1000);
  cache.keep(a, sequence(a));
  cache.keep(b, sequence(b));
  cache.keep(c, sequence(c));
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_EQ(cache.find(b, 512)->length(), 192u);
  std::vector<Token> other(300, 1);
  EXPECT_EQ(cache.find(other, 512)->length(), 192u);
  EXPECT_EQ(cache.find(std::vector<Token>(300, 9), 512), nullptr);
  EXPECT_EQ(cache.find(std::vector<Token>(60, 1), 512), nullptr);
  cache.keep(other, sequence(other));  // begins with a's
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_TRUE(cache.drop_oldest());  // c
  EXPECT_EQ(cache.find(c, 512), nullptr);
  EXPECT_EQ(cache.find(b, 512)->length(), 192u);
  EXPECT_TRUE(cache.drop_oldest());
  EXPECT_TRUE(cache.drop_oldest());
  EXPECT_FALSE(cache.drop_oldest());
}

TEST(PrefixCache, DraftsShareTheBudgetAndGoFirst) {
  const std::vector<Token> a(128, 1), b(128, 2), c(128, 3);
  const auto sized = [](const std::vector<Token>& tokens) {
    auto made = sequence(tokens);
    dynamic_cast<fake::Sequence&>(*made).bytes_of_token = 1;
    return made;
  };
  PrefixCache cache(3 * 128);
  cache.keep(a, sized(a), Reader::draft);
  EXPECT_EQ(cache.find(std::vector<Token>(200, 1), 512), nullptr) << "a draft's pages are not the model's";
  EXPECT_EQ(cache.find(std::vector<Token>(200, 1), 512, Reader::draft)->length(), 128u);
  cache.keep(a, sized(a));
  cache.keep(b, sized(b));
  EXPECT_EQ(cache.bytes(), 384u);
  cache.keep(c, sized(c));
  EXPECT_EQ(cache.bytes(), 384u);
  EXPECT_EQ(cache.find(std::vector<Token>(200, 1), 512, Reader::draft), nullptr);
  EXPECT_EQ(cache.find(std::vector<Token>(200, 1), 512)->length(), 128u);
  cache.keep(b, sized(b), Reader::draft);  // no room beside the model's
  EXPECT_EQ(cache.find(std::vector<Token>(200, 2), 512, Reader::draft), nullptr);
  EXPECT_EQ(cache.size(), 3u);
  EXPECT_TRUE(cache.drop_oldest());  // b
  cache.keep(b, sized(b), Reader::draft);
  EXPECT_TRUE(cache.drop_oldest(Reader::model));  // c: a was looked for
  EXPECT_EQ(cache.find(std::vector<Token>(200, 3), 512), nullptr);
  EXPECT_TRUE(cache.drop_oldest());
  EXPECT_EQ(cache.find(std::vector<Token>(200, 2), 512, Reader::draft), nullptr);
  EXPECT_EQ(cache.find(std::vector<Token>(200, 1), 512)->length(), 128u);
  EXPECT_FALSE(cache.drop_oldest(Reader::draft));
  EXPECT_TRUE(cache.drop_oldest());
  EXPECT_FALSE(cache.drop_oldest());
}

class PrefixFilesTest : public testing::Test {
 protected:
  PrefixFilesTest() {
    write_tiny_model(folder_.file("tiny.gguf"), {.context = 2048});
    model_ = Model::load(folder_.file("tiny.gguf"));
    engine_ = engine();
    for (int i = 0; i < 700; ++i) prompt_.push_back(static_cast<Token>((i * i + 3 * i) % 300));
  }
  std::shared_ptr<engine::Engine> engine(engine::KvType kv = engine::KvType::f16) const {
    return model_->make_engine({.context = 1024, .threads = 2, .kv = kv});
  }
  std::shared_ptr<PrefixFiles> files(uint64_t bytes = 1 << 30) {
    return std::make_shared<PrefixFiles>(
        model_->file(), *engine_,
        PrefixFilesOptions{kept(), bytes, [this](const std::string& line) { told_.push_back(line); }});
  }
  std::string kept() const { return folder_.file("kept"); }
  std::vector<fs::path> blocks() const {
    std::vector<fs::path> all;
    if (fs::exists(kept())) {
      for (const auto& entry : fs::directory_iterator(kept())) all.push_back(entry.path());
    }
    std::sort(all.begin(), all.end());
    return all;
  }
  // As after a restart: an engine of its own.
  Result answer(std::shared_ptr<PrefixFiles> files, engine::KvType kv = engine::KvType::f16) {
    Session session = model_->make_session(engine(kv));
    session.keep_prefixes(std::move(files));
    GenerateOptions options;
    options.max_tokens = 12;
    options.sampler.temperature = 0;
    options.ignore_end = true;
    return session.generate(prompt_, options);
  }
  void change(const fs::path& file, std::streamoff at, char value) {
    std::fstream(file, std::ios::in | std::ios::out | std::ios::binary).seekp(at).put(value);
  }

  TestFolder folder_;
  std::shared_ptr<const Model> model_;
  std::shared_ptr<engine::Engine> engine_;
  std::vector<Token> prompt_;
  std::vector<std::string> told_;
};

TEST_F(PrefixFilesTest, ARestartReadsNothingTwiceAndAnswersTheSame) {
  const Result fresh = answer(nullptr);
  const Result first = answer(files());
  EXPECT_EQ(first.statistics.cached_tokens, 0u);
  EXPECT_EQ(blocks().size(), 711u / 64);
  const Result again = answer(files());
  EXPECT_EQ(again.statistics.cached_tokens, 640u);
  EXPECT_EQ(again.statistics.prefill_tokens, 60u);
  EXPECT_EQ(first.tokens, fresh.tokens);
  EXPECT_EQ(again.tokens, fresh.tokens);
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(PrefixFilesTest, AnotherModelOrTypeFindsNothing) {
  answer(files());
  write_tiny_model(folder_.file("other.gguf"), {.control = {"<|im_start|>", "<|other|>"}, .context = 2048});
  const auto other = Model::load(folder_.file("other.gguf"));
  PrefixFiles theirs(other->file(), *engine_, {.folder = kept()});
  EXPECT_EQ(theirs.there(prompt_), 0u);
  PrefixFiles ints(model_->file(), *engine(engine::KvType::i8), {.folder = kept()});
  EXPECT_EQ(ints.there(prompt_), 0u);
  EXPECT_EQ(files()->there(prompt_), 640u);
}

TEST_F(PrefixFilesTest, WhatIsWrongIsToldOnceAndReplaced) {
  const Result fresh = answer(files());
  const auto all = blocks();
  ASSERT_GE(all.size(), 10u);
  change(all[0], 200, '!');     // damaged
  change(all[1], 8, 9);         // another version
  fs::resize_file(all[2], 50);  // cut
  fs::resize_file(all[3], fs::file_size(all[3]) - 1);
  fs::copy_file(all[5], all[4], fs::copy_options::overwrite_existing);  // another's name
  for (int i = 0; i < 6; ++i) {
    told_.clear();
    const Result again = answer(files());
    EXPECT_EQ(again.tokens, fresh.tokens);
    if (again.statistics.cached_tokens == 640) break;
    EXPECT_EQ(told_.size(), 1u);
    EXPECT_THAT(told_.front(), HasSubstr("its tokens are read again"));
  }
  told_.clear();
  EXPECT_EQ(answer(files()).statistics.cached_tokens, 640u);
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(PrefixFilesTest, AFolderThatTakesNothingIsToldOnce) {
  std::ofstream(kept()) << "a file";
  const auto shared = files();
  const Result fresh = answer(nullptr);
  EXPECT_EQ(answer(shared).tokens, fresh.tokens);
  EXPECT_EQ(answer(shared).tokens, fresh.tokens);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_THAT(told_.front(), HasSubstr("prefixes are not kept on disk"));
}

TEST_F(PrefixFilesTest, TheOldestGoWhereTheLimitIs) {
  answer(files());
  const uint64_t one = fs::file_size(blocks().front());
  EXPECT_EQ(blocks().size(), 11u);
  prompt_.front() = 5;  // another text
  answer(files(14 * one));
  EXPECT_EQ(blocks().size(), 14u);
  EXPECT_EQ(files()->there(prompt_), 640u);
  EXPECT_EQ(answer(files()).statistics.cached_tokens, 640u);
  answer(files(1000));
  EXPECT_EQ(blocks().size(), 14u);
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(PrefixFilesTest, SchedulersKeepThemToo) {
  Request request;
  request.prompt = prompt_;
  request.options.max_tokens = 12;
  request.options.ignore_end = true;
  request.options.sampler.temperature = 0;
  std::vector<Token> tokens[2];
  for (int i = 0; i < 2; ++i) {
    Scheduler scheduler(engine(), model_->tokenizer(), {.files = files()});
    const Result result = scheduler.submit(request).wait();
    EXPECT_EQ(result.statistics.cached_tokens, i == 0 ? 0u : 640u);
    tokens[i] = result.tokens;
  }
  EXPECT_EQ(tokens[0], tokens[1]);
  EXPECT_EQ(tokens[0], answer(nullptr).tokens);
}

// The very engine, which is repeatable: what shares the steps and what was read before changes no bit. (Of others
// it may: where a prompt is cut shows in its chunks' scales.)
TEST_F(PrefixFilesTest, ASchedulersAnswersAreASessions) {
  const auto engine = model_->make_engine({.context = 1024, .threads = 2, .repeatable = true});
  GenerateOptions options;
  options.max_tokens = 20;
  options.ignore_end = true;
  options.sampler.temperature = 0;
  Scheduler scheduler(engine, model_->tokenizer());
  std::vector<Request> requests;
  for (const size_t size : {1, 5, 64, 260, 516, 521, 700, 590, 130}) {
    Request one;
    one.prompt.assign(prompt_.begin(), prompt_.begin() + static_cast<long>(size));
    if (size % 2 == 0) one.prompt.front() = static_cast<Token>(size % 11);
    one.options = options;
    requests.push_back(one);
  }
  for (int round = 0; round < 2; ++round) {
    std::vector<Scheduler::Ticket> tickets;
    for (const Request& one : requests) tickets.push_back(scheduler.submit(one));
    for (size_t i = 0; i < requests.size(); ++i) {
      Session session = model_->make_session(engine);
      EXPECT_EQ(tickets[i].wait().tokens, session.generate(requests[i].prompt, options).tokens)
          << requests[i].prompt.size();
    }
  }
  EXPECT_GT(scheduler.status().cached_tokens, 2000u);
}

}  // namespace
}  // namespace cairn::llm
