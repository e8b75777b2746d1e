#include "server/api.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <utility>

#include "base/error.hpp"
#include "server/api_error.hpp"
#include "server/fields.hpp"
#include "server/routes.hpp"

namespace cairn::server {
namespace {

// Takes as long wherever the two differ.
bool equal_secret(std::string_view given, std::string_view key) {
  unsigned different = given.size() == key.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i)
    different |= static_cast<unsigned>(given[i] ^ (key.empty() ? 0 : key[i % key.size()]));
  return different == 0;
}

}  // namespace

struct Api::Worker {
  boost::asio::thread_pool thread{1};
};

Api::Api(std::deque<ServedModel> models, ApiOptions options)
    : options_(std::move(options)), models_(std::move(models)), worker_(std::make_unique<Worker>()) {}

Api::~Api() {
  worker_->thread.stop();
  worker_->thread.join();
}

bool Api::allowed(const HttpRequest& request) const {
  if (options_.keys.empty()) return true;
  std::string_view given = request.authorization;
  if (given.size() > 7 && (given.starts_with("Bearer ") || given.starts_with("bearer ")))
    given.remove_prefix(7);
  if (given.empty()) given = request.api_key;
  bool right = false;
  for (const std::string& key : options_.keys) right = equal_secret(given, key) || right;
  return right;
}

void Api::handle(HttpRequest request, const std::shared_ptr<Reply>& reply) {
  try {
    const bool head = request.method == "HEAD";
    if (request.path == "/health" && (head || request.method == "GET"))
      return answer_health({request, Json(), models_, metrics_, reply});
    // A web page sends its origin; without a word for it no page of any site reaches a local model.
    if (!request.origin.empty()) {
      const auto has = [&](const std::string& one) {
        return std::find(options_.origins.begin(), options_.origins.end(), one) != options_.origins.end();
      };
      const bool all = has("*");
      if (!all && !has(request.origin))
        throw ApiError(
            403, fmt::format("pages of {} may not ask: --cors {} allows it", request.origin, request.origin));
      reply->add_headers({{"Access-Control-Allow-Origin", all ? "*" : request.origin}, {"Vary", "Origin"}});
      if (request.method == "OPTIONS") {
        return reply->send(204, "", "",
                           {{"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
                            {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key, *"},
                            {"Access-Control-Max-Age", "86400"}});
      }
    }
    if (!allowed(request))
      throw ApiError(401, "a key is needed: Authorization: Bearer KEY", {}, "invalid_api_key");
    const auto found = find_route(request.path);
    if (found == routes().end()) throw ApiError(404, fmt::format("there is no {} here", request.path));
    const Route& route = found->second;
    if (request.method != route.method && !(head && std::string_view(route.method) == "GET")) {
      reply->add_headers({{"Allow", route.method}});
      throw ApiError(405, fmt::format("{} takes {}, not {}", request.path, route.method, request.method));
    }
  } catch (const ApiError& error) {
    refused(request, error);
    return error.send(*reply, error_form(request.path));
  }
  boost::asio::post(worker_->thread, [this, request = std::move(request), reply] {
    try {
      answer(request, reply);
    } catch (const std::exception& error) {
      const ApiError refusal = api_error(error);
      refused(request, refusal);
      refusal.send(*reply, error_form(request.path));
    }
  });
}

// By the path that is known, so that nobody makes more of them.
void Api::refused(const HttpRequest& request, const ApiError& error) {
  const auto found = find_route(request.path);
  metrics_.refused(found == routes().end() ? "other" : found->first, error.status());
}

void Api::answer(const HttpRequest& request, const std::shared_ptr<Reply>& reply) {
  const Route& route = find_route(request.path)->second;
  const Json body = std::string_view(route.method) == "POST" ? parse_body(request.body) : Json::object();
  route.answer({request, body, models_, metrics_, reply});
}

}  // namespace cairn::server
