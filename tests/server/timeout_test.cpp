// --request-timeout: answers that take too long, in the queue and for a model as well.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "api_fixture.hpp"

namespace cairn::server {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

const ApiOptions kASecond = {.access = {}, .models = {}, .answer_time = 1s};

void expect_late(const Response& late) {
  EXPECT_EQ(late.status, 504);
  EXPECT_EQ(late.json()["error"]["code"], "timeout");
  EXPECT_THAT(late.body, HasSubstr("not whole after 1 seconds"));
}

TEST(RequestTimeout, EndsWhatTakesTooLong) {
  Fixture fixture(kASecond);
  const std::string body = R"({"prompt": "x", "max_tokens": 4)";
  EXPECT_EQ(Client(fixture.port()).ask("POST", "/v1/completions", body + "}").status, 200);
  fixture.engine->closed = true;
  Client whole(fixture.port()), streamed(fixture.port()), vectors(fixture.port());
  vectors.request("POST", "/v1/embeddings", R"({"input": "x"})");
  whole.request("POST", "/v1/completions", body + "}");
  streamed.request("POST", "/v1/completions", body + R"(, "stream": true})");
  expect_late(whole.read());
  EXPECT_EQ(vectors.read().status, 504);
  EXPECT_EQ(streamed.read(false).status, 200);
  EXPECT_THAT(streamed.read_event(), HasSubstr("timeout"));
  EXPECT_EQ(streamed.read_event(), "");
  fixture.engine->closed = false;
  EXPECT_EQ(Client(fixture.port()).ask("POST", "/v1/completions", body + "}").status, 200);
}

TEST(RequestTimeout, CountsTheWaitForAModel) {
  std::promise<void> go;
  const std::shared_future<void> may = go.get_future();
  ModelSource there, slow;
  there.name = "there";
  there.load = [] { return fake_model("there", std::make_shared<Engine>()); };
  slow.name = "slow";
  slow.load = [may] {
    may.wait();
    return fake_model("slow", std::make_shared<Engine>());
  };
  ApiOptions options = kASecond;
  options.models.most = 1;
  ServedApi served({there, slow}, options);
  const std::string body = R"({"model": "slow", "prompt": "x"})";
  Client whole(served.port()), streamed(served.port());
  whole.request("POST", "/v1/completions", body);
  streamed.request("POST", "/v1/completions", R"({"model": "slow", "prompt": "x", "stream": true})");
  expect_late(whole.read());
  expect_late(streamed.read());
  go.set_value();
  EXPECT_EQ(Client(served.port()).ask("POST", "/v1/completions", body).status, 200);
  EXPECT_THAT(Client(served.port()).ask("GET", "/metrics").body,
              HasSubstr("cairn_refused_total{path=\"/v1/completions\",status=\"504\"} 2"));
}

}  // namespace
}  // namespace cairn::server
