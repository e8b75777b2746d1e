// An Api on a server of its own.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "running_server.hpp"
#include "server/api.hpp"

namespace cairn::server {

class ServedApi {
 public:
  ServedApi(std::vector<ModelSource> models, ApiOptions options)
      : api_(std::make_unique<Api>(std::move(models), std::move(options))),
        server_([this](HttpRequest request, const std::shared_ptr<Reply>& reply) {
          api_->handle(std::move(request), reply);
        }) {}
  ~ServedApi() {
    server_.http.stop();
    server_.http.stop();
    server_.join();
    api_.reset();  // before the server that its replies belong to
  }
  uint16_t port() const { return server_.port(); }

 private:
  std::unique_ptr<Api> api_;
  RunningServer server_;
};

}  // namespace cairn::server
