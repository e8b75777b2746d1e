#include "server/connection.hpp"

#include <fmt/format.h>

#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>
#include <utility>

#include "server/api_error.hpp"
#include "server/exchange.hpp"

namespace cairn::server {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr size_t kReadAtOnce = 16 << 10;
constexpr size_t kMostAhead = 64 << 10;     // of further requests, while one is answered
constexpr size_t kMostLingered = 64 << 20;  // read and dropped, so that a refusal arrives
constexpr auto kLinger = std::chrono::seconds(2);

}  // namespace

Connection::Connection(ConnectionHost& host, net::ip::tcp::socket socket)
    : host_(host), socket_(std::move(socket)), timer_(socket_.get_executor()) {
  error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(net::ip::tcp::no_delay(true), ignored);
  socket_.set_option(net::socket_base::keep_alive(true), ignored);
}

Connection::~Connection() {
  if (!closed_) cut();
}

template <class Method>
auto Connection::bind(Method method) {
  return [self = shared_from_this(), method](error_code error, auto...) { ((*self).*method)(error); };
}

// Ends what is under way when it has not ended by then; the latest deadline counts.
void Connection::set_deadline(std::chrono::milliseconds time) {
  timed_out_ = false;
  timer_.expires_after(time);
  timer_.async_wait([weak = weak_from_this(), id = ++deadline_](error_code cancelled) {
    const auto self = weak.lock();
    if (cancelled || !self || id != self->deadline_ || self->closed_) return;
    self->timed_out_ = true;
    error_code ignored;
    self->socket_.cancel(ignored);
  });
}

void Connection::wait_for_request() {
  if (host_.stopping) return cut();
  if (buffer_.size() > 0) return read_head();
  buffer_ = {};
  idle_ = true;
  set_deadline(host_.options.idle);
  socket_.async_wait(net::ip::tcp::socket::wait_read, [self = shared_from_this()](error_code error) {
    if (self->closed_) return;
    self->idle_ = false;
    if (error) return self->cut();
    self->read_head();
  });
}

void Connection::read_head() {
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(host_.options.header_bytes));
  parser_->body_limit(host_.options.body_bytes);
  set_deadline(host_.options.request_time);
  http::async_read_header(socket_, buffer_, *parser_, bind(&Connection::head_read));
}

void Connection::head_read(Error error) {
  if (closed_) return;
  if (error) return refuse(error);
  if (parser_->is_done()) return hand_over();
  if (!boost::beast::iequals(parser_->get()[http::field::expect], "100-continue")) return read_body();
  static constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  net::async_write(socket_, net::buffer(kContinue.data(), kContinue.size()),
                   [self = shared_from_this()](error_code failed, size_t) {
                     if (self->closed_) return;
                     if (failed) return self->cut();
                     self->read_body();
                   });
}

void Connection::read_body() {
  http::async_read(socket_, buffer_, *parser_, bind(&Connection::body_read));
}

void Connection::body_read(Error error) {
  if (closed_) return;
  if (error) return refuse(error);
  hand_over();
}

// Of what came no request can be made.
void Connection::refuse(Error error) {
  const bool begun = parser_->got_some() || buffer_.size() > 0;
  if (error == http::error::end_of_stream || (!begun && timed_out_)) return cut();
  if (error == net::error::operation_aborted && !timed_out_) return cut();
  const HttpOptions& options = host_.options;
  int status = 400;
  std::string text;
  if (timed_out_) {
    status = 408;
    text = fmt::format("the request was not whole after {} seconds", options.request_time.count() / 1000.0);
  } else if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    status = 431;
    text = fmt::format("the headers are longer than {} bytes", options.header_bytes);
  } else if (error == http::error::body_limit) {
    status = 413;
    text = fmt::format("the body is longer than {} bytes", options.body_bytes);
  } else if (error.category() == make_error_code(http::error::bad_method).category()) {
    const auto* first = static_cast<const unsigned char*>(buffer_.data().data());
    const bool tls = buffer_.size() > 0 && *first == 0x16;  // a handshake record
    text = tls ? "this port speaks HTTP, and was spoken to in TLS (https)"
               : fmt::format("this is no HTTP/1.1 request: {}", error.message());
  } else {
    return cut();  // the client has left
  }
  parser_.reset();
  keep_alive_ = false;
  chunked_ = head_only_ = false;
  exchange_ = std::make_shared<Exchange>(weak_from_this(), host_.outbox, options.pending_bytes);
  ApiError(status, text).send(*exchange_, ErrorForm::openai);
  flush();  // at once: nothing else keeps this connection
}

void Connection::hand_over() {
  auto message = parser_->release();
  parser_.reset();
  timer_.cancel();
  ++deadline_;
  keep_alive_ = message.keep_alive();
  version_ = message.version();
  chunked_ = version_ >= 11;
  head_only_ = message.method() == http::verb::head;
  const auto header = [&](boost::beast::string_view name) {
    const boost::beast::string_view value = message[name];
    return std::string(value.data(), value.size());
  };
  HttpRequest request;
  request.method = std::string(message.method_string().data(), message.method_string().size());
  const std::string target(message.target().data(), message.target().size());
  request.path = target.substr(0, target.find('?'));
  request.body = std::move(message.body());
  request.host = header("Host");
  request.origin = header("Origin");
  request.authorization = header("Authorization");
  request.api_key = header("X-Api-Key");
  error_code unknown;
  const auto peer = socket_.remote_endpoint(unknown).address();
  request.local = !unknown && (peer.is_loopback() ||
                               (peer.is_v6() && peer.to_v6().is_v4_mapped() &&
                                net::ip::make_address_v4(net::ip::v4_mapped, peer.to_v6()).is_loopback()));
  exchange_ = std::make_shared<Exchange>(weak_from_this(), host_.outbox, host_.options.pending_bytes);
  watch();
  // Whoever answers holds the exchange alone: the connection lives by its watch.
  const std::shared_ptr<Exchange> exchange = exchange_;
  host_.handler(std::move(request), exchange);
}

