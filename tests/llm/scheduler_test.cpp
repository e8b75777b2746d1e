#include "llm/scheduler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "base/error.hpp"
#include "fake_engine.hpp"
#include "fake_tokenizer.hpp"

namespace cairn::llm {
namespace {

using testing::HasSubstr;

constexpr uint32_t kVocabulary = 300, kChunk = 256;

// A hash of all tokens so far: a token too many or too few anywhere changes every later answer.
int32_t hashed(const std::vector<int32_t>& sequence) {
  uint32_t hash = 2166136261u;
  for (const int32_t token : sequence) hash = (hash ^ static_cast<uint32_t>(token)) * 16777619u;
  return static_cast<int32_t>('a' + (hash >> 8) % 26);
}

// Keeps a record of all steps, and has a limit on all sequences' tokens.
class Engine : public fake::Engine {
 public:
  explicit Engine(uint32_t context = 4096) : fake::Engine(kVocabulary, context, kChunk, hashed) {
    cancels = true;
  }
  std::unique_ptr<engine::Sequence> make_sequence() override { return std::make_unique<Counted>(*this); }
  using engine::Engine::step;
  void step(std::span<const engine::Slice> slices, const engine::Cancelled& cancelled) override {
    std::vector<uint32_t> sizes;
    for (const engine::Slice& slice : slices) sizes.push_back(static_cast<uint32_t>(slice.tokens.size()));
    if (before_step) before_step(slices);
    engine::throw_if(cancelled);
    fake::Engine::step(slices, cancelled);
    steps.push_back(std::move(sizes));
  }
  void reserve(engine::Sequence& sequence, uint32_t tokens) override {
    auto& counted = dynamic_cast<Counted&>(sequence);
    if (held + tokens > most) fail(ErrorCode::out_of_memory, "no room for {} more", tokens);
    held += tokens;
    counted.held += tokens;
  }
  uint64_t kv_bytes() const override { return held; }

  std::vector<std::vector<uint32_t>> steps;  // sizes of the slices
  std::function<void(std::span<const engine::Slice>)> before_step;
  std::atomic<uint64_t> held{0}, most{std::numeric_limits<uint64_t>::max()};  // tokens' room

 private:
  // A sequence whose room goes back with it.
  class Counted : public fake::Sequence {
   public:
    explicit Counted(Engine& engine) : engine_(&engine) {}
    Counted(const Counted& other) : fake::Sequence(other), held(other.tokens.size()), engine_(other.engine_) {
      engine_->held += held;
    }
    ~Counted() override { engine_->held -= held; }
    uint32_t truncate(uint32_t length) override {
      const uint32_t left = fake::Sequence::truncate(length);
      if (held > left) {
        engine_->held -= held - left;
        held = left;
      }
      return left;
    }
    std::unique_ptr<engine::Sequence> fork() const override { return std::make_unique<Counted>(*this); }
    uint64_t bytes() const override { return held; }
    uint64_t held = 0;

   private:
    Engine* engine_;
  };
};

std::vector<Token> prompt(size_t size, char first = 'a') {
  std::vector<Token> tokens;
  for (size_t i = 0; i < size; ++i) tokens.push_back('a' + static_cast<Token>((first + i * i) % 26));
  return tokens;
}

Request request(std::vector<Token> tokens, uint32_t most = 20) {
  Request made;
  made.prompt = std::move(tokens);
  made.options.max_tokens = most;
  made.options.sampler.temperature = 0;
  return made;
}

struct Fixture {
  explicit Fixture(SchedulerOptions options = {}, uint32_t context = 4096)
      : engine(std::make_shared<Engine>(context)), scheduler(engine, tokenizer(), std::move(options)) {}
  static std::shared_ptr<const text::Tokenizer> tokenizer() {
    return std::make_shared<fake::Tokenizer>(std::vector<std::string>(kVocabulary - 260, "xy"));
  }
  // What a session answers.
  static Result alone(const Request& one) {
    Session session(std::make_shared<Engine>(), tokenizer());
    return session.generate(one.prompt, one.options);
  }

