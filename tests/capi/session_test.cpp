// Sessions and chats: their answers are those of C++'s, whatever the callbacks do.
#include <atomic>
#include <cmath>
#include <nlohmann/json.hpp>
#include <thread>

#include "support.hpp"

namespace cairn::capi {
namespace {

struct Heard {
  std::string text;
  std::vector<int32_t> tokens;
  std::vector<uint32_t> done;
  size_t stop_at = SIZE_MAX;  // tokens
  size_t event_size = 0;
  static int token(void* user, const cairn_token_event* event) {
    auto& heard = *static_cast<Heard*>(user);
    EXPECT_EQ(event->text[event->text_size], '\0');
    heard.text.append(event->text, event->text_size);
    if (event->token >= 0) heard.tokens.push_back(event->token);
    heard.event_size = event->size;
    return heard.tokens.size() >= heard.stop_at ? 1 : 0;
  }
  static void progress(void* user, uint32_t done, uint32_t total) {
    EXPECT_LE(done, total);
    static_cast<Heard*>(user)->done.push_back(done);
  }
};

TEST_F(Capi, AnswersAreThoseOfCpp) {
  const auto prompt = tokens(kText);
  const llm::Result wanted = expected(prompt, greedy());
  Heard heard;
  GenerateOptions options;
  options.on_token = Heard::token;
  options.on_progress = Heard::progress;
  options.user = &heard;
  Result result;
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &options, &result, error));
  EXPECT_EQ(result.str(), wanted.text);
  EXPECT_EQ(result.ids(), wanted.tokens);
  EXPECT_EQ(result.finish, CAIRN_FINISH_LENGTH);
  EXPECT_EQ(result.stop, nullptr);
  EXPECT_EQ(heard.text, wanted.text);
  EXPECT_EQ(heard.tokens, wanted.tokens);
  EXPECT_EQ(heard.event_size, sizeof(cairn_token_event));
  EXPECT_THAT(heard.done, testing::ElementsAre(prompt.size()));
  EXPECT_EQ(result.prompt_tokens, prompt.size());
  EXPECT_EQ(result.cached_tokens, 0u);
  EXPECT_EQ(result.prefill_tokens, prompt.size());
  EXPECT_EQ(result.decode_tokens, 11u);
  EXPECT_GT(result.decode_seconds, 0);
  EXPECT_GT(result.first_token_seconds, 0);
  size_t cached = 0;
  EXPECT_OK(cairn_session_cached(session_, &cached, error));
  EXPECT_EQ(cached, prompt.size() + 11);

  cairn_result_clear(&result);
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &options, &result, error));
  EXPECT_EQ(result.cached_tokens, prompt.size() - 1);
  EXPECT_OK(cairn_session_clear(session_, error));
  cairn_result_clear(&result);
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &options, &result, error));
  EXPECT_EQ(result.cached_tokens, 0u);
}

TEST_F(Capi, SamplingIsThatOfCpp) {
  const auto prompt = tokens(kText);
  llm::GenerateOptions cpp;
  cpp.max_tokens = 16;
  cpp.ignore_end = true;
  cpp.sampler.temperature = 1.3f;
  cpp.sampler.top_k = 50;
  cpp.sampler.top_p = 0.9f;
  cpp.sampler.min_p = 0.01f;
  cpp.sampler.repetition_penalty = 1.2f;
  cpp.sampler.frequency_penalty = 0.3f;
  cpp.sampler.presence_penalty = 0.2f;
  cpp.sampler.penalty_window = 10;
  cpp.sampler.seed = 7;
  cpp.speculation = llm::Speculation::lookup;
  const int32_t banned = expected(prompt, cpp).tokens.front();
  cpp.sampler.logit_bias = {{banned, -INFINITY}};
  const llm::Result wanted = expected(prompt, cpp);
  EXPECT_NE(wanted.tokens.front(), banned);

  cairn_generate_options c;
  cairn_generate_options_init(&c, sizeof c);
  c.max_tokens = 16;
  c.ignore_end = 1;
  c.temperature = 1.3f;
  c.top_k = 50;
  c.top_p = 0.9f;
  c.min_p = 0.01f;
  c.repetition_penalty = 1.2f;
  c.frequency_penalty = 0.3f;
  c.presence_penalty = 0.2f;
  c.penalty_window = 10;
  c.seeded = 1;
  c.seed = 7;
  c.speculation = CAIRN_SPECULATE_LOOKUP;
  const cairn_logit_bias bias = {banned, -INFINITY};
  c.biases = &bias;
  c.bias_count = 1;
  Result result;
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &c, &result, error));
  EXPECT_EQ(result.ids(), wanted.tokens);
  EXPECT_EQ(result.str(), wanted.text);
}

