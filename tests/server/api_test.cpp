#include "server/api.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>

#include "api_fixture.hpp"

namespace cairn::server {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

TEST(Api, AnswersAChat) {
  Fixture fixture;
  const Response response = fixture.ask("/v1/chat/completions", chat({{"unknown", {1, 2}}, {"user", "me"}}));
  ASSERT_EQ(response.status, 200) << response.body;
  const Json json = response.json();
  EXPECT_EQ(json["object"], "chat.completion");
  EXPECT_EQ(json["choices"][0]["message"]["content"], "abcdef");
  EXPECT_EQ(json["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 4);
  EXPECT_EQ(json["usage"]["completion_tokens"], 6);
  EXPECT_EQ(json["usage"]["total_tokens"], 10);
  EXPECT_EQ(json["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
}

TEST(Api, StreamsAChat) {
  Fixture fixture;
  Client client(fixture.port());
  client.request("POST", "/v1/chat/completions",
                 chat({{"stream", true}, {"stream_options", {{"include_usage", true}}}}).dump());
  EXPECT_EQ(client.read(false).headers.at("content-type"), "text/event-stream");
  std::vector<Json> events;
  std::string event;
  while ((event = client.read_event()) != "[DONE]") events.push_back(Json::parse(event));
  EXPECT_EQ(client.read_event(), "");
  ASSERT_EQ(events.size(), 9u);
  EXPECT_EQ(events[0]["choices"][0]["delta"], Json({{"role", "assistant"}, {"content", ""}}));
  std::string text;
  for (size_t i = 1; i < 7; ++i) {
    text += events[i]["choices"][0]["delta"]["content"];
    EXPECT_TRUE(events[i]["choices"][0]["finish_reason"].is_null());
    EXPECT_TRUE(events[i]["usage"].is_null());
    EXPECT_EQ(events[i]["id"], events[0]["id"]);
  }
  EXPECT_EQ(text, "abcdef");
  EXPECT_EQ(events[7]["choices"][0]["delta"], Json::object());
  EXPECT_EQ(events[7]["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(events[8]["choices"], Json::array());
  EXPECT_EQ(events[8]["usage"]["total_tokens"], 10);
  EXPECT_EQ(client.ask("GET", "/health").status, 200);  // on the same connection
}

TEST(Api, CompletesTextsAndTokens) {
  Fixture fixture;
  const Response one = fixture.ask("/v1/completions", {{"prompt", "x"}, {"max_tokens", 2}});
  ASSERT_EQ(one.status, 200) << one.body;
  EXPECT_EQ(one.json()["object"], "text_completion");
  EXPECT_EQ(one.json()["choices"][0]["text"], "ab");
  EXPECT_EQ(one.json()["choices"][0]["finish_reason"], "length");
  const Response many = fixture.ask("/v1/completions", {{"prompt", {{'x', 'a'}, {'y'}}}, {"n", 2}});
  ASSERT_EQ(many.status, 200) << many.body;
  const Json choices = many.json()["choices"];
  ASSERT_EQ(choices.size(), 4u);
  EXPECT_EQ(choices[1]["text"], "bcdef");
  EXPECT_EQ(choices[2]["text"], "abcdef");
  EXPECT_EQ(many.json()["usage"]["prompt_tokens"], 3);
  const Response ids = fixture.ask("/v1/completions", {{"prompt", {'x', 'a', 'b'}}});
  EXPECT_EQ(ids.json()["choices"][0]["text"], "cdef");
}

TEST(Api, StopsAndBiases) {
  Fixture fixture;
  const Response stop = fixture.ask("/v1/chat/completions", chat({{"stop", {"zz", "de"}}}));
  EXPECT_EQ(stop.json()["choices"][0]["message"]["content"], "abc");
  EXPECT_EQ(stop.json()["choices"][0]["finish_reason"], "stop");
  const Response biased = fixture.ask("/v1/chat/completions",
                                      chat({{"logit_bias", {{"122", 100}}}, {"max_completion_tokens", 2}}));
  EXPECT_EQ(biased.json()["choices"][0]["message"]["content"], "zz");
}

// As 64-bit integers, which are more exact than floats.
TEST(Api, TakesAllSeeds) {
  Fixture fixture;
  for (const Json& seed : {Json(INT64_MIN), Json(INT64_MIN + 1), Json(UINT64_MAX), Json(1.0)})
    EXPECT_EQ(fixture.ask("/v1/completions", {{"prompt", "x"}, {"seed", seed}}).status, 200) << seed;
}

TEST(Api, JoinsPartsAndKnowsDevelopers) {
  Fixture fixture;
  const Json parts = {{{"type", "text"}, {"text", "a"}}, {{"type", "text"}, {"text", "b"}}};
  const Json body = {{"messages", {{{"role", "developer"}, {"content", parts}}}}};
  const Response response = fixture.ask("/tokenize", body);
  EXPECT_EQ(response.json()["tokens"], Json({llm::fake::kUser, 'a', '\n', 'b', llm::fake::kAssistant}));
}

TEST(Api, TokenizesAndBack) {
  Fixture fixture;
  const Response there = fixture.ask("/tokenize", {{"prompt", "hi"}});
  EXPECT_EQ(there.json()["tokens"], Json({'h', 'i'}));
  EXPECT_EQ(there.json()["max_model_len"], kContext);
  EXPECT_EQ(fixture.ask("/tokenize", {{"content", "hi"}, {"add_special", true}}).json()["count"], 3);
  EXPECT_EQ(fixture.ask("/detokenize", {{"tokens", {'h', 'i'}}}).json()["prompt"], "hi");
}

TEST(Api, ListsModels) {
  Fixture fixture;
  Client client(fixture.port());
  EXPECT_EQ(client.ask("GET", "/v1/models").json()["data"][0]["id"], "tiny");
  EXPECT_EQ(client.ask("GET", "/v1/models/tiny").json()["object"], "model");
  EXPECT_EQ(client.ask("GET", "/v1/models/other").status, 404);
}

TEST(Api, CountsForPrometheus) {
  Fixture fixture;
  fixture.ask("/v1/chat/completions", chat());
  const std::string text = Client(fixture.port()).ask("GET", "/metrics").body;
  for (const char* line :
       {"# TYPE cairn_generated_tokens_total counter\ncairn_generated_tokens_total{model=\"tiny\"} 6\n",
        "vllm:generation_tokens_total{model_name=\"tiny\"} 6\n",
        "vllm:num_requests_waiting{model_name=\"tiny\"} 0\n",
        "cairn_answers_total{model=\"tiny\",reason=\"stop\"} 1\n",
        "vllm:time_to_first_token_seconds_bucket{model_name=\"tiny\",le=\"+Inf\"} 1\n"})
    EXPECT_THAT(text, HasSubstr(line));
}

TEST(Api, IsHealthyWhileTheEngineIsBusy) {
  Fixture fixture;
  fixture.engine->closed = true;
  Client asks(fixture.port());
  asks.request("POST", "/v1/chat/completions", chat().dump());
  ASSERT_TRUE(fixture.wait_for("cairn_requests_running", 1));
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(Client(fixture.port()).ask("GET", "/health").json()["status"], "ok");
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
  fixture.engine->closed = false;
  EXPECT_EQ(asks.read().status, 200);
}

TEST(Api, EndsTheWorkForAClientThatLeaves) {
  for (const bool stream : {false, true}) {
    Fixture fixture;
    fixture.engine->closed = true;
    Client client(fixture.port());
    client.request("POST", "/v1/chat/completions", chat({{"stream", stream}, {"n", 3}}).dump());
    while (fixture.engine->steps == 0) std::this_thread::sleep_for(1ms);
    client.leave();
    EXPECT_TRUE(fixture.wait_for("cairn_requests_running", 0));
    EXPECT_TRUE(fixture.wait_for("cairn_requests_waiting", 0));
    EXPECT_TRUE(fixture.wait_for("cairn_clients_gone_total", 1));
  }
}

TEST(Api, AClientThatLeavesWaitsForNoModel) {
  std::promise<void> began, go;
  ModelSource there, slow;
  there.name = "there";
  there.load = [] { return fake_model("there", std::make_shared<Engine>()); };
  slow.name = "slow";
  slow.load = [&began, may = go.get_future().share()] {
    began.set_value();
    may.wait();
    return fake_model("slow", std::make_shared<Engine>());
  };
  ApiOptions options;
  options.models.most = options.models.waiting = 1;
  ServedApi served({there, slow}, options);
  const std::string body = R"({"model": "slow", "prompt": "x"})";
  Client leaves(served.port()), stays(served.port());
  leaves.request("POST", "/v1/completions", body);
  began.get_future().wait();
  EXPECT_EQ(Client(served.port()).ask("POST", "/v1/completions", body).status, 429);
  leaves.leave();
  const auto metrics = [&] { return Client(served.port()).ask("GET", "/metrics").body; };
  while (metrics().find("cairn_clients_gone_total{} 1") == std::string::npos) std::this_thread::sleep_for(2ms);
  stays.request("POST", "/v1/completions", body);
  go.set_value();
  EXPECT_EQ(stays.read().status, 200);
}

TEST(Api, RefusesWhatTheQueueHasNoRoomFor) {
  llm::SchedulerOptions scheduler;
  scheduler.sequences = scheduler.queue = 1;
  Fixture fixture({}, scheduler);
  fixture.engine->closed = true;
  Client first(fixture.port()), second(fixture.port());
  first.request("POST", "/v1/chat/completions", chat().dump());
  ASSERT_TRUE(fixture.wait_for("cairn_requests_running", 1));
  second.request("POST", "/v1/chat/completions", chat().dump());
  ASSERT_TRUE(fixture.wait_for("cairn_requests_waiting", 1));
  const Response full = fixture.ask("/v1/chat/completions", chat());
  EXPECT_EQ(full.status, 429) << full.body;
  EXPECT_EQ(full.headers.at("retry-after"), "1");
  EXPECT_EQ(full.json()["error"]["type"], "rate_limit_error");
  fixture.engine->closed = false;
  EXPECT_EQ(first.read().status, 200);
  EXPECT_EQ(second.read().status, 200);
}

TEST(Api, TellsOfNoMemory) {
  Fixture fixture;
  fixture.engine->full = true;
  EXPECT_EQ(fixture.ask("/v1/chat/completions", chat()).status, 503);
  Client client(fixture.port());
  client.request("POST", "/v1/chat/completions", chat({{"stream", true}}).dump());
  EXPECT_EQ(client.read(false).status, 200);
  client.read_event();  // the role
  EXPECT_EQ(Json::parse(client.read_event())["error"]["code"], "out_of_memory");
  EXPECT_EQ(client.read_event(), "");
}

TEST(Api, AsksForAKey) {
  Fixture fixture({.access = {.keys = {"first", "second"}, .origins = {}, .hosts = {}}, .models = {}});
  Client client(fixture.port());
  EXPECT_EQ(client.ask("GET", "/health").status, 200);
  EXPECT_EQ(client.ask("GET", "/v1/models").status, 401);
  EXPECT_EQ(client.ask("GET", "/v1/models", {}, "Authorization: Bearer firs\r\n").status, 401);
  EXPECT_EQ(client.ask("GET", "/v1/models", {}, "Authorization: Bearer second\r\n").status, 200);
  EXPECT_EQ(client.ask("GET", "/v1/models", {}, "X-Api-Key: first\r\n").status, 200);
}

TEST(Api, AnswersPagesThatMayAsk) {
  Fixture closed;
  const std::string origin = "Origin: https://example.org\r\n";
  EXPECT_EQ(Client(closed.port()).ask("GET", "/v1/models", {}, origin).status, 403);
  Fixture open({.access = {.keys = {"k"}, .origins = {"https://example.org"}, .hosts = {}}, .models = {}});
  Client client(open.port());
  const Response before = client.ask("OPTIONS", "/v1/chat/completions", {}, origin);
  EXPECT_EQ(before.status, 204);
  EXPECT_EQ(before.headers.at("access-control-allow-origin"), "https://example.org");
  const Response unknown = client.ask("GET", "/v1/models", {}, origin);
  EXPECT_EQ(unknown.status, 401);
  EXPECT_EQ(unknown.headers.at("access-control-allow-origin"), "https://example.org");
  EXPECT_EQ(client.ask("GET", "/v1/models", {}, "Origin: https://other.org\r\n").status, 403);
}

TEST(Api, KnowsItsPathsAndMethods) {
  Fixture fixture;
  Client client(fixture.port());
  EXPECT_EQ(client.ask("GET", "/nothing").status, 404);
  const Response wrong = client.ask("GET", "/v1/chat/completions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.headers.at("allow"), "POST");
}

struct Bad {
  const char* name;
  std::string path, body;
  int status;
  const char *param, *says;  // empty: null
};

class ApiBadInput : public testing::TestWithParam<Bad> {};

TEST_P(ApiBadInput, IsToldInOpenAisForm) {
  Fixture fixture;
  Client client(fixture.port());
  const Response response = client.ask("POST", GetParam().path, GetParam().body);
  EXPECT_EQ(response.status, GetParam().status) << response.body;
  const Json error = response.json()["error"];
  EXPECT_EQ(error["param"].is_null() ? "" : error["param"].get<std::string>(), GetParam().param);
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr(GetParam().says));
  EXPECT_EQ(client.ask("POST", "/v1/chat/completions", chat().dump()).status, 200);
}

Bad bad_chat(const char* name, const Json& more, const char* param, const char* says) {
  return {name, "/v1/chat/completions", chat(more).dump(), 400, param, says};
}
Bad bad_text(const char* name, const Json& body, const char* param, const char* says) {
  return {name, "/v1/completions", body.dump(), 400, param, says};
}
Bad bad_embedding(const char* name, const Json& body, const char* param, const char* says) {
  return {name, "/v1/embeddings", body.dump(), 400, param, says};
}
Json user(const Json& content) {
  return {{"messages", {{{"role", "user"}, {"content", content}}}}};
}
Json image() {
  return Json::array({{{"type", "image_url"}, {"image_url", {{"url", "data:"}}}}});
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, ApiBadInput,
    testing::Values(
        Bad{"NoJson", "/v1/chat/completions", "{\"model\": ", 400, "", "no JSON"},
        Bad{"NoObject", "/v1/chat/completions", "[]", 400, "", "no JSON object"},
        Bad{"BrokenUtf8", "/v1/chat/completions", "{\"model\": \"\xff\"}", 400, "", "no JSON"},
        Bad{"Deep", "/v1/chat/completions", std::string(1 << 20, '['), 400, "", "64 levels"},
        Bad{"DeepObjects", "/v1/chat/completions",
            [] {
              std::string deep;
              for (int i = 0; i < 100'000; ++i) deep += "{\"a\":";
              return deep;
            }(),
            400, "", "64 levels"},
        Bad{"UnknownModel", "/v1/chat/completions", chat({{"model", "other"}}).dump(), 404, "model",
            "only tiny"},
        bad_chat("ModelIsANumber", {{"model", 1}}, "model", "a string was expected, not a number"),
        bad_chat("NoMessages", {{"messages", nullptr}}, "messages", "array of messages"),
        bad_chat("EmptyMessages", {{"messages", Json::array()}}, "messages", "array of messages"),
        bad_chat("MessageIsText", {{"messages", {"hi"}}}, "messages[0]", "an object"),
        bad_chat("UnknownRole", {{"messages", {{{"role", "wizard"}, {"content", "x"}}}}}, "messages[0].role",
                 "wizard"),
        bad_chat("ContentIsANumber", user(1), "messages[0].content", "a string or an array"),
        bad_chat("Image", user(image()), "messages[0].content", "not image_url"),
        bad_chat("TemplateFails", user("fail"), "messages", "no such turn"),
        bad_chat("PromptBeyondTheContext", user(std::string(600, 'x')), "messages",
                 "the prompt has 602 tokens, the context holds 512"),
        bad_chat("TemperatureIsText", {{"temperature", "1"}}, "temperature", "not a string"),
        bad_chat("NegativeTemperature", {{"temperature", -1}}, "temperature", "-1 is not from 0"),
        bad_chat("TopPAboveOne", {{"top_p", 1.5}}, "top_p", "1.5"),
        bad_chat("FractionOfATopK", {{"top_k", 1.5}}, "top_k", "whole number"),
        bad_chat("NegativeMaxTokens", {{"max_tokens", -1}}, "max_tokens", "-1"),
        bad_chat("HugeMaxTokens", {{"max_completion_tokens", 1e30}}, "max_completion_tokens", "not from"),
        bad_chat("NoAnswers", {{"n", 0}}, "n", "0 is not from 1"),
        bad_chat("SeedIsText", {{"seed", "x"}}, "seed", "whole number"),
        bad_chat("StopIsANumber", {{"stop", 1}}, "stop", "a string or an array"),
        bad_chat("EmptyStop", {{"stop", ""}}, "stop", "not empty"),
        bad_chat("BiasOfNoToken", {{"logit_bias", {{"260", 1}}}}, "logit_bias", "vocabulary of 260"),
        bad_chat("BiasIsText", {{"logit_bias", {{"1", "x"}}}}, "logit_bias", "no number"),
        bad_chat("StreamIsText", {{"stream", "yes"}}, "stream", "true or false"),
        bad_chat("OptionsWithoutAStream", {{"stream_options", Json::object()}}, "stream_options",
                 "where stream"),
        bad_chat("LogprobsIsANumber", {{"logprobs", 1}}, "logprobs", "true or false"),
        bad_chat("TopLogprobsAlone", {{"top_logprobs", 2}}, "top_logprobs", "where logprobs is true"),
        bad_chat("TooManyTopLogprobs", {{"logprobs", true}, {"top_logprobs", 21}}, "top_logprobs",
                 "from 0 to 20"),
        bad_chat("Schema", {{"response_format", {{"type", "json_schema"}}}}, "response_format.json_schema",
                 "it is missing"),
        bad_chat("Tools", {{"tools", {{{"type", "function"}}}}}, "tools[0].name", "letters, digits"),
        bad_text("NoPrompt", {{"model", "tiny"}}, "prompt", "missing"),
        bad_text("PromptIsANumber", {{"prompt", 1}}, "prompt", "a string, an array"),
        bad_text("NoPrompts", {{"prompt", Json::array()}}, "prompt", "empty"),
        bad_text("ForeignTokens", {{"prompt", {1, 100257}}}, "prompt", "100257 is no token"),
        bad_text("TooManyAnswers", {{"prompt", {"a", "b"}}, {"n", 100}}, "n", "at most 128"),
        bad_text("TooManyLogprobs", {{"prompt", "a"}, {"logprobs", 21}}, "logprobs", "from 0 to 20"),
        bad_text("EchoIsText", {{"prompt", "a"}, {"echo", "yes"}}, "echo", "true or false"),
        bad_text("Suffix", {{"prompt", "a"}, {"suffix", "b"}}, "suffix", "cannot do that yet"),
        bad_embedding("NoInput", Json::object(), "input", "missing"),
        bad_embedding("NoInputs", {{"input", Json::array()}}, "input", "empty"),
        bad_embedding("InputIsANumber", {{"input", 1}}, "input", "a string, an array"),
        bad_embedding("ForeignInput", {{"input", {{9906, 1917}}}}, "input", "send text"),
        bad_embedding("InputBeyondTheContext", {{"input", std::string(600, 'x')}}, "input",
                      "has 601 tokens, the context holds 512"),
        bad_embedding("EncodingFormat", {{"input", "a"}, {"encoding_format", "hex"}}, "encoding_format",
                      "neither float nor base64"),
        bad_embedding("TooManyDimensions", {{"input", "a"}, {"dimensions", 5}}, "dimensions", "from 1 to 4"),
        Bad{"NoTokens", "/detokenize", "{}", 400, "tokens", "array of token ids"},
        Bad{"ForeignTokensBack", "/detokenize", "{\"tokens\": [-1]}", 400, "tokens", "-1 is no token"},
        Bad{"NothingToTokenize", "/tokenize", "{}", 400, "prompt", "missing"}),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace cairn::server
