// Several texts that are guessed of at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <future>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/expect_error.hpp"
#include "fake_stack.hpp"
#include "fake_tokenizer.hpp"
#include "llm/scheduler.hpp"

namespace cairn::llm {
namespace {

using cairn::testing::expect_error;

int32_t recital(const std::vector<int32_t>& sequence) {
  const int32_t last = sequence.back();
  if (last == 'h' && sequence.size() / 26 % 3 == 2) return 'z';
  return last >= 'a' && last < 'z' ? last + 1 : 'a';
}
int32_t rough(const std::vector<int32_t>& sequence) {
  return sequence.back() >= 'a' && sequence.back() < 'z' ? sequence.back() + 1 : 'a';
}

constexpr std::array kKinds = {Speculation::none, Speculation::lookup, Speculation::draft, Speculation::self,
                               Speculation::automatic};

// Refuses what has no room, and records how many rows each step has.
class Stack : public fake::Stack {
 public:
  Stack() : fake::Stack(260, 1024, 256, recital, rough) {
    most_rows = 8;
    takes = 2e-4;
    cancels = true;
  }
  using engine::Engine::step;
  void step(std::span<const engine::Slice> slices, const engine::Cancelled& cancelled) override {
    size_t size = 0;
    for (const engine::Slice& slice : slices) size += slice.tokens.size();
    if (!drafts()) rows.push_back(size);
    fake::Stack::step(slices, cancelled);
  }
  void reserve(engine::Sequence& sequence, uint32_t tokens) override {
    if (sequence.length() + tokens > most) fail(ErrorCode::out_of_memory, "no room for {} more", tokens);
  }
  std::vector<size_t> rows;
  std::atomic<uint32_t> most{100000};
};

Request request(Speculation kind, int size, uint32_t most) {
  Request made;
  for (int i = 0; i < size; ++i) made.prompt.push_back('a' + i % 26);
  made.options.max_tokens = most;
  made.options.sampler.temperature = 0;
  made.options.speculation = kind;
  return made;
}

struct Fixture {
  explicit Fixture(SchedulerOptions options = {})
      : engine(std::make_shared<Stack>()), small(std::make_shared<fake::Engine>(260, 1024, 256, rough)) {
    small->most_rows = 8;
    options.draft = small;
    scheduler = std::make_unique<Scheduler>(engine, std::make_shared<fake::Tokenizer>(), std::move(options));
  }
  static Result alone(const Request& one) {
    Session session(std::make_shared<Stack>(), std::make_shared<fake::Tokenizer>());
    GenerateOptions options = one.options;
    options.speculation = Speculation::none;
    return session.generate(one.prompt, options);
  }
  std::shared_ptr<Stack> engine;
  std::shared_ptr<fake::Engine> small;
  std::unique_ptr<Scheduler> scheduler;
};

TEST(SchedulerSpeculation, GivesEveryTextWhatASessionGivesIt) {
  Fixture f;
  std::vector<Request> requests;
  for (int i = 0; i < 15; ++i) {
    const uint32_t most = i == 7 ? 1 : static_cast<uint32_t>(20 + 12 * i);
    requests.push_back(request(kKinds[static_cast<size_t>(i) % kKinds.size()], 5 + 40 * (i % 6), most));
    if (i == 4) requests.back().options.stop = {"xyza"};
  }
  std::vector<Scheduler::Ticket> tickets;
  for (const Request& one : requests) tickets.push_back(f.scheduler->submit(one));
  uint64_t accepted = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    const Result expected = Fixture::alone(requests[i]), got = tickets[i].wait();
    EXPECT_EQ(got.tokens, expected.tokens) << i;
    EXPECT_EQ(got.text, expected.text) << i;
    EXPECT_EQ(got.finish, expected.finish) << i;
    EXPECT_EQ(got.statistics.decode_tokens, expected.statistics.decode_tokens) << i;
    EXPECT_EQ(got.statistics.decode_steps + got.statistics.accepted_tokens, got.statistics.decode_tokens)
        << i;
    accepted += got.statistics.accepted_tokens;
  }
  EXPECT_GT(accepted, 20u);
  EXPECT_GE(f.scheduler->status().guessed, f.scheduler->status().accepted);
  EXPECT_GT(f.scheduler->status().accepted, 0u);
}

TEST(SchedulerSpeculation, ABusyEngineIsLeftAlone) {
  for (const Speculation kind : kKinds) {
    Fixture f;
    std::promise<void> all_there;
    auto first = request(kind, 60, 200);
    std::atomic<bool> waited{false};
    auto opened = all_there.get_future();
    first.token = [&](const TokenEvent&) {
      if (!waited.exchange(true)) opened.wait();
      return true;
    };
    std::vector<Scheduler::Ticket> tickets;
    tickets.push_back(f.scheduler->submit(first));
    for (int i = 1; i < 8; ++i) tickets.push_back(f.scheduler->submit(request(kind, 60, 200)));
    all_there.set_value();
    for (auto& ticket : tickets) EXPECT_EQ(ticket.wait().tokens.size(), 200u);
    size_t full = 0;
    for (const size_t rows : f.engine->rows) full += rows == 8 ? 1 : 0;
    EXPECT_GT(full, 50u);
    for (const size_t rows : f.engine->rows) EXPECT_TRUE(rows <= 8 || rows >= 60) << rows;
  }
}

TEST(SchedulerSpeculation, CancelledAnywhereAndWhatACallbackThrows) {
  for (const Speculation kind : kKinds) {
    for (const uint32_t after : {1u, 2u, 9u, 30u, 77u}) {
      Fixture f;
      uint32_t heard = 0;
      auto stops = request(kind, 60, 300), throws = request(kind, 70, 300), cancels = request(kind, 80, 300);
      const auto fine = request(kind, 90, 150);
      stops.token = [&heard, after](const TokenEvent&) { return ++heard < after; };
      throws.token = [told = 0u, after](const TokenEvent&) mutable -> bool {
        if (++told == after) throw std::runtime_error("mine");
        return true;
      };
      std::atomic<uint32_t> count{0};
      cancels.options.cancelled = [&] { return count >= after; };
      cancels.token = [&](const TokenEvent&) {
        ++count;
        return true;
      };
      auto a = f.scheduler->submit(stops), b = f.scheduler->submit(throws), c = f.scheduler->submit(cancels),
           d = f.scheduler->submit(fine);
      const Result stopped = a.wait();
      EXPECT_EQ(stopped.finish, FinishReason::cancelled);
      EXPECT_EQ(stopped.tokens.size(), after);
      EXPECT_THROW(b.wait(), std::runtime_error);
      const Result cancelled = c.wait();
      EXPECT_EQ(cancelled.finish, FinishReason::cancelled);
      EXPECT_GE(cancelled.tokens.size(), after);
      EXPECT_LT(cancelled.tokens.size(), after + 8);
      EXPECT_EQ(d.wait().tokens, Fixture::alone(fine).tokens);
    }
  }
}

TEST(SchedulerSpeculation, ATicketIsCancelledBetweenTokensOfAStep) {
  Fixture f;
  auto one = request(Speculation::lookup, 60, 500);
  std::promise<Scheduler::Ticket*> ticket;
  auto its = ticket.get_future().share();
  one.token = [&, heard = 0](const TokenEvent&) mutable {
    if (++heard == 40) its.get()->cancel();
    return true;
  };
  auto made = f.scheduler->submit(one);
  ticket.set_value(&made);
  const Result result = made.wait();
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(result.tokens.size(), 40u);
}

TEST(SchedulerSpeculation, WhatIsKeptOfAnAnswerIsRight) {
  Fixture f;
  auto one = request(Speculation::lookup, 60, 200);
  const Result first = f.scheduler->submit(one).wait();
  auto next = one;
  next.prompt.insert(next.prompt.end(), first.tokens.begin(), first.tokens.end());
  next.prompt.insert(next.prompt.end(), {'q', 'r'});
  const Result second = f.scheduler->submit(next).wait();
  EXPECT_GT(second.statistics.cached_tokens, 100u);
  EXPECT_EQ(second.tokens, Fixture::alone(next).tokens);
}

TEST(SchedulerSpeculation, ADraftReadsOfAPromptWhatIsNew) {
  Fixture f;
  auto read = [&, before = uint32_t{0}]() mutable {
    return f.small->forwarded() - std::exchange(before, f.small->forwarded());
  };
  auto one = request(Speculation::draft, 500, 60);
  for (size_t i = 0; i < one.prompt.size(); i += 7) one.prompt[i] = static_cast<Token>('A' + i % 23);
  const Result first = f.scheduler->submit(one).wait();
  const uint32_t all = read();
  ASSERT_GE(all, 500u);
  EXPECT_EQ(f.scheduler->submit(one).wait().tokens, first.tokens);
  EXPECT_LE(read(), all - 440) << "7 blocks of 64 are kept";
  // … and what was read of the answer, for a prompt that goes on from there.
  auto next = one;
  next.prompt.insert(next.prompt.end(), first.tokens.begin(), first.tokens.end());
  next.prompt.insert(next.prompt.end(), 20, '!');
  EXPECT_EQ(f.scheduler->submit(next).wait().tokens, Fixture::alone(next).tokens);
  EXPECT_LE(read(), all + 90 - 512);
  auto other = one;
  other.prompt.front() = '!';
  f.scheduler->submit(other).wait();
  EXPECT_GE(read(), 500u) << "of another prompt nothing is there";
}

TEST(SchedulerSpeculation, ADraftKeepsNothingWhereNothingIsKept) {
  Fixture f({.kept_bytes = 0});
  f.small->bytes_of_token = f.engine->bytes_of_token = 1;
  const auto one = request(Speculation::draft, 500, 60);
  const Result first = f.scheduler->submit(one).wait();
  const uint32_t all = f.small->forwarded();
  EXPECT_EQ(f.scheduler->submit(one).wait().tokens, first.tokens);
  EXPECT_GE(f.small->forwarded() - all, 500u);
  EXPECT_EQ(f.scheduler->status().kept_bytes, 0u);
}

TEST(SchedulerSpeculation, ADraftsPrefixesKeepWithinTheBudget) {
  Fixture f({.kept_bytes = 1500});
  f.small->bytes_of_token = f.engine->bytes_of_token = 1;
  for (int i = 0; i < 6; ++i) {
    auto one = request(Speculation::draft, 300 + 40 * i, 100);
    one.prompt.front() = 'A' + i;
    f.scheduler->submit(one).wait();
    EXPECT_LE(f.scheduler->status().kept_bytes, 1500u) << i;
    EXPECT_GE(f.scheduler->status().kept_bytes, 640u) << i;
  }
}

TEST(SchedulerSpeculation, GuessesAreWorthNoPage) {
  for (const Speculation kind : kKinds) {
    Fixture f;
    f.engine->most = 160;
    auto one = request(kind, 60, 300);
    std::atomic<uint32_t> heard{0};
    one.token = [&](const TokenEvent&) {
      ++heard;
      return true;
    };
    auto ticket = f.scheduler->submit(one);
    try {
      ticket.wait();
      ADD_FAILURE() << "there was room";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
    }
    EXPECT_EQ(heard, 101u);  // as many as without guesses: the last one says what follows the last position
  }
}

TEST(SchedulerSpeculation, AStepThatFailsIsItsOwners) {
  for (const Speculation kind : kKinds) {
    Fixture f;
    f.engine->on_token = [](const std::vector<int32_t>& tokens) {
      if (tokens.front() == '!' && tokens.size() == 130) fail(ErrorCode::io, "gone");
    };
    auto bad = request(kind, 60, 300);
    bad.prompt.front() = '!';
    const auto fine = request(kind, 70, 200);
    auto a = f.scheduler->submit(bad), b = f.scheduler->submit(fine);
    EXPECT_THROW(a.wait(), Error);
    EXPECT_EQ(b.wait().tokens, Fixture::alone(fine).tokens);
  }
}

TEST(SchedulerSpeculation, RefusesAtOnceWhatCannotBeGuessed) {
  auto engine = std::make_shared<fake::Engine>(260, 1024, 256, recital);
  Scheduler scheduler(engine, std::make_shared<fake::Tokenizer>());
  expect_error(ErrorCode::invalid_argument, "needs a small model",
               [&] { scheduler.submit(request(Speculation::draft, 5, 5)); });
  expect_error(ErrorCode::invalid_argument, "no stack",
               [&] { scheduler.submit(request(Speculation::self, 5, 5)); });
}

TEST(SchedulerSpeculation, DestroyedItCancelsAll) {
  std::vector<Scheduler::Ticket> tickets;
  {
    Fixture f;
    for (const Speculation kind : kKinds) tickets.push_back(f.scheduler->submit(request(kind, 100, 900)));
  }
  for (auto& ticket : tickets) EXPECT_EQ(ticket.wait().finish, FinishReason::cancelled);
}

}  // namespace
}  // namespace cairn::llm
