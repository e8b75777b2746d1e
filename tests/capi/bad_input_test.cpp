// What callers get wrong: a line and a code each time, and nothing that is left behind.
#include <cstddef>
#include <cstring>
#include <limits>

#include "base/utf8.hpp"
#include "capi/call.hpp"
#include "support.hpp"

namespace cairn::capi {
namespace {

TEST_F(Capi, NullIsRefusedByName) {
  cairn_model* model = nullptr;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "model is NULL", cairn_model_open(nullptr, nullptr, &model, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "opened is NULL", cairn_model_open("x", nullptr, nullptr, error));
  cairn_engine* engine = nullptr;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "the model is NULL",
                 cairn_engine_open(nullptr, nullptr, &engine, error));
  cairn_session* session = nullptr;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "the engine is NULL", cairn_session_open(nullptr, &session, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "the session is NULL",
                 cairn_session_generate(nullptr, nullptr, 0, nullptr, nullptr, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "prompt is NULL",
                 cairn_session_generate(session_, nullptr, 3, nullptr, nullptr, error));
  int32_t* tokens = nullptr;
  size_t count = 0;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "text is NULL",
                 cairn_tokenize(model_, nullptr, 4, 0, &tokens, &count, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "tokens is NULL",
                 cairn_tokenize(model_, "a", 1, 0, nullptr, &count, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "cairn_model_info is NULL",
                 cairn_model_get_info(model_, nullptr, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "the video is NULL", cairn_video_rewind(nullptr, error));
  EXPECT_OK(cairn_tokenize(model_, nullptr, 0, 0, &tokens, &count, error));
  EXPECT_EQ(count, 0u);
}

TEST_F(Capi, WhatIsClosedOrOfAnotherKindIsRefused) {
  cairn_model* second = nullptr;
  EXPECT_OK(cairn_model_open(path_.c_str(), nullptr, &second, error));
  cairn_engine* engine = nullptr;
  EXPECT_OK(cairn_engine_open(second, nullptr, &engine, error));
  cairn_model_close(second);
  cairn_model_close(second);
  cairn_model_info info{};
  info.size = sizeof info;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "the model is closed, or was never one",
                 cairn_model_get_info(second, &info, error));
  // What the engine needs is still there.
  cairn_session* session = nullptr;
  EXPECT_OK(cairn_session_open(engine, &session, error));
  cairn_engine_close(engine);
  const auto prompt = tokens(kText);
  const GenerateOptions options;
  Result result;
  EXPECT_OK(cairn_session_generate(session, prompt.data(), prompt.size(), &options, &result, error));
  EXPECT_EQ(result.ids(), expected(prompt, greedy()).tokens);
  cairn_session_close(session);

  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "the model is closed, or was never one",
                 cairn_model_get_info(reinterpret_cast<cairn_model*>(engine_), &info, error));
  char local = 0;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "never one",
                 cairn_session_clear(reinterpret_cast<cairn_session*>(&local), error));
  cairn_model_close(reinterpret_cast<cairn_model*>(session_));  // is none, and closes none
  EXPECT_OK(cairn_session_clear(session_, error));
  cairn_session_cancel(reinterpret_cast<cairn_session*>(&local));
  EXPECT_EQ(cairn_request_ready(nullptr), 1);
  cairn_batch_close(nullptr);
  cairn_free(nullptr);
  cairn_result_clear(nullptr);
}

TEST_F(Capi, OlderProgramsOptionsAreTakenAndNewersRefused) {
  // A program that knew max_tokens and nothing behind it.
  cairn_generate_options old;
  std::memset(&old, 0xee, sizeof old);
  cairn_generate_options_init(&old, offsetof(cairn_generate_options, ignore_end));
  EXPECT_EQ(old.size, offsetof(cairn_generate_options, ignore_end));
  unsigned char beyond[4];
  std::memcpy(beyond, &old.ignore_end, sizeof beyond);
  EXPECT_EQ(beyond[0], 0xee);  // not its struct's
  old.max_tokens = 3;
  const auto prompt = tokens(kText);
  Result result;
  EXPECT_OK(cairn_session_generate(session_, prompt.data(), prompt.size(), &old, &result, error));
  EXPECT_EQ(result.token_count, 3u);

  struct Newer {
    cairn_engine_options options;
    uint64_t more;
  } newer;
  cairn_engine_options_init(&newer.options, sizeof newer);
  EXPECT_EQ(newer.more, 0u);
  EXPECT_EQ(newer.options.chunk, 512u);
  cairn_engine* engine = nullptr;
  EXPECT_OK(cairn_engine_open(model_, &newer.options, &engine, error));
  cairn_engine_close(engine);
  newer.more = 1;
  EXPECT_REFUSED(CAIRN_UNSUPPORTED, "cairn_engine_options: it asks for what this version",
                 cairn_engine_open(model_, &newer.options, &engine, error));
  EXPECT_EQ(engine, nullptr);

  for (const size_t size : {size_t{0}, size_t{3}, size_t{1} << 40}) {
    cairn_engine_options lies{};
    lies.size = size;
    EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "it was not initialised",
                   cairn_engine_open(model_, &lies, &engine, error));
    cairn_model_info info{};
    info.size = size;
    EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "it was not initialised",
                   cairn_model_get_info(model_, &info, error));
    cairn_result none{};
    none.size = size;
    EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "cairn_result: its size",
                   cairn_session_generate(session_, nullptr, 0, nullptr, &none, error));
  }

  // An older program's info: nothing behind its end is written.
  cairn_model_info info;
  std::memset(&info, 0x55, sizeof info);
  info.size = offsetof(cairn_model_info, file_bytes);
  EXPECT_OK(cairn_model_get_info(model_, &info, error));
  EXPECT_STREQ(info.architecture, "llama");
  EXPECT_EQ(info.file_bytes, 0x5555555555555555u);
}

