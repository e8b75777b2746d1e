#include "server/http_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <vector>

#include "base/error.hpp"
#include "running_server.hpp"

namespace cairn::server {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

// Tells what it was asked.
void echo(HttpRequest request, const std::shared_ptr<Reply>& reply) {
  reply->send(200, "text/plain", request.method + " " + request.path + " " + request.body);
}

// Keeps its replies for the test.
struct Held {
  void operator()(HttpRequest, const std::shared_ptr<Reply>& reply) {
    const std::lock_guard lock(mutex);
    replies.push_back(reply);
    reply->when_gone([this] { ++gone; });
  }
  Handler handler() {
    return [this](HttpRequest request, const std::shared_ptr<Reply>& reply) {
      (*this)(std::move(request), reply);
    };
  }
  std::shared_ptr<Reply> reply(size_t index = 0) {
    for (;; std::this_thread::sleep_for(1ms)) {
      const std::lock_guard lock(mutex);
      if (replies.size() > index) return replies[index];
    }
  }
  bool wait_gone(int count = 1) const {
    for (int i = 0; i < 5000 && gone < count; ++i) std::this_thread::sleep_for(1ms);
    return gone == count;
  }
  std::mutex mutex;
  std::vector<std::shared_ptr<Reply>> replies;
  std::atomic<int> gone{0};
};

TEST(HttpServer, AnswersManyRequestsOnOneConnection) {
  RunningServer server(echo);
  Client client(server.port());
  for (const char* body : {"one", "two"}) {
    const Response response = client.ask("POST", "/a?b=c", body);
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, std::string("POST /a ") + body);
  }
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  RunningServer server(echo);
  Client client(server.port());
  client.request("POST", "/1", "x");
  client.request("POST", "/2", "y");
  EXPECT_EQ(client.read().body, "POST /1 x");
  EXPECT_EQ(client.read().body, "POST /2 y");
}

