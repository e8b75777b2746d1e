#include "llm/model.hpp"

#include <algorithm>

#include "backends/make_engine.hpp"
#include "base/error.hpp"
#include "base/standard_streams.hpp"

namespace cairn::llm {

std::shared_ptr<const Model> Model::load(const std::string& path, const ModelOptions& options) {
  open_standard_descriptors();
  return load(gguf::File(path), options);
}

std::shared_ptr<const Model> Model::load(gguf::File file, const ModelOptions& options) {
  return std::shared_ptr<const Model>(new Model(std::move(file), options));
}

Model::Model(gguf::File file, const ModelOptions& options)
    : file_(std::move(file)),
      parameters_(graph::read_hyper_parameters(file_)),
      own_template_(options.chat_template) {
  const auto make = [this]() -> std::shared_ptr<const text::Tokenizer> {
    return text::make_tokenizer(file_);
  };
  tokenizer_ =
      std::async(options.tokenizer_ahead ? std::launch::async | std::launch::deferred : std::launch::deferred,
                 make)
          .share();
}

bool Model::has_chat_template() const noexcept {
  return own_template_.has_value() || file_.find("tokenizer.chat_template") != nullptr;
}

std::shared_ptr<const text::ChatTemplate> Model::chat_template(std::string_view variant) const {
  if (own_template_) variant = {};
  const std::lock_guard lock(templates_mutex_);
  const auto known = templates_.find(variant);
  if (known != templates_.end()) return known->second;
  auto made = std::make_shared<const text::ChatTemplate>(
      own_template_ ? *own_template_ : text::chat_template_source(file_, variant));
  return templates_.emplace(std::string(variant), std::move(made)).first->second;
}

uint32_t Model::context(uint32_t wanted) const {
  constexpr uint32_t kDefaultContext = 4096;
  return wanted == 0 ? std::min(parameters_.context, kDefaultContext) : wanted;
}

std::shared_ptr<engine::Engine> Model::make_engine(engine::Options options) const {
  options.context = context(options.context);
  return backends::make_engine(file_, options);
}

}  // namespace cairn::llm
