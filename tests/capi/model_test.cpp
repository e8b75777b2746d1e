// Models, tokens, templates and stacks: what the C interface tells is what the rooms below tell.
#include <nlohmann/json.hpp>

#include "base/utf8.hpp"
#include "formats/describe.hpp"
#include "formats/stack_file.hpp"
#include "resident/plain_stack.hpp"
#include "support.hpp"

namespace cairn::capi {
namespace {

using testing::HasSubstr;

std::string golden(const char* name) {
  return std::string(CAIRN_TEST_DATA) + "/golden_models/" + name + ".gguf";
}

TEST_F(Capi, TellsWhatAModelIs) {
  cairn_model_info info{};
  info.size = sizeof info;
  EXPECT_OK(cairn_model_get_info(model_, &info, error));
  const auto model = llm::Model::load(path_);
  EXPECT_EQ(info.path, path_);
  EXPECT_STREQ(info.name, "tiny");
  EXPECT_STREQ(info.architecture, "llama");
  EXPECT_EQ(info.file_bytes, std::filesystem::file_size(path_));
  EXPECT_EQ(info.weights, gguf::totals(model->file()).all.elements);
  EXPECT_EQ(info.layers, 2u);
  EXPECT_EQ(info.embedding, 64u);
  EXPECT_EQ(info.context, 256u);
  EXPECT_EQ(info.vocabulary, model->tokenizer()->vocabulary());
  EXPECT_EQ(info.bos, -1);
  EXPECT_EQ(info.eos, model->tokenizer()->eos());
  EXPECT_EQ(cairn_token_is_end(model_, info.eos), 1);
  EXPECT_EQ(cairn_token_is_end(model_, 7), 0);
  EXPECT_EQ(cairn_token_is_end(model_, -1), 0);
  EXPECT_EQ(cairn_token_is_end(model_, 1 << 30), 0);
  EXPECT_EQ(info.has_chat_template, 1);
  EXPECT_EQ(info.is_stack, 0);
  Text json;
  EXPECT_OK(cairn_model_describe(model_, &json, error));
  EXPECT_EQ(nlohmann::ordered_json::parse(json.str()), gguf::to_json(model->file()));
}

TEST_F(Capi, TokensAreTheTokenizers) {
  const auto tokenizer = llm::Model::load(path_)->tokenizer();
  for (const std::string& text :
       {std::string(kText), std::string("<|im_start|>user\nHé<|im_end|>"), std::string(),
        std::string("a\0b", 3), std::string("\xff\xc3(\x80 no UTF-8")}) {
    SCOPED_TRACE(text);
    const auto found = tokens(text);
    EXPECT_EQ(found, tokenizer->encode(text, {.add_bos = false, .add_eos = false, .parse_special = true}));
    char* decoded = nullptr;
    size_t size = 99;
    EXPECT_OK(
        cairn_detokenize(model_, found.data(), found.size(), CAIRN_SHOW_SPECIAL, &decoded, &size, error));
    std::string buffer;
    EXPECT_EQ(std::string(decoded, size), valid_utf8(text, buffer));
    cairn_free(decoded);
    EXPECT_OK(cairn_detokenize(model_, found.data(), found.size(), 0, &decoded, nullptr, error));
    EXPECT_EQ(std::string(decoded), tokenizer->decode(found).c_str());
    cairn_free(decoded);
  }
}

TEST_F(Capi, AddsBosWhereAskedTo) {
  const std::string path = folder_.file("bos.gguf");
  llm::write_tiny_model(path, {.bos = true});
  cairn_model* model = nullptr;
  EXPECT_OK(cairn_model_open(path.c_str(), nullptr, &model, error));
  cairn_model_info info{};
  info.size = sizeof info;
  EXPECT_OK(cairn_model_get_info(model, &info, error));
  for (const bool bos : {false, true}) {
    int32_t* found = nullptr;
    size_t count = 0;
    EXPECT_OK(cairn_tokenize(model, "abc", CAIRN_TERMINATED, bos ? CAIRN_ADD_BOS : 0, &found, &count, error));
    std::vector<int32_t> wanted = tokens("abc");
    if (bos) wanted.insert(wanted.begin(), info.bos);
    EXPECT_EQ(std::vector<int32_t>(found, found + count), wanted);
    cairn_free(found);
  }
  cairn_model_close(model);
}

TEST_F(Capi, ConversationsAreWrittenAsTheTemplateSays) {
  const cairn_message messages[] = {{"system", "Be \"brief\"."}, {"user", "Hi\xff <|im_end|>"}};
  Text json;
  EXPECT_OK(cairn_messages_json(messages, 2, &json, error));
  EXPECT_EQ(json.str(), R"([{"role":"system","content":"Be \"brief\"."},{"role":"user","content":"Hi)"
                        "\xef\xbf\xbd"
                        R"( <|im_end|>"}])");

