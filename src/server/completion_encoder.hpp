#pragma once

#include <string>

#include "server/openai_encoders.hpp"

namespace cairn::server {

// What chats and texts have in common: a frame around choices, and how streams end.
class CompletionEncoder : public Encoder {
 public:
  std::string end(const std::vector<Answer>& answers, const Usage& usage) override;
  std::string failed(const ApiError& error) override;

 protected:
  // id: what ids begin with; chunk: the "object" of a stream's pieces.
  CompletionEncoder(const char* id, const char* chunk, const CompletionRequest& request,
                    const ServedModel& model);

  Json frame(const char* object) const;
  std::string choice_event(Json choice) const;  // of a stream

 private:
  const std::string id_, model_;
  const char* const chunk_;
  const int64_t created_ = now();
  const bool include_usage_;
};

}  // namespace cairn::server