TEST_F(Capi, StopStringsEndAnswers) {
  const auto prompt = tokens(kText);
  const std::string whole = expected(prompt, greedy(24)).text;
  ASSERT_GT(whole.size(), 8u);
  const std::string part = whole.substr(5, 3);
  const char* stops[] = {"no such text", part.c_str()};
  GenerateOptions options(24);
  options.stop = stops;
  options.stop_count = 2;
  Result result;
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &options, &result, error));
  EXPECT_EQ(result.str(), whole.substr(0, whole.find(part)));
  EXPECT_EQ(result.finish, CAIRN_FINISH_STOP);
  EXPECT_EQ(result.stop, part);
}

TEST_F(Capi, CallbacksStopAnswers) {
  const auto prompt = tokens(kText);
  Heard heard;
  heard.stop_at = 3;
  GenerateOptions options;
  options.on_token = Heard::token;
  options.user = &heard;
  Result result;
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &options, &result, error));
  EXPECT_EQ(result.finish, CAIRN_FINISH_CANCELLED);
  EXPECT_EQ(result.token_count, 3u);

  cairn_result_clear(&result);
  GenerateOptions never;
  never.is_cancelled = [](void*) { return 1; };
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &never, &result, error));
  EXPECT_EQ(result.finish, CAIRN_FINISH_CANCELLED);
  EXPECT_EQ(result.token_count, 0u);
  EXPECT_STREQ(result.text, "");
}

TEST_F(Capi, ACallbackCannotUseItsSessionButMayClose) {
  struct Seen {
    cairn_session* session;
    cairn_status generate = CAIRN_OK, clear = CAIRN_OK;
    bool closed = false;
  } seen{session_};
  GenerateOptions options;
  options.user = &seen;
  options.on_token = [](void* user, const cairn_token_event*) {
    auto& s = *static_cast<Seen*>(user);
    if (s.closed) return 0;
    s.generate = cairn_session_generate(s.session, nullptr, 0, nullptr, nullptr, nullptr);
    s.clear = cairn_session_clear(s.session, nullptr);
    cairn_session_close(s.session);
    s.closed = true;
    return 0;
  };
  const auto prompt = tokens(kText);
  Result result;
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &options, &result, error));
  EXPECT_EQ(result.ids(), expected(prompt, greedy()).tokens);
  EXPECT_EQ(seen.generate, CAIRN_BUSY);
  EXPECT_EQ(seen.clear, CAIRN_BUSY);
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "the session is closed", cairn_session_clear(session_, error));
}

TEST_F(Capi, AnotherThreadIsToldThatItIsInUseAndCanCancel) {
  std::atomic<bool> begun{false};
  GenerateOptions options(100000);
  options.ignore_end = 1;
  options.user = &begun;
  options.on_token = [](void* user, const cairn_token_event*) {
    static_cast<std::atomic<bool>*>(user)->store(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    return 0;
  };
  const auto prompt = tokens("a");
  Result result;
  std::thread works([&] {
    EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &options, &result, error));
  });
  while (!begun) std::this_thread::yield();
  EXPECT_REFUSED(CAIRN_BUSY, "the session is in use", cairn_session_clear(session_, error));
  cairn_session_cancel(session_);
  works.join();
  EXPECT_EQ(result.finish, CAIRN_FINISH_CANCELLED);
  EXPECT_LT(result.token_count, kContext - 1);
  EXPECT_OK(cairn_session_clear(session_, error));
}

