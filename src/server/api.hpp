#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "server/access.hpp"
#include "server/memory_control.hpp"
#include "server/metrics.hpp"
#include "server/models.hpp"
#include "server/reply.hpp"

namespace cairn::server {

struct ApiOptions {
  AccessOptions access;
  ModelsOptions models;
  std::chrono::seconds answer_time{0};  // from a request's reading to its answer's end, at most; 0: any
};

// What is behind the paths (docs/serve.md). Reads, renders and encodes requests on a thread of its own, so
// that /health and those that stream wait for nobody's prompt.
class Api {
 public:
  // Errors: as Models.
  Api(std::vector<ModelSource> models, ApiOptions options);
  ~Api();  // cancels what runs

  // A Handler's work.
  void handle(HttpRequest request, const std::shared_ptr<Reply>& reply);

 private:
  struct Worker;
  struct Asked;
  struct Waiting;
  void answer(const std::shared_ptr<Asked>& asked);
  void answer(const Asked& asked, Models::Lease model);
  void refuse(const HttpRequest& request, const std::exception& error, Reply& reply);

  const Access access_;
  const std::chrono::seconds answer_time_;
  Metrics metrics_;
  MemoryControl memory_;
  Models models_;
  std::shared_ptr<Worker> worker_;  // last: it uses all of the above
};

}  // namespace cairn::server
