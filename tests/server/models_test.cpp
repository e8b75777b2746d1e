// Models by name: on demand, one for the other, and never while they are used.
#include "server/models.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <map>

#include "base/error.hpp"
#include "fake_model.hpp"
#include "server/api_error.hpp"

namespace cairn::server {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

class ModelsTest : public testing::Test {
 protected:
  ModelSource source(const std::string& name) {
    ModelSource one;
    one.name = name;
    one.load = [this, name]() -> std::shared_ptr<ServedModel> {
      ++loads;
      while (slow) std::this_thread::sleep_for(1ms);
      if (broken) fail(ErrorCode::not_found, "{}.gguf: cannot open: No such file or directory", name);
      if (no_memory > 0 && no_memory-- > 0) fail(refusal, "no room");
      ++alive;
      return fake_model(name, {new Engine, [this](const Engine* engine) {
                                 delete engine;
                                 --alive;
                               }});
    };
    return one;
  }
  std::unique_ptr<Models> make(const std::vector<std::string>& names, ModelsOptions options = {}) {
    std::vector<ModelSource> sources;
    for (const std::string& name : names) sources.push_back(source(name));
    return std::make_unique<Models>(std::move(sources), std::move(options));
  }
  // Those who ask and get it, or are told.
  static std::future<Models::Lease> ask(Models& models, const std::string& name) {
    auto promise = std::make_shared<std::promise<Models::Lease>>();
    models.use(name, [promise](Models::Lease lease, const std::exception_ptr& error) {
      error ? promise->set_exception(error) : promise->set_value(std::move(lease));
    });
    return promise->get_future();
  }
  static std::map<std::string, std::string> states(const Models& models) {
    std::map<std::string, std::string> all;
    for (const Models::Info& one : models.list()) all[one.name] = name(one.state);
    return all;
  }
  static bool wait_for(const std::function<bool()>& what) {
    for (int i = 0; i < 5000; ++i, std::this_thread::sleep_for(1ms)) {
      if (what()) return true;
    }
    return false;
  }

  std::atomic<int> alive{0}, loads{0}, no_memory{0};
  std::atomic<ErrorCode> refusal{ErrorCode::out_of_memory};
  std::atomic<bool> slow{false}, broken{false};
};

using States = std::map<std::string, std::string>;

TEST_F(ModelsTest, AreLoadedAtOnceUpToAsManyAsMay) {
  EXPECT_EQ(states(*make({"a", "b"})), (States{{"a", "loaded"}, {"b", "loaded"}}));
  EXPECT_EQ(states(*make({"a", "b"}, {.most = 1})), (States{{"a", "loaded"}, {"b", "unloaded"}}));
  EXPECT_EQ(alive, 0);
}

TEST_F(ModelsTest, OneMakesPlaceForTheOther) {
  const auto models = make({"a", "b"}, {.most = 1});
  EXPECT_EQ(ask(*models, "b").get()->name, "b");
  EXPECT_EQ(states(*models), (States{{"a", "unloaded"}, {"b", "loaded"}}));
  EXPECT_EQ(alive, 1);
  EXPECT_EQ(ask(*models, "a").get()->name, "a");
  EXPECT_EQ(loads, 3);
}

TEST_F(ModelsTest, ABusyOneIsWaitedFor) {
  const auto models = make({"a", "b"}, {.most = 1});
  Models::Lease busy = ask(*models, "a").get();
  auto other = ask(*models, "b");
  EXPECT_EQ(other.wait_for(50ms), std::future_status::timeout);
  EXPECT_EQ(states(*models)["a"], "loaded");
  auto later = ask(*models, "a");  // has to wait until b had its turn, or b would wait for ever
  EXPECT_EQ(later.wait_for(20ms), std::future_status::timeout);
  busy.reset();
  EXPECT_EQ(other.get()->name, "b");
  EXPECT_EQ(later.get()->name, "a");
}

TEST_F(ModelsTest, TheLeastRecentlyUsedGoesFirst) {
  const auto models = make({"a", "b", "c"}, {.most = 2});
  ask(*models, "a").get();
  ask(*models, "c").get();
  EXPECT_EQ(states(*models), (States{{"a", "loaded"}, {"b", "unloaded"}, {"c", "loaded"}}));
}

TEST_F(ModelsTest, OthersGoOnWhileOneIsLoaded) {
  const auto models = make({"a", "b", "c"}, {.most = 2});
  ask(*models, "a").get();  // b is the one that goes
  slow = true;
  auto other = ask(*models, "c");
  ASSERT_TRUE(wait_for([&] { return states(*models)["c"] == "loading"; }));
  EXPECT_EQ(ask(*models, "a").get()->name, "a");  // at once
  EXPECT_EQ(other.wait_for(0ms), std::future_status::timeout);
  slow = false;
  EXPECT_EQ(other.get()->name, "c");
}

TEST_F(ModelsTest, WhoWaitsWhenItStopsIsToldAndWhoComesThen) {
  const auto models = make({"a", "b"}, {.most = 1});
  const Models::Lease busy = ask(*models, "a").get();
  auto waits = ask(*models, "b");
  models->stop();
  EXPECT_THROW(waits.get(), Error);
  EXPECT_THROW(ask(*models, "a"), Error);
  models->stop();
}

TEST_F(ModelsTest, IdleOnesAreUnloaded) {
  const auto models = make({"a", "b"}, {.idle = 30ms});
  const Models::Lease busy = ask(*models, "a").get();
  EXPECT_TRUE(wait_for([&] { return states(*models) == States{{"a", "loaded"}, {"b", "unloaded"}}; }));
  EXPECT_TRUE(wait_for([&] { return alive == 1; }));
  EXPECT_EQ(ask(*models, "b").get()->name, "b");
}

TEST_F(ModelsTest, WhatFailsIsToldAndTriedAgain) {
  const auto models = make({"a", "b"}, {.most = 1});
  broken = true;
  try {
    ask(*models, "b").get();
    FAIL() << "it was loaded";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status(), 503);
    EXPECT_THAT(error.what(), HasSubstr("b cannot be loaded: b.gguf: cannot open"));
  }
  EXPECT_EQ(states(*models)["b"], "failed");
  EXPECT_THAT(models->list()[1].error, HasSubstr("No such file"));
  broken = false;
  EXPECT_EQ(ask(*models, "b").get()->name, "b");
  EXPECT_EQ(states(*models)["b"], "loaded");
}

