// /v1/embeddings. The fake engine's states are [token, length, token, length].
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "api_fixture.hpp"
#include "base/temporary_folder.hpp"
#include "formats/gguf.hpp"
#include "formats/gguf_writer.hpp"
#include "llm/pooling.hpp"

namespace cairn::server {
namespace {

using llm::Pool;
using llm::Pooling;
using llm::pooling_of;

using ::testing::ElementsAre;
using ::testing::FloatEq;

std::vector<float> normalised(std::vector<double> vector) {
  double squares = 0;
  for (const double one : vector) squares += one * one;
  std::vector<float> result;
  for (const double one : vector) result.push_back(static_cast<float>(one / std::sqrt(squares)));
  return result;
}

TEST(Embeddings, AreTheMeanOfTheStates) {
  Fixture fixture;
  const Response response = fixture.ask("/v1/embeddings", {{"model", "tiny"}, {"input", "ab"}});
  ASSERT_EQ(response.status, 200) << response.body;
  const Json answer = response.json();
  EXPECT_EQ(answer["object"], "list");
  EXPECT_EQ(answer["model"], "tiny");
  EXPECT_EQ(answer["data"][0]["object"], "embedding");
  EXPECT_EQ(answer["usage"], Json({{"prompt_tokens", 3}, {"total_tokens", 3}}));  // with BOS
  const double token = (256 + 'a' + 'b') / 3.0, length = (1 + 2 + 3) / 3.0;
  const auto expected = normalised({token, length, token, length});
  const auto found = answer["data"][0]["embedding"].get<std::vector<float>>();
  ASSERT_EQ(found.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(found[i], expected[i]);

  const Json cut = fixture.ask("/v1/embeddings", {{"input", "ab"}, {"dimensions", 2}}).json();
  const auto shorter = cut["data"][0]["embedding"].get<std::vector<float>>();
  EXPECT_THAT(shorter,
              ElementsAre(FloatEq(normalised({token, length})[0]), FloatEq(normalised({token, length})[1])));
}

// More than are read at a time, in their order; ids as they are.
TEST(Embeddings, OfManyInputsComeInTheirOrder) {
  Fixture fixture;
  Json inputs = Json::array();
  for (int i = 0; i < 50; ++i) inputs.push_back(Json::array({'a' + i}));
  const Json answer = fixture.ask("/v1/embeddings", {{"input", inputs}}).json();
  ASSERT_EQ(answer["data"].size(), 50u) << answer;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(answer["data"][i]["index"], i);
    const auto found = answer["data"][i]["embedding"].get<std::vector<float>>();
    EXPECT_FLOAT_EQ(found[0] / found[1], static_cast<float>('a' + i));
  }
  EXPECT_EQ(answer["usage"]["total_tokens"], 50);
}

TEST(Embeddings, ComeInBase64) {
  Fixture fixture;
  const Json body = {{"input", {{7}}}, {"encoding_format", "base64"}};
  const std::string text = fixture.ask("/v1/embeddings", body).json()["data"][0]["embedding"];
  // base64.b64encode(numpy.array([7, 1, 7, 1]) / 10).astype('<f4')
  EXPECT_EQ(text, "MzMzP83MzD0zMzM/zczMPQ==");
}

TEST(Embeddings, EndWhenTheClientLeaves) {
  Fixture fixture;
  fixture.engine->closed = true;
  Client client(fixture.port());
  client.request("POST", "/v1/embeddings", Json({{"input", {"a", "b", "c"}}}).dump());
  while (fixture.engine->steps == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  client.leave();
  EXPECT_TRUE(fixture.wait_for("cairn_requests_running", 0));
  EXPECT_TRUE(fixture.wait_for("cairn_clients_gone_total", 1));
}

// With a queue of one: the first request has the only place, and its other texts follow in it.
TEST(Embeddings, AreTakenWholeOrNotAtAll) {
  llm::SchedulerOptions narrow;
  narrow.sequences = narrow.queue = 1;
  Fixture fixture({}, narrow);
  Json inputs = Json::array();
  for (int i = 0; i < 30; ++i) inputs.push_back(Json::array({'a' + i}));
  const Json body = {{"input", inputs}};
  fixture.engine->closed = true;
  Client runs(fixture.port()), waits(fixture.port());
  runs.request("POST", "/v1/completions", R"({"prompt": "x"})");
  ASSERT_TRUE(fixture.wait_for("cairn_requests_running", 1));
  waits.request("POST", "/v1/embeddings", body.dump());
  ASSERT_TRUE(fixture.wait_for("cairn_requests_waiting", 8));
  const Response refused = fixture.ask("/v1/embeddings", body);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.json()["error"]["code"], "queue_full");
  fixture.engine->closed = false;
  EXPECT_EQ(runs.read().status, 200);
  const Response whole = waits.read();
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.json()["data"].size(), 30u);
}

TEST(Embeddings, TellOfNoMemory) {
  Fixture fixture;
  fixture.engine->full = true;
  EXPECT_EQ(fixture.ask("/v1/embeddings", {{"input", {"a", "b"}}}).status, 503);
}

TEST(Pool, TakesTheLastOrTheMean) {
  const std::vector<float> first = {1, 0, 3, 0}, second = {0, 8};
  Pool last(Pooling::last, 2), mean(Pooling::mean, 2);
  for (Pool* pool : {&last, &mean}) {
    pool->add(0, std::vector<float>{9, 9});  // a beginning that was given up
    pool->add(0, first);
    pool->add(2, second);
  }
  EXPECT_THAT(last.result(2), ElementsAre(0, 1));
  EXPECT_THAT(mean.result(2), ElementsAre(FloatEq(0.447213595f), FloatEq(0.894427191f)));  // (4, 8)
  EXPECT_THAT(Pool(Pooling::mean, 2).result(2), ElementsAre(0, 0));
}

TEST(Pooling, IsWhatTheFileSays) {
  const testing::TemporaryFolder folder;
  const auto of = [&](std::optional<uint32_t> type) {
    const std::string path = folder / "model.gguf";
    gguf::Writer writer;
    writer.set("general.architecture", std::string("llama"));
    if (type) writer.set("llama.pooling_type", *type);
    writer.write(path, {});
    return pooling_of(gguf::File(path));
  };
  EXPECT_EQ(of(std::nullopt), Pooling::mean);
  EXPECT_EQ(of(0), Pooling::mean);
  EXPECT_EQ(of(1), Pooling::mean);
  EXPECT_EQ(of(2), Pooling::first);
  EXPECT_EQ(of(3), Pooling::last);
  EXPECT_EQ(of(4), std::nullopt);  // a score of two texts
}

}  // namespace
}  // namespace cairn::server
