#pragma once

#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "device/runner.hpp"
#include "formats/gguf.hpp"
#include "llm/session.hpp"
#include "text/chat_template.hpp"
#include "text/tokenizer.hpp"

namespace cairn::llm {

struct ModelOptions {
  // Builds the tokenizer in a thread of its own while the caller prepares the runner; without it, the
  // tokenizer is built when it is first asked for.
  bool tokenizer_ahead = true;
  std::optional<std::string> chat_template;  // Jinja source to use instead of the file's
};

// A model file with what turns text into its tokens and back. Immutable and safe to share between threads;
// sessions made from it share the mapping and the tokenizer, and may outlive it.
class Model {
 public:
  // Maps the file and reads its hyper-parameters; weights are read when a runner touches them.
  // Errors: as gguf::File and graph::read_hyper_parameters.
  static std::shared_ptr<const Model> load(const std::string& path, const ModelOptions& options = {});

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

  // What a runner's context of 0 stands for: that which the model was trained for, at most 4,096.
  uint32_t context(uint32_t wanted) const;
  // options.context 0: the context that the model was trained for, at most 4,096.
  std::unique_ptr<device::Runner> make_runner(device::RunnerOptions options) const;
  Session make_session(const device::RunnerOptions& options) const;
  Session make_session(std::unique_ptr<device::Runner> runner) const {
    return {std::move(runner), tokenizer()};
  }

 private:
  Model(const std::string& path, const ModelOptions& options);

  gguf::File file_;
  graph::HyperParameters parameters_;
  std::optional<std::string> own_template_;  // the options'
  mutable std::mutex templates_mutex_;
  mutable std::map<std::string, std::shared_ptr<const text::ChatTemplate>, std::less<>> templates_;
  std::shared_future<std::shared_ptr<const text::Tokenizer>> tokenizer_;  // last: its thread reads file_
};

}  // namespace cairn::llm