TEST(HttpServer, ReadsChunkedBodies) {
  RunningServer server(echo);
  Client client(server.port());
  client.send(
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(client.read().body, "POST / abcde");
}

TEST(HttpServer, TellsAClientThatAsksToGoOn) {
  RunningServer server(echo);
  Client client(server.port());
  client.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(client.read(false).status, 100);
  client.send("ok");
  EXPECT_EQ(client.read().body, "POST / ok");
}

TEST(HttpServer, ClosesForHttp10AndWhenAsked) {
  RunningServer server(echo);
  Client old(server.port());
  old.send("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.read().status, 200);
  EXPECT_TRUE(old.closed());
  Client last(server.port());
  EXPECT_EQ(last.ask("GET", "/", {}, "Connection: close\r\n").status, 200);
  EXPECT_TRUE(last.closed());
}

TEST(HttpServer, AnswersHeadWithoutABody) {
  RunningServer server(echo);
  Client client(server.port());
  client.request("HEAD", "/");
  const Response response = client.read(false);
  EXPECT_EQ(response.headers.at("content-length"), "7");
  EXPECT_EQ(client.ask("GET", "/next").body, "GET /next ");
}

TEST(HttpServer, StreamsPieces) {
  Held held;
  RunningServer server(held.handler());
  Client client(server.port());
  client.request("GET", "/");
  const auto reply = held.reply();
  reply->begin(200, "text/event-stream");
  reply->write("first");
  EXPECT_EQ(client.read(false).headers.at("transfer-encoding"), "chunked");
  EXPECT_EQ(client.read_chunk(), "first");
  reply->write("second");
  EXPECT_EQ(client.read_chunk(), "second");
  reply->end();
  EXPECT_EQ(client.read_chunk(), "");
  client.request("GET", "/again");
  held.reply(1)->send(200, "text/plain", "whole");
  EXPECT_EQ(client.read().body, "whole");
  EXPECT_EQ(held.gone, 0);
}

TEST(HttpServer, SeesAClientLeave) {
  for (const bool streams : {false, true}) {
    Held held;
    RunningServer server(held.handler());
    Client client(server.port());
    client.request("GET", "/");
    const auto reply = held.reply();
    if (streams) {
      reply->begin(200, "text/plain");
      reply->write("x");
      EXPECT_EQ(client.read(false).status, 200);
    }
    client.leave();
    EXPECT_TRUE(held.wait_gone()) << streams;
    reply->write("to nobody");
    reply->send(200, "text/plain", "to nobody");
  }
}

TEST(HttpServer, EndsAnAnswerThatIsNotRead) {
  Held held;
  HttpOptions options;
  options.pending_bytes = 1 << 20;
  RunningServer server(held.handler(), options);
  Client client(server.port());
  client.request("GET", "/");
  const auto reply = held.reply();
  reply->begin(200, "text/plain");
  const std::string piece(1 << 16, 'x');
  for (int i = 0; i < 10'000 && held.gone == 0; ++i) reply->write(piece);
  EXPECT_TRUE(held.wait_gone());
}

TEST(HttpServer, EndsAnAnswerThatIsReadTooSlowly) {
  Held held;
  HttpOptions options;
  options.write_time = 100ms;
  RunningServer server(held.handler(), options);
  Client client(server.port());
  client.request("GET", "/");
  held.reply()->send(200, "text/plain", std::string(64 << 20, 'x'));
  EXPECT_TRUE(held.wait_gone());
}

struct Bad {
  const char* name;
  std::string bytes;
  int status;
  const char* says;
};

class HttpServerBadInput : public testing::TestWithParam<Bad> {};

TEST_P(HttpServerBadInput, IsRefusedAndTheConnectionClosed) {
  HttpOptions options;
  options.header_bytes = 4096;
  options.body_bytes = 1000;
  options.request_time = 200ms;
  RunningServer server(echo, options);
  Client client(server.port());
  client.send(GetParam().bytes);
  const Response response = client.read();
  EXPECT_EQ(response.status, GetParam().status);
  EXPECT_THAT(response.json()["error"]["message"].get<std::string>(), HasSubstr(GetParam().says));
  EXPECT_TRUE(client.closed());
  Client next(server.port());
  EXPECT_EQ(next.ask("GET", "/").status, 200);
}

const std::string kPost = "POST / HTTP/1.1\r\nHost: x\r\n";

INSTANTIATE_TEST_SUITE_P(
    Requests, HttpServerBadInput,
    testing::Values(
        Bad{"BothLengths", kPost + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
            "no HTTP"},
        Bad{"BothLengthsTheOtherWay",
            kPost + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, "no HTTP"},
        Bad{"TwoLengths", kPost + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, "no HTTP"},
        Bad{"NegativeLength", kPost + "Content-Length: -1\r\n\r\n", 400, "no HTTP"},
        Bad{"Tls", std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 abcdefgh\r\n\r\n", 24), 400,
            "TLS"},
        Bad{"Nonsense", "\x01\x02\x03 nonsense\r\n\r\n", 400, "no HTTP"},
        Bad{"LongHeaders", "GET / HTTP/1.1\r\nX: " + std::string(1 << 20, 'x'), 431, "4096 bytes"},
        Bad{"LongBody", kPost + "Content-Length: 1001\r\n\r\n" + std::string(1001, 'x'), 413, "1000 bytes"},
        Bad{"LongChunks", kPost + "Transfer-Encoding: chunked\r\n\r\n7d0\r\n" + std::string(2000, 'x'), 413,
            "1000 bytes"},
        Bad{"BodyThatDoesNotEnd", kPost + "Content-Length: 10\r\n\r\nabc", 408, "0.2 seconds"},
        Bad{"HeadersThatDoNotEnd", "GET / HTTP/1.1\r\nHost:", 408, "0.2 seconds"}),
    [](const auto& tested) { return tested.param.name; });

TEST(HttpServer, ClosesIdleConnections) {
  HttpOptions options;
  options.idle = 50ms;
  RunningServer server(echo, options);
  Client client(server.port());
  EXPECT_TRUE(client.closed());
}

TEST(HttpServer, LetsConnectionsWaitBeyondTheMost) {
  HttpOptions options;
  options.connections = 1;
  RunningServer server(echo, options);
  Client first(server.port());
  EXPECT_EQ(first.ask("GET", "/").status, 200);
  Client second(server.port());
  second.request("GET", "/2");
  first.leave();
  EXPECT_EQ(second.read().status, 200);
}

TEST(HttpServer, FinishesWhatRunsWhenItStops) {
  Held held;
  RunningServer server(held.handler());
  Client idle(server.port()), asks(server.port());
  asks.request("GET", "/");
  const auto reply = held.reply();
  server.http.stop();
  EXPECT_TRUE(idle.closed());
  EXPECT_THROW(
      {
        for (int i = 0; i < 1000; ++i) Client late(server.port());
      },
      std::runtime_error);
  reply->send(200, "text/plain", "done");
  EXPECT_EQ(asks.read().body, "done");
  asks.leave();
  server.join();
}

TEST(HttpServer, CutsOffWhatRunsTooLongWhenItStops) {
  Held held;
  HttpOptions options;
  options.drain = 50ms;
  RunningServer server(held.handler(), options);
  Client client(server.port());
  client.request("GET", "/");
  held.reply();
  server.http.stop();
  server.join();
  EXPECT_EQ(held.gone, 1);
}

TEST(HttpServer, TellsOfAPortInUse) {
  RunningServer server(echo);
  Client(server.port()).ask("GET", "/");
  HttpOptions options;
  options.port = server.port();
  try {
    HttpServer(options).run(echo);
    FAIL() << "two servers on one port";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(server.port()) + ": the port is in use"));
  }
}

TEST(HttpServer, TellsOfAHostThatIsNone) {
  HttpOptions options;
  options.host = "no such host";
  EXPECT_THROW(HttpServer{options}, Error);
  options.host = "192.0.2.1";  // of no machine (RFC 5737)
  EXPECT_THROW(HttpServer{options}, Error);
}

}  // namespace
}  // namespace cairn::server
