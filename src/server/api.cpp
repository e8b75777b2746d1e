#include "server/api.hpp"

#include <fmt/format.h>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <utility>

#include "base/error.hpp"
#include "server/api_error.hpp"
#include "server/page.hpp"
#include "server/routes.hpp"

namespace cairn::server {

struct Api::Worker {
  boost::asio::thread_pool thread{1};
  std::function<void(std::function<void()>)> later;
};

// A request that was let in.
struct Api::Asked {
  HttpRequest request;
  std::shared_ptr<Reply> reply;
  Deadline deadline;
  Json body = Json::object();
};

// For a model; the worker's own.
struct Api::Waiting {
  explicit Waiting(boost::asio::thread_pool& thread) : timer(thread) {}
  boost::asio::steady_timer timer;
  bool over = false;
};

Api::Api(std::vector<ModelSource> models, ApiOptions options)
    : access_(std::move(options.access)),
      answer_time_(options.answer_time),
      models_(std::move(models), std::move(options.models)),
      worker_(std::make_shared<Worker>()) {
  // What the schedulers still do when the worker is gone is dropped.
  worker_->later = [weak = std::weak_ptr(worker_)](std::function<void()> action) {
    if (const auto worker = weak.lock()) boost::asio::post(worker->thread, std::move(action));
  };
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
      return answer_health({request, Json(), models_, memory_, metrics_, reply, worker_->later});
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
  const auto asked = std::make_shared<Asked>(Asked{std::move(request), reply, Deadline(answer_time_)});
  boost::asio::post(worker_->thread, [this, asked] {
    try {
      answer(asked);
    } catch (const std::exception& error) {
      refuse(asked->request, error, *asked->reply);
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

void Api::answer(const std::shared_ptr<Asked>& asked) {
  const bool asks_model = asked->request.method == "POST";
  if (asks_model || asked->request.method == "PUT") asked->body = parse_body(asked->request.body);
  if (!asks_model) return answer(*asked, nullptr);
  const auto waiting = std::make_shared<Waiting>(worker_->thread);
  const auto number = models_.use(
      model_name(Fields(asked->body), models_),
      [this, asked, waiting](Models::Lease model, const std::exception_ptr& error) {
        // On this thread, and at once, if the model is there already.
        boost::asio::dispatch(worker_->thread, [this, asked, waiting, model = std::move(model), error] {
          if (std::exchange(waiting->over, true)) return;
          waiting->timer.cancel();
          try {
            if (error) std::rethrow_exception(error);
            answer(*asked, model);
          } catch (const std::exception& refused) {
            refuse(asked->request, refused, *asked->reply);
          }
        });
      });
  if (waiting->over) return;
  // Who leaves makes room for another. The reply may outlive the worker, and what is the worker's.
  asked->reply->when_gone([this, later = worker_->later, weak = std::weak_ptr(waiting), number] {
    later([this, weak, number] {
      const auto left = weak.lock();
      if (!left || std::exchange(left->over, true)) return;
      left->timer.cancel();
      models_.forget(number);
      metrics_.gone();
    });
  });
  if (!asked->deadline.set()) return;
  waiting->timer.expires_at(asked->deadline.at());
  waiting->timer.async_wait([this, asked, waiting, number](boost::system::error_code cancelled) {
    if (cancelled || std::exchange(waiting->over, true)) return;
    models_.forget(number);
    refuse(asked->request, asked->deadline.error(), *asked->reply);
  });
}

void Api::answer(const Asked& asked, Models::Lease model) {
  find_route(asked.request.path)
      ->second.answer({asked.request, asked.body, models_, memory_, metrics_, asked.reply, worker_->later,
                       asked.deadline, std::move(model)});
}

}  // namespace cairn::server