TEST_F(Capi, OptionsOutOfRangeAreNamed) {
  cairn_engine_options options;
  const auto open = [&](auto change, cairn_error* error) {
    cairn_engine_options_init(&options, sizeof options);
    change();
    cairn_engine* engine = nullptr;
    const cairn_status status = cairn_engine_open(model_, &options, &engine, error);
    EXPECT_EQ(engine, nullptr);
    return status;
  };
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "threads: 5000", open([&] { options.threads = 5000; }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "context: 4294967295",
                 open([&] { options.context = UINT32_MAX; }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "kv: 9", open([&] { options.kv = 9; }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "precision: -1", open([&] { options.precision = -1; }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "chunk", open([&] { options.chunk = 0; }, error));

  const auto generate = [&](auto change, cairn_error* error) {
    GenerateOptions wanted;
    change(wanted);
    Result result;
    const int32_t token = 1;
    const cairn_status status = cairn_session_generate(session_, &token, 1, &wanted, &result, error);
    EXPECT_EQ(result.text, nullptr);
    return status;
  };
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "temperature", generate([](auto& o) { o.temperature = -1; }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "top",
                 generate([](auto& o) { o.top_p = std::numeric_limits<float>::quiet_NaN(); }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "speculation: 77",
                 generate([](auto& o) { o.speculation = 77; }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "stack",
                 generate([](auto& o) { o.speculation = CAIRN_SPECULATE_SELF; }, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "stop is NULL", generate([](auto& o) { o.stop_count = 1; }, error));
  const char* none[] = {nullptr};
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "stop is NULL",
                 generate([&](auto& o) { o.stop = none, o.stop_count = 1; }, error));
  const cairn_logit_bias bias = {1 << 30, 1};
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "1073741824",
                 generate([&](auto& o) { o.biases = &bias, o.bias_count = 1; }, error));
}

TEST_F(Capi, PromptsThatCannotBeAreRefused) {
  const std::vector<int32_t> longer(kContext + 1, 5);
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "129",
                 cairn_session_generate(session_, longer.data(), longer.size(), nullptr, nullptr, error));
  const int32_t strange[] = {1, -5};
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "-5",
                 cairn_session_generate(session_, strange, 2, nullptr, nullptr, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "BOS",
                 cairn_session_generate(session_, nullptr, 0, nullptr, nullptr, error));
  char* text = nullptr;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "token -5 is not in",
                 cairn_detokenize(model_, strange, 2, 0, &text, nullptr, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "flags: 0x100",
                 cairn_detokenize(model_, strange, 1, 0x100, &text, nullptr, error));
}

TEST_F(Capi, FilesThatAreNoModelsAreTold) {
  cairn_model* model = nullptr;
  EXPECT_REFUSED(CAIRN_NOT_FOUND, "no-such-model", cairn_model_open("no-such-model", nullptr, &model, error));
  EXPECT_REFUSED(CAIRN_NOT_FOUND, "", cairn_model_open("", nullptr, &model, error));
  const std::string file = std::string(CAIRN_TEST_DATA) + "/sampler_golden.json";
  EXPECT_REFUSED(CAIRN_FORMAT, file, cairn_model_open(file.c_str(), nullptr, &model, error));
  cairn_model_options options;
  cairn_model_options_init(&options, sizeof options);
  options.chat_template = "{% if %}";
  EXPECT_OK(cairn_model_open(path_.c_str(), &options, &model, error));
  Text text;
  EXPECT_REFUSED(CAIRN_FORMAT, "line 1", cairn_template_render(model, "[]", nullptr, &text, nullptr, error));
  cairn_model_close(model);
}

TEST_F(Capi, AModelWithoutATemplateCannotChat) {
  const std::string base = folder_.file("base.gguf");
  llm::write_tiny_model(base, {.chat_template = "", .control = {"<|end|>"}});
  cairn_model* model = nullptr;
  cairn_engine* engine = nullptr;
  cairn_session* session = nullptr;
  EXPECT_OK(cairn_model_open(base.c_str(), nullptr, &model, error));
  EXPECT_OK(cairn_engine_open(model, nullptr, &engine, error));
  EXPECT_OK(cairn_session_open(engine, &session, error));
  cairn_chat* chat = nullptr;
  EXPECT_REFUSED(CAIRN_NOT_FOUND, base, cairn_chat_open(session, nullptr, &chat, error));
  cairn_session_close(session);
  cairn_engine_close(engine);
  cairn_model_close(model);
}

TEST_F(Capi, ModelsThatComputeNoNumberAreTold) {
  const std::string poisoned = folder_.file("poisoned.gguf");
  llm::write_tiny_model(poisoned, {.poisoned = "output_norm.weight"});
  cairn_model* model = nullptr;
  cairn_engine* engine = nullptr;
  cairn_session* session = nullptr;
  EXPECT_OK(cairn_model_open(poisoned.c_str(), nullptr, &model, error));
  EXPECT_OK(cairn_engine_open(model, nullptr, &engine, error));
  EXPECT_OK(cairn_session_open(engine, &session, error));
  const int32_t token = 3;
  EXPECT_REFUSED(CAIRN_NUMERIC, "", cairn_session_generate(session, &token, 1, nullptr, nullptr, error));
  cairn_session_close(session);
  cairn_engine_close(engine);
  cairn_model_close(model);
}

TEST(CapiError, AMessageIsOneLineOfWholeCharacters) {
  cairn_error error;
  const auto told = [&](const std::string& text) {
    EXPECT_EQ(call(&error, [&] { throw Error(ErrorCode::io, text); }), CAIRN_IO);
    return std::string(error.message);
  };
  EXPECT_EQ(told("a\nb\tc\x7f"), "a b c ");
  EXPECT_EQ(told("bad \xff byte"), "bad ? byte");
  for (size_t begin = 0; begin < 4; ++begin) {
    std::string longer(begin, 'x');
    while (longer.size() < 3000) longer += "é€𐍈";
    const std::string cut = told(longer);
    EXPECT_TRUE(is_utf8(cut));
    EXPECT_TRUE(longer.starts_with(cut));
    EXPECT_GT(cut.size(), sizeof error.message - 6);
  }
  EXPECT_EQ(call(&error, [] { throw 7; }), CAIRN_INTERNAL);
  EXPECT_EQ(call(&error, [] { throw std::bad_alloc(); }), CAIRN_OUT_OF_MEMORY);
  EXPECT_EQ(call(&error, [] { throw std::runtime_error("odd"); }), CAIRN_INTERNAL);
  EXPECT_STREQ(error.message, "odd");
  EXPECT_EQ(call(nullptr, [] { throw 7; }), CAIRN_INTERNAL);
  EXPECT_EQ(call(&error, [] {}), CAIRN_OK);
  EXPECT_STREQ(error.message, "");
}

}  // namespace
}  // namespace cairn::capi