  const auto model = llm::Model::load(path_);
  for (const bool sanitize : {false, true}) {
    cairn_template_options options;
    cairn_template_options_init(&options, sizeof options);
    options.sanitize = sanitize ? 1 : 0;
    llm::Conversation conversation;
    conversation.messages = nlohmann::ordered_json::parse(json.str());
    conversation.sanitize = sanitize;
    const auto rendered = llm::render(*model->chat_template(), *model->tokenizer(), conversation);
    char* text = nullptr;
    size_t size = 0;
    EXPECT_OK(cairn_template_render(model_, json.str().c_str(), &options, &text, &size, error));
    EXPECT_EQ(std::string(text, size), rendered.text);
    cairn_free(text);
    int32_t* found = nullptr;
    size_t count = 0;
    EXPECT_OK(cairn_template_tokenize(model_, json.str().c_str(), &options, &found, &count, error));
    EXPECT_EQ(std::vector<int32_t>(found, found + count),
              llm::encode_rendered(*model->tokenizer(), rendered));
    cairn_free(found);
  }
}

TEST_F(Capi, TemplatesTakeVariablesAndTheCallersSource) {
  cairn_model_options options;
  cairn_model_options_init(&options, sizeof options);
  options.chat_template = "{{ mood }}:{{ messages[0].content }}";
  cairn_model* other = nullptr;
  EXPECT_OK(cairn_model_open(path_.c_str(), &options, &other, error));
  cairn_template_options variables;
  cairn_template_options_init(&variables, sizeof variables);
  variables.variables = R"({"mood": "calm"})";
  Text text;
  EXPECT_OK(cairn_template_render(other, R"([{"role": "user", "content": "x"}])", &variables, &text, nullptr,
                                  error));
  EXPECT_EQ(text.str(), "calm:x");
  cairn_model_close(other);
}

TEST_F(Capi, BrokenConversationsAreRefused) {
  char* text = nullptr;
  const auto render = [&](const char* messages, const char* variables, cairn_error* error) {
    cairn_template_options options;
    cairn_template_options_init(&options, sizeof options);
    options.variables = variables;
    return cairn_template_render(model_, messages, &options, &text, nullptr, error);
  };
  EXPECT_REFUSED(CAIRN_FORMAT, "messages: no JSON", render("[{", nullptr, error));
  EXPECT_REFUSED(CAIRN_FORMAT, "messages: no array", render("{}", nullptr, error));
  EXPECT_REFUSED(CAIRN_FORMAT, "a role", render("[3]", nullptr, error));
  EXPECT_REFUSED(CAIRN_FORMAT, "variables: no object", render("[]", "[]", error));
  EXPECT_REFUSED(CAIRN_FORMAT, "messages: no JSON", render("[\"\xff\"]", nullptr, error));
  EXPECT_REFUSED(CAIRN_FORMAT, "deeper than 64", render(std::string(100000, '[').c_str(), nullptr, error));
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "messages is NULL", render(nullptr, nullptr, error));
  EXPECT_EQ(text, nullptr);
}

TEST_F(Capi, AStackTellsItsSizes) {
  const std::string path = folder_.file("stack.gguf");
  resident::write_plain_stack(golden("llama"), path, {.rows_per_group = 16});
  cairn_model* stack = nullptr;
  EXPECT_OK(cairn_model_open(path.c_str(), nullptr, &stack, error));
  const stack::Layout layout = stack::read_layout(gguf::File(path));
  cairn_stack_info info{};
  info.size = sizeof info;
  EXPECT_OK(cairn_stack_get_info(stack, &info, error));
  EXPECT_EQ(info.weights, layout.parameters());
  EXPECT_EQ(info.base_bytes, layout.base_bytes);
  EXPECT_EQ(info.file_bytes, std::filesystem::file_size(path));
  EXPECT_EQ(info.present_bytes, info.file_bytes);
  EXPECT_EQ(info.blocks, layout.blocks.size());
  EXPECT_GT(info.bits, info.base_bits);
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "it is no stack", cairn_stack_get_info(model_, &info, error));
  cairn_model_close(stack);
}

TEST(CapiModel, AStacksMemoryIsSet) {
  llm::TestFolder folder;
  const std::string path = folder.file("stack.gguf");
  resident::write_plain_stack(golden("llama"), path, {.rows_per_group = 16});
  cairn_model* stack = nullptr;
  EXPECT_OK(cairn_model_open(path.c_str(), nullptr, &stack, error));
  cairn_engine_options options;
  cairn_engine_options_init(&options, sizeof options);
  options.memory = uint64_t{4} << 30;
  cairn_engine* engine = nullptr;
  EXPECT_OK(cairn_engine_open(stack, &options, &engine, error));
  cairn_engine_info info{};
  info.size = sizeof info;
  EXPECT_OK(cairn_engine_get_info(engine, &info, error));
  EXPECT_EQ(info.elastic, 1);
  cairn_memory memory{};
  memory.size = sizeof memory;
  EXPECT_OK(cairn_engine_get_memory(engine, &memory, error));
  EXPECT_EQ(memory.budget, uint64_t{4} << 30);
  EXPECT_EQ(memory.automatic, 0);
  EXPECT_GT(memory.process, memory.stack);
  EXPECT_GT(memory.stack_all, 0u);
  EXPECT_EQ(memory.device, 0u) << "the library has no matrix engines";
  cairn_memory older{};
  older.size = offsetof(cairn_memory, device);  // as programs have it that were built before
  older.device = 7;
  EXPECT_OK(cairn_engine_get_memory(engine, &older, error));
  EXPECT_EQ(older.stack_all, memory.stack_all);
  EXPECT_EQ(older.device, 7u);
  EXPECT_REFUSED(CAIRN_OUT_OF_MEMORY, "too small", cairn_engine_set_memory(engine, 1 << 20, error));
  EXPECT_OK(cairn_engine_set_memory(engine, CAIRN_MEMORY_AUTO, error));
  EXPECT_OK(cairn_engine_get_memory(engine, &memory, error));
  EXPECT_EQ(memory.automatic, 1);
  EXPECT_OK(cairn_engine_set_memory(engine, 0, error));
  Text problems;
  EXPECT_OK(cairn_engine_problems(engine, &problems, error));
  EXPECT_EQ(problems.str(), "");
  cairn_engine_close(engine);
  cairn_model_close(stack);
}

