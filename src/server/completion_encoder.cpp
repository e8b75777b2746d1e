#include "server/completion_encoder.hpp"

#include <utility>

namespace cairn::server {

CompletionEncoder::CompletionEncoder(const char* id, const char* chunk, const CompletionRequest& request,
                                     const ServedModel& model)
    : id_(new_id(id)), model_(model.name), chunk_(chunk), include_usage_(request.include_usage) {}

std::string CompletionEncoder::end(const std::vector<Answer>&, const Usage& usage) {
  std::string last;
  if (include_usage_) {
    Json chunk = frame(chunk_);
    chunk["choices"] = Json::array();
    chunk["usage"] = openai_usage(usage);
    last = event(chunk);
  }
  return last + "data: [DONE]\n\n";
}

std::string CompletionEncoder::failed(const ApiError& error) {
  return event(error.json());
}

Json CompletionEncoder::frame(const char* object) const {
  return {{"id", id_}, {"object", object}, {"created", created_}, {"model", model_}};
}

std::string CompletionEncoder::choice_event(Json choice) const {
  Json chunk = frame(chunk_);
  chunk["choices"].push_back(std::move(choice));
  if (include_usage_) chunk["usage"] = nullptr;
  return event(chunk);
}

Json openai_usage(const Usage& usage) {
  return {{"prompt_tokens", usage.prompt},
          {"completion_tokens", usage.written},
          {"total_tokens", usage.prompt + usage.written},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning}}}};
}

}  // namespace cairn::server
