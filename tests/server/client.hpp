#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace cairn::server {

struct Response {
  int status = 0;                              // 0: the connection was closed without one
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  nlohmann::ordered_json json() const { return nlohmann::ordered_json::parse(body); }
};

// A client that sends what it is told to, right or wrong. Waits ten seconds at most for anything.
class Client {
 public:
  explicit Client(uint16_t port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0)
      throw std::runtime_error("cannot connect");
  }
  ~Client() { leave(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // What the server does not take any more is dropped.
  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  void request(const std::string& method, const std::string& path, const std::string& body = {},
               const std::string& headers = {}) {
    send(method + " " + path + " HTTP/1.1\r\n" +
         (headers.starts_with("Host: ") ? "" : "Host: localhost\r\n") + headers +
         (body.empty() && method == "GET" ? "" : "Content-Length: " + std::to_string(body.size()) + "\r\n") +
         "\r\n" + body);
  }
  Response ask(const std::string& method, const std::string& path, const std::string& body = {},
               const std::string& headers = {}) {
    request(method, path, body, headers);
    return read();
  }

  Response read(bool with_body = true) {
    Response response;
    std::string line = read_line();
    if (line.empty()) return response;
    response.status = std::stoi(line.substr(9));
    while (!(line = read_line()).empty()) {
      const size_t colon = line.find(": ");
      std::string name = line.substr(0, colon);
      std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
      response.headers[name] = line.substr(colon + 2);
    }
    if (!with_body) return response;
    if (response.headers.contains("transfer-encoding")) {
      for (std::string chunk; !(chunk = read_chunk()).empty();) response.body += chunk;
    } else if (response.headers.contains("content-length")) {
      response.body = read_bytes(std::stoul(response.headers["content-length"]));
    }
    return response;
  }
  std::string read_chunk() {
    const std::string line = read_line();
    if (line.empty()) return {};
    const size_t size = std::stoul(line, nullptr, 16);
    std::string chunk = read_bytes(size);
    read_line();
    return chunk;
  }
  // The next server-sent event that has a name, and its data; empty at the end.
  std::string read_named_event(nlohmann::ordered_json& data) {
    const std::string event = read_block();
    if (event.empty()) return {};
    const size_t line = event.find('\n');
    if (!event.starts_with("event: ") || event.compare(line, 7, "\ndata: ") != 0)
      throw std::runtime_error("not an event with a name: " + event);
    data = nlohmann::ordered_json::parse(event.substr(line + 7));
    return event.substr(7, line - 7);
  }
  // The next server-sent event's data; empty at the end.
  std::string read_event() {
    const std::string event = read_block();
    if (!event.empty() && !event.starts_with("data: ")) throw std::runtime_error("not an event: " + event);
    return event.empty() ? event : event.substr(6);
  }
  bool closed() { return more() == 0 && read_.empty(); }  // by the server, after all that it sent
  void leave() {
    if (socket_ >= 0) close(std::exchange(socket_, -1));
  }

 private:
  std::string read_block() {
    while (events_.find("\n\n") == std::string::npos) {
      const std::string chunk = read_chunk();
      if (chunk.empty()) return {};
      events_ += chunk;
    }
    const size_t end = events_.find("\n\n");
    const std::string event = events_.substr(0, end);
    events_.erase(0, end + 2);
    return event;
  }
  size_t more() {
    pollfd waits = {socket_, POLLIN, 0};
    if (poll(&waits, 1, 10'000) <= 0) throw std::runtime_error("the server does not answer");
    char buffer[1 << 16];
    const ssize_t got = recv(socket_, buffer, sizeof buffer, 0);
    if (got <= 0) return 0;
    read_.append(buffer, static_cast<size_t>(got));
    return static_cast<size_t>(got);
  }
  std::string read_line() {
    size_t end;
    while ((end = read_.find("\r\n")) == std::string::npos) {
      if (more() == 0) return {};
    }
    std::string line = read_.substr(0, end);
    read_.erase(0, end + 2);
    return line;
  }
  std::string read_bytes(size_t count) {
    while (read_.size() < count && more() > 0) continue;
    std::string bytes = read_.substr(0, count);
    read_.erase(0, count);
    return bytes;
  }

  int socket_;
  std::string read_, events_;
};

}  // namespace cairn::server
