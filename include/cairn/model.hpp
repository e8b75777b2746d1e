#ifndef CAIRN_MODEL_HPP
#define CAIRN_MODEL_HPP

#include <cairn/model.h>

#include <cairn/base.hpp>

namespace cairn {
inline namespace v0 {

struct ModelInfo {
  std::string path, name, architecture;
  std::uint64_t file_bytes, weights;
  std::uint32_t context, layers, embedding, vocabulary;
  std::int32_t bos, eos;  // −1: none
  bool has_chat_template, is_stack;
};

struct EncodeOptions {
  bool add_bos = true, add_eos = false, parse_special = true;
};

struct Message {
  std::string role, content;
};

struct TemplateOptions {
  std::string variables;  // a JSON object of more for the template; empty: none
  bool sanitize = false;
  std::string tools{};  // a JSON array of functions that the answer may call; empty: none
};

// Messages as the JSON that other functions take.
inline std::string to_json(const std::vector<Message>& messages) {
  std::vector<cairn_message> given;
  for (const Message& one : messages) given.push_back({one.role.c_str(), one.content.c_str()});
  detail::Text json;
  detail::check(cairn_messages_json, given.data(), given.size(), &json.data);
  return json.str();
}

// A model file (cairn/model.h).
class Model {
 public:
  // A path, or the name of a pulled model. chat_template: in place of the file's; empty: the file's.
  explicit Model(const std::string& path, const std::string& chat_template = {}) {
    cairn_model_options options;
    cairn_model_options_init(&options, sizeof options);
    if (!chat_template.empty()) options.chat_template = chat_template.c_str();
    cairn_model* opened = nullptr;
    detail::check(cairn_model_open, path.c_str(), &options, &opened);
    model_.reset(opened);
  }

  ModelInfo info() const {
    cairn_model_info i{};
    i.size = sizeof i;
    detail::check(cairn_model_get_info, model_.get(), &i);
    return {i.path,         i.name,      i.architecture, i.file_bytes, i.weights, i.context,
            i.layers,       i.embedding, i.vocabulary,   i.bos,        i.eos,     i.has_chat_template != 0,
            i.is_stack != 0};
  }

  // Metadata and tensors as JSON.
  std::string describe() const {
    detail::Text json;
    detail::check(cairn_model_describe, model_.get(), &json.data);
    return json.str();
  }

  std::vector<std::int32_t> tokenize(std::string_view text, const EncodeOptions& options = {}) const {
    std::uint32_t flags = 0;
    if (options.add_bos) flags |= CAIRN_ADD_BOS;
    if (options.add_eos) flags |= CAIRN_ADD_EOS;
    if (options.parse_special) flags |= CAIRN_PARSE_SPECIAL;
    detail::Tokens tokens;
    detail::check(cairn_tokenize, model_.get(), text.data(), text.size(), flags, &tokens.data, &tokens.count);
    return tokens.vector();
  }

  // special: control tokens give their text.
  std::string detokenize(const std::vector<std::int32_t>& tokens, bool special = false) const {
    detail::Text text;
    detail::check(cairn_detokenize, model_.get(), tokens.data(), tokens.size(),
                  special ? std::uint32_t{CAIRN_SHOW_SPECIAL} : 0u, &text.data, &text.size);
    return text.str();
  }

  bool is_end(std::int32_t token) const { return cairn_token_is_end(model_.get(), token) != 0; }

  // messages: a JSON array. The conversation as the chat template writes it, and its tokens.
  std::string render(const std::string& messages, const TemplateOptions& options = {}) const {
    const cairn_template_options given = c(options);
    detail::Text text;
    detail::check(cairn_template_render, model_.get(), messages.c_str(), &given, &text.data, &text.size);
    return text.str();
  }
  std::vector<std::int32_t> tokenize_messages(const std::string& messages,
                                              const TemplateOptions& options = {}) const {
    const cairn_template_options given = c(options);
    detail::Tokens tokens;
    detail::check(cairn_template_tokenize, model_.get(), messages.c_str(), &given, &tokens.data,
                  &tokens.count);
    return tokens.vector();
  }
  std::vector<std::int32_t> tokenize_messages(const std::vector<Message>& messages,
                                              const TemplateOptions& options = {}) const {
    return tokenize_messages(to_json(messages), options);
  }

  // Error where it is no stack.
  cairn_stack_info stack() const {
    cairn_stack_info info{};
    info.size = sizeof info;
    detail::check(cairn_stack_get_info, model_.get(), &info);
    return info;
  }

  cairn_model* get() const noexcept { return model_.get(); }

 private:
  static cairn_template_options c(const TemplateOptions& options) {
    cairn_template_options given;
    cairn_template_options_init(&given, sizeof given);
    if (!options.variables.empty()) given.variables = options.variables.c_str();
    given.sanitize = options.sanitize ? 1 : 0;
    if (!options.tools.empty()) given.tools = options.tools.c_str();
    return given;
  }

  detail::Owned<cairn_model, cairn_model_close> model_;
};

}  // namespace v0
}  // namespace cairn

#endif
