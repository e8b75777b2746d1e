#include "server/api.hpp"

#include <fmt/format.h>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <utility>

#include "base/error.hpp"
#include "server/api_error.hpp"
#include "server/page.hpp"
#include "server/routes.hpp"

namespace cairn::server {

struct Api::Worker {
  boost::asio::thread_pool thread{1};
};

Api::Api(std::vector<ModelSource> models, ApiOptions options)
    : access_(std::move(options.access)),
      models_(std::move(models), std::move(options.models)),
      worker_(std::make_unique<Worker>()) {
  models_.when_loaded([this](ServedModel& model) { memory_.apply(model); });
}

Api::~Api() {
  models_.stop();  // which uses the worker
  worker_->thread.stop();
  worker_->thread.join();
}

void Api::handle(HttpRequest request, const std::shared_ptr<Reply>& reply) {
  try {
    const bool gets = request.method == "GET" || request.method == "HEAD";
    if (request.path == "/health" && gets)
      return answer_health({request, Json(), models_, memory_, metrics_, reply});
    access_.check_host(request);
    if (const PageFile* file = find_page_file(request.path); file && gets) return server::send(*file, *reply);
    if (access_.check_origin(request, *reply)) return;
    access_.check_key(request);
    const auto found = find_route(request.path);
    if (found == routes().end()) throw ApiError(404, fmt::format("there is no {} here", request.path));
    const Route& route = found->second;
    if (!takes(route, request.method)) {
      reply->add_headers({{"Allow", route.methods}});
      throw ApiError(405, fmt::format("{} takes {}, not {}", request.path, route.methods, request.method));
    }
    if (request.method == "PUT") access_.check_control(request);
  } catch (const std::exception& error) {
    return refuse(request, error, *reply);
  }
  const auto kept = std::make_shared<const HttpRequest>(std::move(request));
  boost::asio::post(worker_->thread, [this, kept, reply] {
    try {
      answer(kept, reply);
    } catch (const std::exception& error) {
      refuse(*kept, error, *reply);
    }
  });
}

// Counted by the path that is known, so that nobody makes more of them.
void Api::refuse(const HttpRequest& request, const std::exception& error, Reply& reply) {
  const ApiError refusal = api_error(error);
  const auto found = find_route(request.path);
  metrics_.refused(found == routes().end() ? "other" : found->first, refusal.status());
  refusal.send(reply, error_form(request.path));
}

void Api::answer(const std::shared_ptr<const HttpRequest>& request, const std::shared_ptr<Reply>& reply) {
  const Route& route = find_route(request->path)->second;
  const bool asks_model = request->method == "POST";
  const auto body = std::make_shared<const Json>(
      asks_model || request->method == "PUT" ? parse_body(request->body) : Json::object());
  if (!asks_model) return route.answer({*request, *body, models_, memory_, metrics_, reply});
  models_.use(model_name(Fields(*body), models_),
              [this, &route, request, body, reply](Models::Lease model, const std::exception_ptr& error) {
                // On this thread, and at once, if the model is there already.
                boost::asio::dispatch(worker_->thread, [=, this, &route, model = std::move(model)] {
                  try {
                    if (error) std::rethrow_exception(error);
                    route.answer({*request, *body, models_, memory_, metrics_, reply, model});
                  } catch (const std::exception& refused) {
                    refuse(*request, refused, *reply);
                  }
                });
              });
}

}  // namespace cairn::server
