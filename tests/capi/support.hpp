// A tiny model behind the C interface, and the same one behind the C++ interface that answers are compared
// with.
#pragma once

#include <cairn/cairn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "llm/chat.hpp"
#include "llm/model.hpp"
#include "llm/tiny_model.hpp"

namespace cairn::capi {

// A call that is to go well: cairn_error* error is its last argument.
#define EXPECT_OK(call)                                \
  do {                                                 \
    cairn_error capi_error{};                          \
    cairn_error* const error = &capi_error;            \
    EXPECT_EQ((call), CAIRN_OK) << capi_error.message; \
    EXPECT_EQ(capi_error.code, CAIRN_OK);              \
  } while (false)

// … that is refused with one line that has `part` in it.
#define EXPECT_REFUSED(status, part, call)                                              \
  do {                                                                                  \
    cairn_error capi_error{};                                                           \
    cairn_error* error = &capi_error;                                                   \
    EXPECT_EQ((call), status) << capi_error.message;                                    \
    EXPECT_EQ(capi_error.code, status);                                                 \
    EXPECT_THAT(std::string(capi_error.message), ::testing::HasSubstr(part));           \
    EXPECT_EQ(std::string_view(capi_error.message).find('\n'), std::string_view::npos); \
    error = nullptr;                                                                    \
    EXPECT_EQ((call), status);                                                          \
  } while (false)

struct Result : cairn_result {
  Result() : cairn_result{} { cairn_result::size = sizeof(cairn_result); }
  ~Result() { cairn_result_clear(this); }
  Result(const Result&) = delete;
  Result& operator=(const Result&) = delete;
  std::string str() const { return {text, text_size}; }
  std::vector<int32_t> ids() const { return {tokens, tokens + token_count}; }
};

struct GenerateOptions : cairn_generate_options {
  explicit GenerateOptions(uint32_t most = 12) {
    cairn_generate_options_init(this, sizeof(cairn_generate_options));
    max_tokens = most;
    temperature = 0;
  }
};

class Capi : public ::testing::Test {
 protected:
  static constexpr uint32_t kContext = 128;
  static constexpr const char* kText = "the stones of a cairn lie on each other";

  Capi() : path_(folder_.file("tiny.gguf")) {
    llm::write_tiny_model(path_);
    EXPECT_OK(cairn_model_open(path_.c_str(), nullptr, &model_, error));
    cairn_engine_options options;
    cairn_engine_options_init(&options, sizeof options);
    options.context = kContext;
    options.threads = 2;
    EXPECT_OK(cairn_engine_open(model_, &options, &engine_, error));
    EXPECT_OK(cairn_session_open(engine_, &session_, error));
  }
  ~Capi() override {
    cairn_session_close(session_);
    cairn_engine_close(engine_);
    cairn_model_close(model_);
  }

  std::vector<int32_t> tokens(std::string_view text) const {
    int32_t* found = nullptr;
    size_t count = 0;
    EXPECT_OK(cairn_tokenize(model_, text.data(), text.size(), CAIRN_PARSE_SPECIAL, &found, &count, error));
    std::vector<int32_t> result(found, found + count);
    cairn_free(found);
    return result;
  }

  // What C++'s own session answers.
  llm::Result expected(const std::vector<int32_t>& prompt, const llm::GenerateOptions& options) const {
    const auto model = llm::Model::load(path_);
    return model->make_session({.context = kContext, .threads = 2}).generate(prompt, options);
  }
  static llm::GenerateOptions greedy(uint32_t most = 12) {
    llm::GenerateOptions options;
    options.max_tokens = most;
    options.sampler.temperature = 0;
    return options;
  }

  llm::TestFolder folder_;
  std::string path_;
  cairn_model* model_ = nullptr;
  cairn_engine* engine_ = nullptr;
  cairn_session* session_ = nullptr;
};

// A text that a function hands out.
class Text {
 public:
  ~Text() { cairn_free(text_); }
  Text() = default;
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  char** operator&() { return &text_; }
  std::string str() const { return text_ == nullptr ? "(NULL)" : text_; }
  bool null() const { return text_ == nullptr; }

 private:
  char* text_ = nullptr;
};

}  // namespace cairn::capi
