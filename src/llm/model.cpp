#include "llm/model.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace cairn::llm {

std::shared_ptr<const Model> Model::load(const std::string& path, const ModelOptions& options) {
  return std::shared_ptr<const Model>(new Model(path, options));
}

Model::Model(const std::string& path, const ModelOptions& options)
    : file_(path), parameters_(graph::read_hyper_parameters(file_)) {
  template_source_ =
      options.chat_template ? *options.chat_template : file_.text("tokenizer.chat_template", "");
  const auto make = [this]() -> std::shared_ptr<const text::Tokenizer> {
    return text::make_tokenizer(file_);
  };
  tokenizer_ = std::async(options.tokenizer_ahead ? std::launch::async : std::launch::deferred, make).share();
}

std::shared_ptr<const text::ChatTemplate> Model::chat_template() const {
  if (!has_chat_template()) {
    fail(ErrorCode::invalid_argument,
         "{}: the model has no chat template; it continues text but was not made to chat", file_.path());
  }
  const std::lock_guard lock(template_mutex_);
  if (!template_) template_ = std::make_shared<const text::ChatTemplate>(template_source_);
  return template_;
}

uint32_t Model::context(uint32_t wanted) const {
  constexpr uint32_t kDefaultContext = 4096;
  return wanted == 0 ? std::min(parameters_.context, kDefaultContext) : wanted;
}

std::unique_ptr<device::Runner> Model::make_runner(device::RunnerOptions options) const {
  options.context = context(options.context);
  return device::make_cpu_runner(file_, options);
}

Session Model::make_session(const device::RunnerOptions& options) const {
  return make_session(make_runner(options));
}

}  // namespace cairn::llm