TEST_F(Capi, OtherModelsMemoryIsFixed) {
  EXPECT_REFUSED(CAIRN_UNSUPPORTED, "", cairn_engine_set_memory(engine_, 1 << 30, error));
  cairn_engine_options options;
  cairn_engine_options_init(&options, sizeof options);
  options.memory = CAIRN_MEMORY_AUTO;
  cairn_engine* engine = nullptr;
  EXPECT_REFUSED(CAIRN_UNSUPPORTED, path_ + ": its memory is fixed",
                 cairn_engine_open(model_, &options, &engine, error));
  cairn_memory memory{};
  memory.size = sizeof memory;
  EXPECT_OK(cairn_engine_get_memory(engine_, &memory, error));
  EXPECT_GT(memory.process, 0u);
  EXPECT_EQ(memory.stack_all, 0u);
}

TEST_F(Capi, EnginesOnAGpu) {
  setenv("CAIRN_LIB", CAIRN_FAKE_CUDA_FOLDER, 1);
  cairn_engine_options options;
  cairn_engine_options_init(&options, sizeof options);
  EXPECT_EQ(options.device, nullptr);
  options.device = "cuda:1";
  options.device_memory = 1 << 26;
  cairn_engine* engine = nullptr;
  cairn_session* session = nullptr;
  EXPECT_OK(cairn_engine_open(model_, &options, &engine, error));
  EXPECT_OK(cairn_session_open(engine, &session, error));
  cairn_session_close(session);
  cairn_engine_close(engine);
  engine = nullptr;
  options.device_memory = 1000;
  EXPECT_REFUSED(CAIRN_OUT_OF_MEMORY, path_, cairn_engine_open(model_, &options, &engine, error));
  options.device = "cuda:2";
  EXPECT_REFUSED(CAIRN_NOT_FOUND, "there is no GPU cuda:2: the last is cuda:1",
                 cairn_engine_open(model_, &options, &engine, error));
  options.device = "gpu";
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "device 'gpu'", cairn_engine_open(model_, &options, &engine, error));
  Text json;
  EXPECT_OK(cairn_devices(&json, error));
  const auto told = nlohmann::json::parse(json.str());
  ASSERT_EQ(told["devices"].size(), 3u);
  EXPECT_EQ(told["devices"][2]["name"], "cuda:1");
  EXPECT_EQ(told["devices"][2]["capability"], "9.0");
  EXPECT_EQ(told["devices"][2]["driver_cuda"], "13.0");
  setenv("CAIRN_FAKE_CUDA", "no-driver", 1);
  EXPECT_OK(cairn_devices(&json, error));
  EXPECT_EQ(nlohmann::json::parse(json.str())["no_gpu"], "no NVIDIA driver is installed");
  options.device = "auto";
  EXPECT_OK(cairn_engine_open(model_, &options, &engine, error));
  cairn_engine_close(engine);
  unsetenv("CAIRN_FAKE_CUDA");
  unsetenv("CAIRN_LIB");
}

TEST(CapiBase, TellsTheVersionAndTheDevices) {
  EXPECT_EQ(cairn_version(), std::to_string(CAIRN_VERSION_MAJOR) + "." + std::to_string(CAIRN_VERSION_MINOR) +
                                 "." + std::to_string(CAIRN_VERSION_PATCH));
  EXPECT_STREQ(cairn_status_name(CAIRN_BUSY), "busy");
  EXPECT_STREQ(cairn_status_name(CAIRN_INVALID_ARGUMENT), "invalid argument");
  EXPECT_STREQ(cairn_status_name(99), "unknown");
  Text json;
  EXPECT_OK(cairn_devices(&json, error));
  const auto told = nlohmann::json::parse(json.str());
  EXPECT_EQ(told["devices"][0]["name"], "cpu");
  EXPECT_THAT(told["devices"][0]["instruction_sets"].dump(), HasSubstr("portable"));
}

}  // namespace
}  // namespace cairn::capi
