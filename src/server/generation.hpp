#pragma once

#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/completion_request.hpp"
#include "server/metrics.hpp"
#include "server/models.hpp"
#include "server/reply.hpp"

namespace cairn::server {

// The answers to one request, on their way from the scheduler to the client: as OpenAI's JSON, whole or in
// pieces (server-sent events). Kept alive by its tickets until the last answer is there.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  Generation(CompletionRequest request, Models::Lease model, Metrics& metrics, std::shared_ptr<Reply> reply);

  // Errors: as Scheduler::submit; nothing is under way then.
  void start();

 private:
  bool piece(size_t index, std::string_view text);
  void finished(size_t index);
  void cancel();
  void client_left();
  void fail(const std::exception& error);
  void answer_whole();
  void finish_stream();
  Json frame() const;  // what all objects begin with
  Json usage() const;
  void send_event(const Json& event);
  void send_choice(Json choice);

  const CompletionRequest request_;
  const Models::Lease model_;
  Metrics& metrics_;
  const std::shared_ptr<Reply> reply_;
  const std::string id_;
  const int64_t created_;
  std::mutex mutex_;  // of what follows
  std::vector<llm::Scheduler::Ticket> tickets_;
  std::vector<std::optional<llm::Result>> results_;
  size_t left_ = 0;
  bool over_ = false;  // answered, refused, or nobody listens
};

}  // namespace cairn::server
