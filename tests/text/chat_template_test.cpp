// Chat templates of well-known model families against jinja2 (tools/make_template_golden.py).
#include "text/chat_template.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "formats/gguf.hpp"
#include "formats/gguf_writer.hpp"
#include "text/template_golden.hpp"

namespace cairn::text {
namespace {

std::vector<std::string> families() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(template_data(""))) {
    if (entry.path().extension() == ".jinja") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Family : public testing::TestWithParam<std::string> {};

TEST_P(Family, RendersConversationsAsJinja2Does) {
  const std::string source = read_file(template_data(GetParam() + ".jinja"));
  const auto expected = read_golden(GetParam() + ".json");
  const auto conversations = read_golden("conversations.json");
  ASSERT_EQ(expected.size(), conversations.size());
  size_t rendered = 0;
  for (const auto& [name, variables] : conversations.items()) {
    SCOPED_TRACE(name);
    expect_golden(source, variables, expected[name]);
    rendered += expected[name].contains("text") ? 1 : 0;
  }
  EXPECT_GE(rendered, 5u);
}

INSTANTIATE_TEST_SUITE_P(, Family, testing::ValuesIn(families()), [](const auto& test) {
  std::string name = test.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
});

TEST(ChatTemplate, CoversTheFamilies) {
  EXPECT_GE(families().size(), 30u);
}

TEST(ChatTemplate, MakesMessages) {
  EXPECT_EQ(to_json({{"system", "a"}, {"user", "b \"c\""}}).dump(),
            R"([{"role":"system","content":"a"},{"role":"user","content":"b \"c\""}])");
}

TEST(ChatTemplate, ShowsTheClock) {
  const auto later = [] { return golden_clock() + std::chrono::hours(24); };
  EXPECT_EQ(ChatTemplate("{{ strftime_now('%d %b %Y') }}", later).render(nlohmann::ordered_json::object()),
            "21 Jul 2025");
}

using Metadata = std::vector<std::pair<std::string, gguf::WriterValue>>;

std::string source_of(const Metadata& metadata, std::string_view variant = {}) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("cairn-template-{}.gguf", getpid());
  gguf::Writer writer;
  for (const auto& [key, value] : metadata) writer.set(key, value);
  writer.write(path, [](size_t, const gguf::Writer::Sink&) {});
  const gguf::File file(path);
  std::filesystem::remove(path);
  return chat_template_source(file, variant);
}

const std::vector<Message> greeting = {
    {"system", "Be brief."}, {"user", " hi "}, {"assistant", "Hello"}, {"user", "bye"}};

TEST(ChatTemplateSource, PrefersTheVariantThatIsAskedFor) {
  const Metadata metadata = {{"general.architecture", std::string("llama")},
                             {"tokenizer.chat_template", std::string("plain")},
                             {"tokenizer.chat_template.tool_use", std::string("tools")}};
  EXPECT_EQ(source_of(metadata), "plain");
  EXPECT_EQ(source_of(metadata, "tool_use"), "tools");
  EXPECT_EQ(source_of(metadata, "rag"), "plain");
}

TEST(ChatTemplateSource, FallsBackToChatMl) {
  const std::string source =
      source_of({{"general.architecture", std::string("llama")},
                 {"tokenizer.ggml.tokens", std::vector<std::string>{"<|im_start|>", "<|im_end|>"}}});
  EXPECT_EQ(
      ChatTemplate(source).render({{"messages", to_json(greeting)}, {"add_generation_prompt", true}}),
      "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n hi <|im_end|>\n<|im_start|>assistant\n"
      "Hello<|im_end|>\n<|im_start|>user\nbye<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplateSource, FallsBackToGemmasTurns) {
  const std::string source =
      source_of({{"general.architecture", std::string("gemma3")},
                 {"tokenizer.ggml.tokens", std::vector<std::string>{"<start_of_turn>", "<end_of_turn>"}}});
  EXPECT_EQ(
      ChatTemplate(source).render(
          {{"messages", to_json(greeting)}, {"add_generation_prompt", true}, {"bos_token", "<bos>"}}),
      "<bos><start_of_turn>user\nBe brief.\n\nhi<end_of_turn>\n<start_of_turn>model\nHello<end_of_turn>\n"
      "<start_of_turn>user\nbye<end_of_turn>\n<start_of_turn>model\n");
}

TEST(ChatTemplateSource, SaysThatThereIsNone) {
  const Metadata metadata = {{"general.architecture", std::string("llama")},
                             {"tokenizer.ggml.tokens", std::vector<std::string>{"<s>", "</s>"}}};
  try {
    source_of(metadata);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    EXPECT_THAT(error.what(), testing::EndsWith("the model has no chat template (tokenizer.chat_template)"));
  }
}

}  // namespace
}  // namespace cairn::text
