// --request-timeout: answers that take too long, in the queue as well.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_model.hpp"
#include "running_server.hpp"
#include "server/api.hpp"

namespace cairn::server {
namespace {

using testing::HasSubstr;

TEST(RequestTimeout, EndsWhatTakesTooLong) {
  std::atomic<int> alive{0};
  const auto engine = std::make_shared<FakeModelEngine>(alive);
  ModelSource source;
  source.name = "slow";
  source.load = [&] {
    auto model = fake_model("slow", engine);
    model->answer_time = std::chrono::seconds(1);
    return model;
  };
  Api api(std::vector{source}, {});
  RunningServer server([&](HttpRequest request, const std::shared_ptr<Reply>& reply) {
    api.handle(std::move(request), reply);
  });
  const std::string body = R"({"prompt": "x", "max_tokens": 4)";
  EXPECT_EQ(Client(server.port()).ask("POST", "/v1/completions", body + "}").status, 200);
  engine->closed = true;
  Client whole(server.port()), streamed(server.port()), vectors(server.port());
  vectors.request("POST", "/v1/embeddings", R"({"input": "x"})");
  whole.request("POST", "/v1/completions", body + "}");
  streamed.request("POST", "/v1/completions", body + R"(, "stream": true})");
  const Response late = whole.read();
  EXPECT_EQ(late.status, 504);
  EXPECT_EQ(late.json()["error"]["code"], "timeout");
  EXPECT_THAT(late.body, HasSubstr("not whole after 1 seconds"));
  EXPECT_EQ(vectors.read().status, 504);
  EXPECT_EQ(streamed.read(false).status, 200);
  EXPECT_THAT(streamed.read_event(), HasSubstr("timeout"));
  EXPECT_EQ(streamed.read_event(), "");
  engine->closed = false;
  EXPECT_EQ(Client(server.port()).ask("POST", "/v1/completions", body + "}").status, 200);
}

}  // namespace
}  // namespace cairn::server
