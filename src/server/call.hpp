#pragma once

#include <functional>
#include <memory>

#include "server/deadline.hpp"
#include "server/fields.hpp"
#include "server/memory_control.hpp"
#include "server/metrics.hpp"
#include "server/models.hpp"
#include "server/reply.hpp"

namespace cairn::server {

// A request that was let in.
struct Call {
  const HttpRequest& request;
  const Json& body;  // of POST and PUT
  Models& models;
  MemoryControl& memory;
  Metrics& metrics;
  const std::shared_ptr<Reply>& reply;
  // Runs something later, on the thread that reads requests; from any thread.
  const std::function<void(std::function<void()>)>& later;
  Deadline deadline{};
  Models::Lease model = nullptr;  // of POST: the one that the body names, loaded

  void send(const Json& json) const;  // as the whole answer
};

}  // namespace cairn::server
