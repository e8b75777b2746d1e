#pragma once

// Only for connection.cpp and http_server.cpp: Boost's headers are long.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/http_server.hpp"

namespace cairn::server {

class Exchange;
class Outbox;

// What connections share.
struct ConnectionHost {
  const HttpOptions& options;
  const Handler& handler;
  const bool& stopping;
  const std::shared_ptr<Outbox> outbox;
  std::function<void()> closed;  // called by each connection at its end
};

// A client's connection: one request after the other. Lives as long as one of its operations is under way or
// it is held elsewhere. While it waits for a request it has neither parser nor buffer.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ConnectionHost& host, boost::asio::ip::tcp::socket socket);
  ~Connection();

  void start() { wait_for_request(); }
  void stop_if_idle();
  void cut();    // ends it, whatever it does
  void flush();  // sends what there is of its answer

 private:
  using Error = boost::system::error_code;
  using Body = boost::beast::http::string_body;
  template <class Method>
  auto bind(Method method);

  void wait_for_request();
  void read_head();
  void head_read(Error error);
  void read_body();
  void body_read(Error error);
  void refuse(Error error);
  void hand_over();
  void watch();
  void write_whole();
  void write_head();
  void write_piece();
  void written(Error error);
  void answered();
  void linger();
  void set_deadline(std::chrono::milliseconds time);

  ConnectionHost& host_;
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<Body>> parser_;
  std::shared_ptr<Exchange> exchange_;  // the request that is answered
  std::shared_ptr<void> message_;       // what is written now
  std::string sending_;
  uint64_t watched_ = 0, deadline_ = 0;  // the latest of each: earlier ones' handlers do nothing
  bool idle_ = false, writing_ = false, head_written_ = false, closed_ = false;
  bool keep_alive_ = false, chunked_ = false, head_only_ = false, timed_out_ = false;
  unsigned version_ = 11;
  size_t lingered_ = 0;
};

}  // namespace cairn::server