TEST_F(ModelsTest, IdleOnesGoWhereMemoryIsShort) {
  const auto models = make({"a", "b"}, {.most = 0, .idle = 20ms});
  ASSERT_TRUE(wait_for([&] { return alive == 0; }));
  const Models::Lease a = ask(*models, "a").get();
  no_memory = 1;
  EXPECT_THROW(ask(*models, "b").get(), ApiError);  // a is busy
  EXPECT_EQ(alive, 1);
  const auto three = make({"a", "b", "c"}, {.most = 2});
  no_memory = 1;
  EXPECT_EQ(ask(*three, "c").get()->name, "c");
  EXPECT_EQ(alive, 1 + 1);  // b had to go as well; `models` has one of its own
}

TEST_F(ModelsTest, IdleOnesStayWhereMemoryWouldNotHelp) {
  const auto models = make({"a", "b", "c"}, {.most = 3});
  ask(*models, "c").get()->broken = true;
  no_memory = 1;
  refusal = ErrorCode::invalid_argument;
  EXPECT_THROW(ask(*models, "c").get(), ApiError);
  EXPECT_EQ(states(*models), (States{{"a", "loaded"}, {"b", "loaded"}, {"c", "failed"}}));
}

TEST_F(ModelsTest, OneWhoseFileIsGoneIsLoadedAnew) {
  const auto models = make({"a"});
  ask(*models, "a").get()->broken = true;
  EXPECT_FALSE(ask(*models, "a").get()->broken);  // at once
  EXPECT_EQ(loads, 2);
}

TEST_F(ModelsTest, WhoIsForgottenWaitsForNothing) {
  const auto models = make({"a", "b"}, {.most = 1, .waiting = 2});
  const Models::Lease busy = ask(*models, "a").get();
  bool told = false;
  const uint64_t waiting =
      models->use("b", [&](const Models::Lease&, const std::exception_ptr&) { told = true; });
  std::future<Models::Lease> later;
  do {
    later = ask(*models, "a");
  } while (later.wait_for(20ms) == std::future_status::ready);  // until b is to have the place
  models->forget(waiting);
  EXPECT_EQ(later.get()->name, "a");
  EXPECT_EQ(states(*models), (States{{"a", "loaded"}, {"b", "unloaded"}}));
  models->stop();
  EXPECT_FALSE(told);
  EXPECT_EQ(loads, 1);
}

TEST_F(ModelsTest, TooManyDoNotWait) {
  const auto models = make({"a", "b"}, {.most = 1, .waiting = 2});
  const Models::Lease busy = ask(*models, "a").get();
  auto first = ask(*models, "b"), second = ask(*models, "b");
  EXPECT_THROW(ask(*models, "b"), Error);
}

TEST_F(ModelsTest, WhoWaitsIsToldAtTheEnd) {
  auto models = make({"a", "b"}, {.most = 1});
  Models::Lease busy = ask(*models, "a").get();
  auto other = ask(*models, "b");
  std::thread ends([&] { models->stop(); });
  EXPECT_THROW(other.get(), Error);
  ends.join();
  busy.reset();
  models.reset();
  EXPECT_EQ(alive, 0);
}

TEST_F(ModelsTest, NamesAreOfOneModel) {
  EXPECT_THROW(make({"a", "a"}), Error);
  EXPECT_THROW(ask(*make({"a"}), "b"), Error);
}

// Requests for three models with room for two, from four threads: everybody is answered by the right one.
TEST_F(ModelsTest, TurnsAreTakenUnderLoad) {
  const auto models = make({"a", "b", "c"}, {.most = 2, .idle = 1ms});
  std::vector<std::thread> clients;
  std::atomic<int> right{0};
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&, client] {
      for (int i = 0; i < 100; ++i) {
        const std::string name(1, static_cast<char>('a' + (client + i * i) % 3));
        const Models::Lease lease = ask(*models, name).get();
        if (lease->name == name && alive <= 2) ++right;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(right, 400);
}

}  // namespace
}  // namespace cairn::server
