#include "cairn/model.h"

#include <string>

#include "capi/call.hpp"
#include "capi/objects.hpp"
#include "capi/options.hpp"
#include "formats/describe.hpp"
#include "formats/stack_file.hpp"
#include "store/model_store.hpp"
#include "text/tokenizer.hpp"

using namespace cairn;
using namespace cairn::capi;

namespace cairn::capi {

Model::Model(std::shared_ptr<const llm::Model> opened)
    : model(std::move(opened)),
      path(model->file().path()),
      name(model->file().text("general.name", "")),
      architecture(model->parameters().architecture) {
  model->file().tolerate_losses(true);
}

Model::~Model() {
  model->file().tolerate_losses(false);
}

grammar::Compiler& Model::grammars() {
  std::call_once(begun_, [&] { grammars_.emplace(model->tokenizer()); });
  return *grammars_;
}

std::shared_ptr<const llm::AnswerForms> Model::forms() {
  const std::lock_guard lock(mutex_);
  if (!forms_)
    forms_ = std::make_shared<const llm::AnswerForms>(model->chat_template("tool_use"), model->tokenizer());
  return forms_;
}

}  // namespace cairn::capi

namespace {

constexpr cairn_model_options kUsual = {sizeof(cairn_model_options), nullptr};

int32_t token_or_none(const std::optional<text::Token>& token) {
  return token ? *token : -1;
}

uint64_t weights(const gguf::File& file) {
  const uint64_t tensors = gguf::totals(file).all.elements;
  return stack::is_stack(file) ? tensors + stack::read_layout(file).parameters() : tensors;
}

}  // namespace

void cairn_model_options_init(cairn_model_options* options, size_t size) {
  write_usual(options, size, kUsual);
}

cairn_status cairn_model_open(const char* model, const cairn_model_options* options, cairn_model** opened,
                              cairn_error* error) {
  return call(error, [&] {
    require(opened, "opened");
    *opened = nullptr;
    const std::string name(text_of(model, "model"));
    const cairn_model_options given = read_options(options, kUsual, "cairn_model_options");
    llm::ModelOptions model_options;
    if (given.chat_template != nullptr) model_options.chat_template = given.chat_template;
    *opened = static_cast<cairn_model*>(
        open_handle(std::make_shared<Model>(llm::Model::load(resolve_model(name), model_options))));
  });
}

void cairn_model_close(cairn_model* model) {
  quietly([&] { close_handle(Kind::model, model); });
}

cairn_status cairn_model_get_info(const cairn_model* model, cairn_model_info* info, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Model>(model);
    const gguf::File& file = of->model->file();
    const graph::HyperParameters& parameters = of->model->parameters();
    const auto tokenizer = of->model->tokenizer();
    cairn_model_info told{};
    told.path = of->path.c_str();
    told.name = of->name.c_str();
    told.architecture = of->architecture.c_str();
    told.file_bytes = file.file_bytes();
    told.weights = weights(file);
    told.context = parameters.context;
    told.layers = parameters.layers;
    told.embedding = parameters.embedding;
    told.vocabulary = static_cast<uint32_t>(tokenizer->vocabulary());
    told.bos = token_or_none(tokenizer->bos());
    told.eos = token_or_none(tokenizer->eos());
    told.has_chat_template = of->model->has_chat_template() ? 1 : 0;
    told.is_stack = stack::is_stack(file) ? 1 : 0;
    of->check();
    write_struct(info, told, "cairn_model_info");
  });
}

cairn_status cairn_model_describe(const cairn_model* model, char** json, cairn_error* error) {
  return call(error, [&] {
    require(json, "json");
    *json = nullptr;
    const auto of = object_of<Model>(model);
    const auto told = gguf::to_json(of->model->file());
    of->check();
    // Strings of a file need not be UTF-8, JSON's must.
    *json = handed_out(told.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  });
}

cairn_status cairn_tokenize(const cairn_model* model, const char* text, size_t text_size, uint32_t flags,
                            int32_t** tokens, size_t* token_count, cairn_error* error) {
  return call(error, [&] {
    require(tokens, "tokens");
    require(token_count, "token_count");
    *tokens = nullptr;
    *token_count = 0;
    const auto of = object_of<Model>(model);
    constexpr uint32_t kKnown = CAIRN_ADD_BOS | CAIRN_ADD_EOS | CAIRN_PARSE_SPECIAL;
    if ((flags & ~kKnown) != 0)
      fail(ErrorCode::invalid_argument, "flags: {:#x} is not known", flags & ~kKnown);
    const auto encoded = of->model->tokenizer()->encode(
        text_of(text, text_size, "text"), {.add_bos = (flags & CAIRN_ADD_BOS) != 0,
                                           .add_eos = (flags & CAIRN_ADD_EOS) != 0,
                                           .parse_special = (flags & CAIRN_PARSE_SPECIAL) != 0});
    of->check();
    *tokens = handed_out(encoded);
    *token_count = encoded.size();
  });
}

cairn_status cairn_detokenize(const cairn_model* model, const int32_t* tokens, size_t token_count,
                              uint32_t flags, char** text, size_t* text_size, cairn_error* error) {
  return call(error, [&] {
    require(text, "text");
    *text = nullptr;
    if (text_size != nullptr) *text_size = 0;
    const auto of = object_of<Model>(model);
    constexpr uint32_t kKnown = CAIRN_SHOW_SPECIAL;
    if ((flags & ~kKnown) != 0)
      fail(ErrorCode::invalid_argument, "flags: {:#x} is not known", flags & ~kKnown);
    const auto tokenizer = of->model->tokenizer();
    const auto given = numbers_of(tokens, token_count, "tokens");
    for (const int32_t token : given) {
      if (token < 0 || static_cast<size_t>(token) >= tokenizer->vocabulary()) {
        fail(ErrorCode::invalid_argument, "token {} is not in {}'s vocabulary of {}", token, of->path,
             tokenizer->vocabulary());
      }
    }
    const std::string decoded = tokenizer->decode(given, (flags & CAIRN_SHOW_SPECIAL) != 0);
    of->check();
    *text = handed_out(decoded);
    if (text_size != nullptr) *text_size = decoded.size();
  });
}

int32_t cairn_token_is_end(const cairn_model* model, int32_t token) {
  bool is_end = false;
  quietly([&] {
    const auto tokenizer = object_of<Model>(model)->model->tokenizer();
    is_end = token >= 0 && static_cast<size_t>(token) < tokenizer->vocabulary() && tokenizer->is_end(token);
  });
  return is_end ? 1 : 0;
}

cairn_status cairn_stack_get_info(const cairn_model* model, cairn_stack_info* info, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Model>(model);
    if (!stack::is_stack(of->model->file()))
      fail(ErrorCode::invalid_argument, "{}: it is no stack (`cairn stack` makes them)", of->path);
    const stack::Layout layout = stack::read_layout(of->model->file());
    cairn_stack_info told{};
    told.weights = layout.parameters();
    told.base_bytes = layout.base_bytes;
    told.file_bytes = layout.file_bytes;
    told.present_bytes = layout.present_bytes;
    told.blocks = layout.blocks.size();
    told.base_blocks = layout.base_blocks;
    told.bits = layout.bits(layout.blocks_within(layout.present_bytes));
    told.base_bits = layout.bits(layout.base_blocks);
    write_struct(info, told, "cairn_stack_info");
  });
}
