// What is behind each path.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "server/fields.hpp"
#include "server/metrics.hpp"
#include "server/reply.hpp"
#include "server/served_model.hpp"

namespace cairn::server {

// A request that was let in.
struct Call {
  const HttpRequest& request;
  const Json& body;  // of POST
  std::deque<ServedModel>& models;
  Metrics& metrics;
  const std::shared_ptr<Reply>& reply;

  // That which the body names, or the only one. ApiError: 400 (none is named), 404.
  ServedModel& model() const { return model(Fields(body)); }
  ServedModel& model(const Fields& fields) const;
  void send(const Json& json) const;  // as the whole answer
};

struct Route {
  const char* method;
  void (*answer)(const Call& call);  // throws what api_error() knows
};

using Routes = std::map<std::string, Route, std::less<>>;
// By path; one that ends in "/" has more behind it.
const Routes& routes();
// That of a path; end(): there is none.
Routes::const_iterator find_route(std::string_view path);

void answer_health(const Call& call);  // at once, on the server's thread
void answer_chat(const Call& call);
void answer_text(const Call& call);
void answer_messages(const Call& call);
void answer_count_tokens(const Call& call);
void answer_models(const Call& call);
void answer_model(const Call& call);
void answer_metrics(const Call& call);
void answer_tokenize(const Call& call);
void answer_detokenize(const Call& call);

}  // namespace cairn::server
