#include "server/http_server.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <list>
#include <utility>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "server/connection.hpp"
#include "server/outbox.hpp"

namespace cairn::server {
namespace {

namespace net = boost::asio;
using boost::system::error_code;
using net::ip::tcp;

// "127.0.0.1:8080", "[::1]:8080"
std::string written(const tcp::endpoint& at) {
  const std::string address = at.address().to_string();
  return at.address().is_v6() ? fmt::format("[{}]:{}", address, at.port())
                              : fmt::format("{}:{}", address, at.port());
}

}  // namespace

struct HttpServer::Impl {
  explicit Impl(HttpOptions wanted) : options(std::move(wanted)) { take_address(); }
  ~Impl() {
    stopping = true;  // the context destroys connections last, when there is no host any more
    cut();
  }

  void take_address() {
    error_code error;
    const auto found = tcp::resolver(context).resolve(options.host, std::to_string(options.port),
                                                      tcp::resolver::passive, error);
    if (error || found.empty())
      fail(ErrorCode::invalid_argument, "--host {}: cannot be resolved: {}", options.host, error.message());
    const tcp::endpoint at = found.begin()->endpoint();
    acceptor.open(at.protocol(), error);
    if (!error) acceptor.set_option(net::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(at, error);
    check(error, at);
    endpoint = acceptor.local_endpoint();
  }

  static void check(const error_code& error, const tcp::endpoint& at) {
    if (!error) return;
    if (error == net::error::address_in_use)
      fail(ErrorCode::io, "{}: the port is in use by another program; --port takes another", written(at));
    fail(ErrorCode::io, "{}: cannot be listened at: {}", written(at), error.message());
  }

  void accept() {
    accepting = !stopping && open < options.connections;
    if (!accepting) return;
    acceptor.async_accept([this](error_code error, tcp::socket socket) {
      if (stopping) return;
      if (error) {  // no descriptors left, a client that left already
        retry.expires_after(std::chrono::milliseconds(100));
        retry.async_wait([this](error_code cancelled) {
          if (!cancelled) accept();
        });
        return;
      }
      ++open;
      const auto connection = std::make_shared<Connection>(host, std::move(socket));
      connections.remove_if([](const auto& one) { return one.expired(); });
      connections.push_back(connection);
      connection->start();
      accept();
    });
  }

  void closed() {
    --open;
    if (stopping) {
      if (open == 0) context.stop();
    } else if (!accepting) {
      accept();
    }
  }

  void stop() {
    if (stopping) return cut();
    stopping = true;
    if (options.stopping) options.stopping();
    error_code ignored;
    acceptor.close(ignored);
    retry.cancel();
    if (open == 0) return context.stop();
    drained.expires_after(options.drain);
    drained.async_wait([this](error_code cancelled) {
      if (!cancelled) cut();
    });
    for_each([](Connection& one) { one.stop_if_idle(); });
  }

  void cut() {
    for_each([](Connection& one) { one.cut(); });
    if (open == 0) context.stop();
  }

  template <class Action>
  void for_each(const Action& action) {
    for (const auto& weak : std::list(connections)) {
      if (const auto one = weak.lock()) action(*one);
    }
  }

  // Exchanges have something to send.
  void wait_for_answers() {
    filled.async_read_some(net::buffer(&fillings, sizeof fillings), [this](error_code error, size_t) {
      if (error) return;
      for (const auto& one : outbox->take()) {
        if (const auto connection = one.lock()) connection->flush();
      }
      wait_for_answers();
    });
  }

  void wait_for_signal() {
    signals.async_wait([this](error_code cancelled, int) {
      if (cancelled) return;
      stop();
      wait_for_signal();
    });
  }

  const HttpOptions options;
  net::io_context context{1};
  tcp::acceptor acceptor{context};
  net::steady_timer retry{context}, drained{context};
  net::signal_set signals{context};
  tcp::endpoint endpoint;
  Handler handler;
  bool stopping = false, accepting = false;
  size_t open = 0;
  std::list<std::weak_ptr<Connection>> connections;
  const std::shared_ptr<Outbox> outbox = std::make_shared<Outbox>();
  net::posix::stream_descriptor filled{context, dup(outbox->descriptor())};
  uint64_t fillings = 0;
  ConnectionHost host{options, handler, stopping, outbox, [this] { closed(); }};
};

HttpServer::HttpServer(HttpOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
HttpServer::~HttpServer() = default;

uint16_t HttpServer::port() const {
  return impl_->endpoint.port();
}

std::string HttpServer::address() const {
  return written(impl_->endpoint);
}

void HttpServer::run(Handler handler, bool signals) {
  impl_->handler = std::move(handler);
  error_code error;
  impl_->acceptor.listen(net::socket_base::max_listen_connections, error);
  Impl::check(error, impl_->endpoint);
  if (signals) {
    impl_->signals.add(SIGINT);
    impl_->signals.add(SIGTERM);
    throw_if_interrupted();  // by a signal that came before
    impl_->wait_for_signal();
  }
  if (impl_->options.listening) impl_->options.listening();
  impl_->wait_for_answers();
  impl_->accept();
  const auto work = net::make_work_guard(impl_->context);
  impl_->context.run();
}

void HttpServer::stop() {
  net::post(impl_->context, [this] { impl_->stop(); });
}

}  // namespace cairn::server
