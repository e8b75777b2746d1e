#pragma once

#include <memory>
#include <vector>

#include "llm/pooling.hpp"
#include "server/fields.hpp"
#include "server/work.hpp"

namespace cairn::server {

// A request of /v1/embeddings, checked.
struct EmbeddingRequest {
  std::vector<std::vector<llm::Token>> inputs;
  llm::Pooling pooling = llm::Pooling::mean;
  size_t dimensions = 0;
  bool as_base64 = false;  // little-endian floats
};
// Throws ApiError 400 that names the field.
EmbeddingRequest embedding_request(const Json& body, const ServedModel& model);

// The vectors of one request's inputs, on their way from the scheduler to the client; a few of the inputs are
// read at a time.
class Embeddings : public Work {
 public:
  Embeddings(const Call& call, EmbeddingRequest request);

 private:
  void begin() override;
  void finished(size_t index, const llm::Result& result) override;
  void end() override;
  void submit_next();
  void send() const;

  const std::function<void(std::function<void()>)> later_;
  const EmbeddingRequest request_;
  std::vector<llm::Pool> pools_;
  size_t submitted_ = 0;
};

}  // namespace cairn::server