// Sees the client leave while its answer is under way. What it sends meanwhile is kept for later.
void Connection::watch() {
  socket_.async_wait(net::ip::tcp::socket::wait_read,
                     [self = shared_from_this(), id = ++watched_](error_code error) {
                       if (self->closed_ || id != self->watched_) return;
                       if (error == net::error::operation_aborted && !self->timed_out_) return self->watch();
                       if (error) return self->cut();
                       const auto room = self->buffer_.prepare(kReadAtOnce);
                       const size_t read = self->socket_.read_some(room, error);
                       if (error == net::error::would_block) return self->watch();
                       if (error) return self->cut();
                       self->buffer_.commit(read);
                       if (self->buffer_.size() > kMostAhead) return self->cut();
                       self->watch();
                     });
}

void Connection::flush() {
  if (closed_ || writing_ || !exchange_) return;
  Exchange::Taken taken = exchange_->take();
  if (taken.overflown) return cut();
  sending_ += taken.bytes;
  if (taken.state == Exchange::State::waits) return;
  if (taken.state == Exchange::State::whole) {
    if (head_written_) return answered();
    return write_whole();
  }
  if (!head_written_) return write_head();
  if (!sending_.empty()) return write_piece();
  if (taken.state != Exchange::State::ended) return;
  if (!chunked_ || message_) return answered();
  message_ = std::make_shared<int>();  // the last chunk is written
  writing_ = true;
  set_deadline(host_.options.write_time);
  net::async_write(socket_, http::make_chunk_last(), bind(&Connection::written));
}

void Connection::write_whole() {
  auto response = std::make_shared<http::response<http::string_body>>();
  response->version(version_);
  response->result(static_cast<unsigned>(exchange_->status()));
  for (const auto& [name, value] : exchange_->headers()) response->insert(name, value);
  keep_alive_ = keep_alive_ && !host_.stopping;
  response->keep_alive(keep_alive_);
  if (response->result() != http::status::no_content) response->content_length(sending_.size());
  if (!head_only_) response->body() = std::move(sending_);
  sending_ = {};
  writing_ = head_written_ = true;
  set_deadline(host_.options.write_time);
  message_ = response;
  http::async_write(socket_, *response, bind(&Connection::written));
}

void Connection::write_head() {
  struct Head {
    http::response<http::empty_body> response;
    std::optional<http::response_serializer<http::empty_body>> serializer;
  };
  auto head = std::make_shared<Head>();
  head->response.version(version_);
  head->response.result(static_cast<unsigned>(exchange_->status()));
  for (const auto& [name, value] : exchange_->headers()) head->response.insert(name, value);
  keep_alive_ = keep_alive_ && chunked_ && !host_.stopping;
  head->response.keep_alive(keep_alive_);
  head->response.chunked(chunked_);
  writing_ = head_written_ = true;
  set_deadline(host_.options.write_time);
  head->serializer.emplace(head->response);
  http::async_write_header(
      socket_, *head->serializer,
      [self = shared_from_this(), head](error_code error, size_t) { self->written(error); });
}

void Connection::write_piece() {
  const auto piece = std::make_shared<std::string>(std::move(sending_));
  sending_ = {};
  writing_ = true;
  set_deadline(host_.options.write_time);
  auto done = [self = shared_from_this(), piece](error_code error, size_t) { self->written(error); };
  if (chunked_) {
    net::async_write(socket_, http::make_chunk(net::buffer(*piece)), std::move(done));
  } else {
    net::async_write(socket_, net::buffer(*piece), std::move(done));
  }
}

void Connection::written(Error error) {
  writing_ = false;
  if (closed_) return;
  if (error) return cut();
  timer_.cancel();
  ++deadline_;
  flush();
}

void Connection::answered() {
  exchange_.reset();
  message_.reset();
  head_written_ = false;
  ++watched_;
  error_code ignored;
  socket_.cancel(ignored);  // the watch
  if (keep_alive_ && !host_.stopping) return wait_for_request();
  socket_.shutdown(net::ip::tcp::socket::shutdown_send, ignored);
  buffer_ = {};
  set_deadline(kLinger);
  linger();
}

// A connection that is closed with bytes unread may lose the answer on its way.
void Connection::linger() {
  const auto room = buffer_.prepare(kReadAtOnce);
  socket_.async_read_some(room, [self = shared_from_this()](error_code error, size_t read) {
    if (self->closed_) return;
    self->lingered_ += read;
    if (error || self->lingered_ > kMostLingered) return self->cut();
    self->linger();
  });
}

void Connection::stop_if_idle() {
  if (idle_) cut();
}

void Connection::cut() {
  if (std::exchange(closed_, true)) return;
  timer_.cancel();
  error_code ignored;
  socket_.close(ignored);
  if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->leave();
  host_.closed();
}

}  // namespace cairn::server