  std::shared_ptr<Engine> engine;
  Scheduler scheduler;
};

ErrorCode code_of(Scheduler::Ticket ticket, std::string* text = nullptr) {
  try {
    ticket.wait();
  } catch (const Error& error) {
    if (text != nullptr) *text = error.what();
    return error.code();
  }
  ADD_FAILURE() << "no error";
  return ErrorCode::io;
}

// Holds the worker in a step until it is let go.
class Gate {
 public:
  explicit Gate(Engine& engine) {
    engine.before_step = [this](auto) {
      if (!first_.exchange(false)) return;
      reached_.set_value();
      open_.get_future().wait();
    };
  }
  void wait() { reached_.get_future().wait(); }
  void open() { open_.set_value(); }

 private:
  std::atomic<bool> first_{true};
  std::promise<void> reached_, open_;
};

TEST(Scheduler, AnswersWhatASessionAnswersAloneAndAmongOthers) {
  Fixture f;
  std::vector<Request> requests;
  for (const size_t size : {1, 7, 64, 65, 130, 300, 700, 1000, 3}) {
    requests.push_back(request(prompt(size, static_cast<char>('a' + size % 7)), 30));
    if (size == 130)
      requests.back().options.stop = {std::string(1, static_cast<char>(hashed(requests.back().prompt)))};
  }
  std::vector<Scheduler::Ticket> tickets;
  for (const Request& one : requests) tickets.push_back(f.scheduler.submit(one));
  for (size_t i = 0; i < requests.size(); ++i) {
    const Result expected = Fixture::alone(requests[i]), got = tickets[i].wait();
    EXPECT_EQ(got.tokens, expected.tokens) << i;
    EXPECT_EQ(got.text, expected.text) << i;
    EXPECT_EQ(got.finish, expected.finish) << i;
    EXPECT_EQ(got.stop, expected.stop) << i;
    EXPECT_EQ(got.statistics.decode_tokens, expected.statistics.decode_tokens) << i;
  }
  const SchedulerStatus status = f.scheduler.status();
  EXPECT_EQ(status.waiting, 0u);
  EXPECT_EQ(status.running, 0u);
}

TEST(Scheduler, ALongPromptStopsNobodysTokens) {
  Fixture f;
  auto talker = request(prompt(10), 400);
  std::promise<void> talks, goes_on;
  std::atomic<int> heard{0};
  talker.token = [&](const TokenEvent&) {
    if (++heard == 5) {
      talks.set_value();
      goes_on.get_future().wait();
    }
    return true;
  };
  auto first = f.scheduler.submit(talker);
  talks.get_future().wait();
  auto second = f.scheduler.submit(request(prompt(3000, 'c'), 1));
  goes_on.set_value();
  second.wait();
  first.wait();
  uint32_t pieces = 0;
  for (const auto& step : f.engine->steps) {
    const uint32_t longest = *std::max_element(step.begin(), step.end());
    if (longest == 1 || step == std::vector<uint32_t>{10}) continue;
    ++pieces;
    EXPECT_EQ(step.size(), 2u);  // the talker's token is in every step that reads the prompt
    EXPECT_LE(longest, 128u);
  }
  EXPECT_GE(pieces, 3000u / 128);
}

TEST(Scheduler, PromptsAreReadInTurns) {
  Fixture f;
  Gate gate(*f.engine);
  auto held = f.scheduler.submit(request(prompt(3), 1));
  gate.wait();
  auto long_one = f.scheduler.submit(request(prompt(2500, 'b'), 1));
  auto short_one = f.scheduler.submit(request(prompt(200, 'c'), 1));
  gate.open();
  short_one.wait();
  long_one.wait();
  held.wait();
  uint32_t before = 0;
  for (const auto& step : f.engine->steps) {
    if (std::find(step.begin(), step.end(), 200u) != step.end()) break;
    ++before;
  }
  EXPECT_LE(before, 2u);  // the held one's, and one piece of the long prompt
}

TEST(Scheduler, GreaterPriorityIsBegunFirst) {
  SchedulerOptions options;
  options.sequences = 1;
  Fixture f(options);
  Gate gate(*f.engine);
  auto held = f.scheduler.submit(request(prompt(3), 1));
  gate.wait();
  std::vector<int> order;
  std::promise<void> all;
  std::vector<Scheduler::Ticket> tickets;
  for (const int priority : {0, 1, 0, 2}) {
    auto one = request(prompt(5), 2);
    one.priority = priority;
    one.finished = [&, priority] {
      order.push_back(priority);
      if (order.size() == 4) all.set_value();
    };
    tickets.push_back(f.scheduler.submit(one));
  }
  gate.open();
  for (auto& ticket : tickets) ticket.wait();
  held.wait();
  all.get_future().wait();
  EXPECT_THAT(order, testing::ElementsAre(2, 1, 0, 0));
}

TEST(Scheduler, AFullQueueRefuses) {
  SchedulerOptions options;
  options.sequences = 1;
  options.queue = 2;
  Fixture f(options);
  Gate gate(*f.engine);
  auto held = f.scheduler.submit(request(prompt(3), 1));
  gate.wait();
  auto a = f.scheduler.submit(request(prompt(4))), b = f.scheduler.submit(request(prompt(5)));
  try {
    f.scheduler.submit(request(prompt(6)));
    ADD_FAILURE() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::busy);
    EXPECT_THAT(error.what(), HasSubstr("2 requests wait already"));
  }
  gate.open();
  a.wait();
  b.wait();
}

TEST(Scheduler, RefusesAtOnceWhatCannotBe) {
  Fixture f({}, 100);
  EXPECT_THROW(f.scheduler.submit(request(prompt(101))), Error);
  EXPECT_THROW(f.scheduler.submit(request({'a', 5000})), Error);
  auto hot = request(prompt(3));
  hot.options.sampler.temperature = -1;
  EXPECT_THROW(f.scheduler.submit(hot), Error);
  EXPECT_THROW(Scheduler(f.engine, Fixture::tokenizer(), {.sequences = 0}), Error);
  EXPECT_EQ(f.scheduler.submit(request(prompt(98), 50)).wait().tokens.size(), 3u);  // the context's end
}

TEST(Scheduler, CancelsInEveryState) {
  SchedulerOptions options;
  options.sequences = 2;
  Fixture f(options);
  // Callbacks hold the scheduler's thread until the next request is there.
  std::promise<void> talks, reader_is_there, reads, all_cancelled;
  std::atomic<int> heard{0};
  auto talker = request(prompt(10), 3000);
  talker.token = [&](const TokenEvent&) {
    if (++heard == 3) {
      talks.set_value();
      reader_is_there.get_future().wait();
    }
    return true;
  };
  auto decodes = f.scheduler.submit(talker);
  talks.get_future().wait();
  std::atomic<bool> told{false};
  auto reader = request(prompt(4000, 'b'), 5);
  reader.options.progress = [&](uint32_t, uint32_t) {
    if (told.exchange(true)) return;
    reads.set_value();
    all_cancelled.get_future().wait();
  };
  auto prefills = f.scheduler.submit(reader);
  reader_is_there.set_value();
  reads.get_future().wait();
  auto queued = f.scheduler.submit(request(prompt(20), 5));
  EXPECT_EQ(f.scheduler.status().waiting, 1u);
  EXPECT_EQ(f.scheduler.status().running, 2u);
  queued.cancel();
  prefills.cancel();
  decodes.cancel();
  all_cancelled.set_value();
  EXPECT_EQ(queued.wait().finish, FinishReason::cancelled);
  const Result half = prefills.wait();
  EXPECT_EQ(half.finish, FinishReason::cancelled);
  EXPECT_LT(half.statistics.prefill_tokens, 4000u);
  const Result some = decodes.wait();
  EXPECT_EQ(some.finish, FinishReason::cancelled);
  EXPECT_GE(some.tokens.size(), 3u);
  EXPECT_EQ(f.scheduler.submit(request(prompt(20), 5)).wait().tokens.size(), 5u);
}

TEST(Scheduler, ACancelledPromptLeavesItsStepAtOnce) {
  Fixture f;
  std::promise<void> inside;
  std::atomic<bool> first{true};
  std::atomic<Scheduler::Ticket*> ticket{nullptr};
  f.engine->on_token = [&](const std::vector<int32_t>& tokens) {
    if (tokens.size() != 30 || !first.exchange(false)) return;
    while (ticket == nullptr) std::this_thread::yield();
    ticket.load()->cancel();
  };
  auto made = f.scheduler.submit(request(prompt(250), 5));
  ticket = &made;
  const Result result = made.wait();
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(result.statistics.prefill_tokens, 0u);
}

TEST(Scheduler, DestroyedItCancelsAll) {
  std::vector<Scheduler::Ticket> tickets;
  {
    Fixture f({.sequences = 2});
    for (int i = 0; i < 6; ++i) tickets.push_back(f.scheduler.submit(request(prompt(100), 3500)));
  }
  for (auto& ticket : tickets) EXPECT_EQ(ticket.wait().finish, FinishReason::cancelled);
}

TEST(Scheduler, WhatACallbackThrowsIsItsRequestsAlone) {
  Fixture f;
  auto throws = request(prompt(10), 50);
  throws.token = [](const TokenEvent&) -> bool { throw std::runtime_error("mine"); };
  auto reports = request(prompt(10, 'd'), 50);
  reports.options.progress = [](uint32_t, uint32_t) { throw std::runtime_error("mine too"); };
  auto stops = request(prompt(10, 'e'), 50);
  stops.token = [](const TokenEvent&) { return false; };
  const auto fine = request(prompt(10, 'f'), 50);
  auto a = f.scheduler.submit(throws), b = f.scheduler.submit(reports), c = f.scheduler.submit(stops),
       d = f.scheduler.submit(fine);
  EXPECT_THROW(a.wait(), std::runtime_error);
  EXPECT_THROW(b.wait(), std::runtime_error);
  EXPECT_EQ(c.wait().finish, FinishReason::cancelled);
  EXPECT_EQ(d.wait().tokens, Fixture::alone(fine).tokens);
}

TEST(Scheduler, AnErrorOfAStepIsWhoseItIs) {
  Fixture f;
  f.engine->on_token = [](const std::vector<int32_t>& tokens) {
    if (tokens.front() == 'z' && tokens.size() == 15) fail(ErrorCode::io, "gone");
  };
  auto bad = request(prompt(10), 50);
  bad.prompt.front() = 'z';
  const auto fine = request(prompt(12, 'f'), 50);
  auto a = f.scheduler.submit(bad), b = f.scheduler.submit(fine);
  EXPECT_EQ(code_of(a), ErrorCode::io);
  EXPECT_EQ(b.wait().tokens, Fixture::alone(fine).tokens);
}

TEST(Scheduler, NumbersThatAreNoneAreTold) {
  Fixture f;
  f.engine->on_logits = [](float* logits) { logits[7] = std::numeric_limits<float>::quiet_NaN(); };
  std::string text;
  EXPECT_EQ(code_of(f.scheduler.submit(request(prompt(10))), &text), ErrorCode::numeric);
  EXPECT_THAT(text, HasSubstr("token 7 after position 9"));
}

TEST(Scheduler, WhoGetsNoPagesWaitsOrIsTold) {
  Fixture f({.kept_bytes = 0});
  f.engine->most = 500;
  const auto big = request(prompt(600, 'b'), 5), fine = request(prompt(100, 'c'), 100);
  auto a = f.scheduler.submit(fine), b = f.scheduler.submit(big);
  auto c = f.scheduler.submit(request(prompt(300, 'd'), 100));  // begun when there is room again
  std::string text;
  EXPECT_EQ(code_of(b, &text), ErrorCode::out_of_memory);
  EXPECT_THAT(text, HasSubstr("no room for"));
  EXPECT_EQ(a.wait().tokens, Fixture::alone(fine).tokens);
  EXPECT_EQ(c.wait().tokens, Fixture::alone(request(prompt(300, 'd'), 100)).tokens);
}

TEST(Scheduler, ALimitOfItsOwnHoldsToo) {
  Fixture f({.kv_bytes = 200, .kept_bytes = 0});
  std::string text;
  EXPECT_EQ(code_of(f.scheduler.submit(request(prompt(300), 5)), &text), ErrorCode::out_of_memory);
  EXPECT_THAT(text, HasSubstr("keys and values may take 200 bytes in all"));
  EXPECT_EQ(f.scheduler.submit(request(prompt(100), 5)).wait().tokens.size(), 5u);
}

TEST(Scheduler, RoomThatShrinksInTheMiddleStopsOnlyWhoAsks) {
  Fixture f({.kept_bytes = 0});
  auto shrinks = request(prompt(100), 200);
  std::atomic<int> heard{0};
  shrinks.token = [&](const TokenEvent&) {
    if (++heard == 50) f.engine->most = 0;
    return true;
  };
  EXPECT_EQ(code_of(f.scheduler.submit(shrinks)), ErrorCode::out_of_memory);
  EXPECT_EQ(heard, 50);
  f.engine->most = 1000;
  EXPECT_EQ(f.scheduler.submit(request(prompt(100), 5)).wait().tokens.size(), 5u);
}

TEST(Scheduler, EqualPrefixesAreReadOnce) {
  Fixture f;
  auto first = request(prompt(700), 40);
  f.scheduler.submit(first).wait();
  auto second = first;
  second.prompt.resize(500);
  second.prompt.back() = '!';
  const Result got = f.scheduler.submit(second).wait();
  EXPECT_EQ(got.statistics.cached_tokens, 448u);  // whole blocks of 64
  EXPECT_EQ(got.tokens, Fixture::alone(second).tokens);
  auto follows = first;  // a chat's next turn: the answer is there too
  const Result answer = Fixture::alone(first);
  follows.prompt.insert(follows.prompt.end(), answer.tokens.begin(), answer.tokens.end());
  for (const Token token : prompt(30, 'x')) follows.prompt.push_back(token);
  const Result next = f.scheduler.submit(follows).wait();
  EXPECT_EQ(next.statistics.cached_tokens, 704u);
  EXPECT_EQ(next.tokens, Fixture::alone(follows).tokens);
  EXPECT_EQ(f.scheduler.status().cached_tokens, 448u + 704u);
}

TEST(Scheduler, KeptPrefixesGoBeforeAnybodyWaits) {
  Fixture f;
  f.engine->most = 1000;
  for (const char first : {'a', 'b', 'c', 'd', 'e'}) {
    const auto one = request(prompt(400, first), 5);
    EXPECT_EQ(f.scheduler.submit(one).wait().tokens, Fixture::alone(one).tokens);
  }
  EXPECT_LE(f.engine->held.load(), 1000u);
}

TEST(Scheduler, ManyThreadsSubmit) {
  Fixture f({.sequences = 4});
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 8; ++i) {
        const auto one = request(prompt(static_cast<size_t>(20 + 30 * i), static_cast<char>('a' + t)), 10);
        auto ticket = f.scheduler.submit(one);
        if (i % 4 == 3) {
          ticket.cancel();
          ticket.wait();
        } else {
          EXPECT_EQ(ticket.wait().tokens, Fixture::alone(one).tokens);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Scheduler, ACallbackMaySubmit) {
  Fixture f;
  std::promise<Scheduler::Ticket> follows;
  auto one = request(prompt(10), 5);
  one.finished = [&] { follows.set_value(f.scheduler.submit(request(prompt(12), 5))); };
  f.scheduler.submit(one).wait();
  EXPECT_EQ(follows.get_future().get().wait().tokens.size(), 5u);
}

}  // namespace
}  // namespace cairn::llm
