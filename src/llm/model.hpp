#pragma once

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "engine/engine.hpp"
#include "formats/gguf.hpp"
#include "llm/session.hpp"
#include "text/chat_template.hpp"
#include "text/tokenizer.hpp"

namespace cairn::llm {

struct ModelOptions {
  // Builds the tokenizer in a thread of its own while the caller prepares the engine; without it, the
  // tokenizer is built when it is first asked for.
  bool tokenizer_ahead = true;
  std::optional<std::string> chat_template;  // Jinja source to use instead of the file's
};

// A model file with what turns text into its tokens and back. Immutable and safe to share between threads;
// sessions made from it share the mapping and the tokenizer, and may outlive it.
class Model {
 public:
  // Maps the file and reads its hyper-parameters; weights are read when an engine touches them.
  // Errors: as gguf::File and graph::read_hyper_parameters.
  static std::shared_ptr<const Model> load(const std::string& path, const ModelOptions& options = {});
  static std::shared_ptr<const Model> load(gguf::File file, const ModelOptions& options = {});

  const gguf::File& file() const noexcept { return file_; }
  const graph::HyperParameters& parameters() const noexcept { return parameters_; }

  // Error as text::make_tokenizer.
  std::shared_ptr<const text::Tokenizer> tokenizer() const { return tokenizer_.get(); }

  // Whether the model says itself how it chats: a template in the file, or in the options.
  bool has_chat_template() const noexcept;
  // The options' template, else the file's for `variant` ("tool_use" for conversations with tools, "" for the
  // usual one), else that of its family: what text::chat_template_source finds. Parsed when first asked for.
  // Errors: not_found if there is none, else as text::ChatTemplate.
  std::shared_ptr<const text::ChatTemplate> chat_template(std::string_view variant = {}) const;

  // What an engine's context of 0 stands for: that which the model was trained for, at most 4,096.
  uint32_t context(uint32_t wanted) const;
  // An engine where options.device says: the weights' working copies, threads and scratch, to be shared by all
  // sessions. Errors: as backends::make_engine.
  std::shared_ptr<engine::Engine> make_engine(engine::Options options) const;
  // A session on an engine of this model; or on one of its own.
  Session make_session(std::shared_ptr<engine::Engine> engine) const {
    return {std::move(engine), tokenizer()};
  }
  Session make_session(const engine::Options& options) const { return make_session(make_engine(options)); }

 private:
  Model(gguf::File file, const ModelOptions& options);

  gguf::File file_;
  graph::HyperParameters parameters_;
  std::optional<std::string> own_template_;  // the options'
  mutable std::mutex templates_mutex_;
  mutable std::map<std::string, std::shared_ptr<const text::ChatTemplate>, std::less<>> templates_;
  std::shared_future<std::shared_ptr<const text::Tokenizer>> tokenizer_;  // last: its thread reads file_
};

}  // namespace cairn::llm
