#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "server/fields.hpp"
#include "server/metrics.hpp"
#include "llm/pooling.hpp"
#include "server/reply.hpp"
#include "server/served_model.hpp"

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
// read at a time. Kept alive by its tickets until the last one is there.
class Embeddings : public std::enable_shared_from_this<Embeddings> {
 public:
  Embeddings(EmbeddingRequest request, ServedModel& model, Metrics& metrics, std::shared_ptr<Reply> reply);

  // Errors: as Scheduler::submit; nothing is under way then.
  void start();

 private:
  void submit();
  void finished(size_t index);
  void fail(const std::exception& error);
  void cancel();
  void client_left();
  Json answer() const;

  const EmbeddingRequest request_;
  ServedModel& model_;
  const std::shared_ptr<void> held_;
  Metrics& metrics_;
  const std::shared_ptr<Reply> reply_;
  std::mutex mutex_;  // of what follows
  std::vector<llm::Pool> pools_;
  std::vector<llm::Scheduler::Ticket> tickets_;
  size_t left_ = 0;    // of the tickets
  bool over_ = false;  // answered, refused, or nobody listens
};

}  // namespace cairn::server