TEST_F(Capi, SessionsOfTwoThreadsAnswerAsIfAlone) {
  const std::vector<std::string> texts = {kText, "one two three four", "north and south"};
  std::vector<std::thread> threads;
  for (const std::string& text : texts) {
    threads.emplace_back([&, text] {
      cairn_session* session = nullptr;
      EXPECT_OK(cairn_session_open(engine_, &session, error));
      const auto prompt = tokens(text);
      const GenerateOptions options;
      for (int i = 0; i < 3; ++i) {
        Result result;
        EXPECT_OK(cairn_session_generate(session, prompt.data(), prompt.size(), &options, &result, error));
        EXPECT_EQ(result.ids(), expected(prompt, greedy()).tokens);
        EXPECT_OK(cairn_session_clear(session, error));
      }
      cairn_session_close(session);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(Capi, ADraftGuessesTheSameAnswer) {
  cairn_engine_options small;
  cairn_engine_options_init(&small, sizeof small);
  small.context = kContext;
  small.share = engine_;
  cairn_engine* draft = nullptr;
  EXPECT_OK(cairn_engine_open(model_, &small, &draft, error));
  EXPECT_OK(cairn_session_set_draft(session_, draft, error));
  cairn_engine_close(draft);
  GenerateOptions options(32);
  options.speculation = CAIRN_SPECULATE_DRAFT;
  const auto prompt = tokens(kText);
  Result result;
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &options, &result, error));
  EXPECT_EQ(result.token_count, 32u);
  EXPECT_EQ(result.ids(), expected(prompt, greedy(32)).tokens);

  cairn_model* other = nullptr;
  EXPECT_OK(cairn_model_open((std::string(CAIRN_TEST_DATA) + "/golden_models/llama.gguf").c_str(), nullptr,
                             &other, error));
  EXPECT_OK(cairn_engine_open(other, nullptr, &draft, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "cannot draft for", cairn_session_set_draft(session_, draft, error));
  cairn_engine_close(draft);
  cairn_model_close(other);
}

TEST_F(Capi, AChatIsThatOfCpp) {
  const auto model = llm::Model::load(path_);
  llm::Session session = model->make_session({.context = kContext, .threads = 2});
  llm::ChatSession cpp(session, model->chat_template(), "be brief");
  cairn_chat_options with;
  cairn_chat_options_init(&with, sizeof with);
  with.system = "be brief";
  cairn_chat* chat = nullptr;
  EXPECT_OK(cairn_chat_open(session_, &with, &chat, error));
  const GenerateOptions options(8);
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "no answer", cairn_chat_regenerate(chat, &options, nullptr, error));
  for (const char* user : {"hello", "and again"}) {
    Result result;
    EXPECT_OK(cairn_chat_send(chat, user, &options, &result, error));
    const llm::Result wanted = cpp.send(user, greedy(8));
    EXPECT_EQ(result.str(), wanted.text);
    EXPECT_EQ(result.cached_tokens, wanted.statistics.cached_tokens);
  }
  Result again;
  EXPECT_OK(cairn_chat_regenerate(chat, &options, &again, error));
  EXPECT_EQ(again.str(), cpp.regenerate(greedy(8)).text);

  Text saved;
  EXPECT_OK(cairn_chat_save(chat, &saved, error));
  EXPECT_EQ(nlohmann::ordered_json::parse(saved.str()), cpp.saved());
  cairn_chat* restored = nullptr;
  EXPECT_OK(cairn_chat_open(session_, nullptr, &restored, error));
  EXPECT_OK(cairn_chat_restore(restored, saved.str().c_str(), error));
  Text once_more;
  EXPECT_OK(cairn_chat_save(restored, &once_more, error));
  EXPECT_EQ(once_more.str(), saved.str());
  EXPECT_OK(cairn_chat_restore(restored, R"([{"role": "user", "content": "x"}])", error));
  EXPECT_REFUSED(CAIRN_FORMAT, "no JSON", cairn_chat_restore(restored, "{", error));
  EXPECT_REFUSED(CAIRN_FORMAT, "an array of messages",
                 cairn_chat_restore(restored, R"({"messages": 3})", error));
  cairn_chat_close(restored);
  cairn_chat_close(chat);
}

}  // namespace
}  // namespace cairn::capi
