#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "server/metrics.hpp"
#include "server/reply.hpp"
#include "server/served_model.hpp"

namespace cairn::server {

struct ApiOptions {
  std::vector<std::string> keys;     // one of them must come with a request; none: nobody is asked
  std::vector<std::string> origins;  // of web pages that may ask; "*": all
};

// What is behind the paths (docs/serve.md). Reads, renders and encodes requests on a thread of its own, so
// that /health and those that stream wait for nobody's prompt.
class Api {
 public:
  Api(std::deque<ServedModel> models, ApiOptions options);
  ~Api();  // cancels what runs

  // A Handler's work.
  void handle(HttpRequest request, const std::shared_ptr<Reply>& reply);

 private:
  struct Worker;
  void answer(const HttpRequest& request, const std::shared_ptr<Reply>& reply);
  void refused(const HttpRequest& request, const class ApiError& error);
  bool allowed(const HttpRequest& request) const;

  const ApiOptions options_;
  Metrics metrics_;
  std::deque<ServedModel> models_;
  std::unique_ptr<Worker> worker_;  // last: it uses all of the above
};

}  // namespace cairn::server
