// What a script sees of `cairn pull`: the path on stdout, one line on stderr when it fails.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/temporary_folder.hpp"
#include "llm/tiny_model.hpp"
#include "session_program.hpp"
#include "store/http_server.hpp"

namespace cairn::cli {
namespace {

using cairn::testing::HttpServer;
using cairn::testing::read_file;
using cairn::testing::ScopedVariable;
using cairn::testing::TemporaryFolder;
using ::testing::HasSubstr;

// No tensors, no metadata: the least that is a GGUF file.
const std::string kBody = std::string("GGUF\3\0\0\0", 8) + std::string(16, '\0') + std::string(299'980, 'x');
const std::string kHead = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 300004\r\n\r\n";

class PullCommand : public ::testing::Test {
 protected:
  static void expect_line(Program& program, int status, const std::string& part) {
    EXPECT_EQ(program.status(), status) << program.err;
    EXPECT_EQ(program.out, "");
    EXPECT_THAT(program.err, HasSubstr(part));
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
  }

  const TemporaryFolder store_;
  const ScopedVariable models_{"CAIRN_MODELS", store_.path().c_str()};
  const std::string stored_ = store_ / "model.gguf", partial_ = stored_ + ".pull.partial";
};

TEST_F(PullCommand, PrintsThePathAlone) {
  const HttpServer server([](const std::string&) { return kHead + kBody; });
  for (int time = 0; time < 2; ++time) {
    Program program({"pull", server.url("/model.gguf")});
    EXPECT_EQ(program.status(), 0) << program.err;
    EXPECT_EQ(program.out, stored_ + "\n");
    EXPECT_EQ(program.err, "");
  }
  EXPECT_EQ(server.requests().size(), 1u);
  EXPECT_EQ(read_file(stored_), kBody);
}

TEST_F(PullCommand, ListsWhatIsKnown) {
  Program program({"pull", "--list"});
  EXPECT_EQ(program.status(), 0);
  EXPECT_THAT(program.out, HasSubstr("smollm2-135m"));
  EXPECT_THAT(program.out, HasSubstr("gemma3-270m"));
}

TEST_F(PullCommand, ReportsWhatIsNotThere) {
  const HttpServer server(
      [](const std::string&) { return std::string("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"); });
  Program program({"pull", server.url("/model.gguf")});
  expect_line(program, 1, "/model.gguf: the server answered with status 404");
}

TEST_F(PullCommand, RefusesAModelThatIsNotWhole) {
  llm::write_tiny_model(store_ / "whole");
  const std::string whole = read_file(store_ / "whole"), cut = whole.substr(0, whole.size() / 2);
  cairn::testing::write_file(store_ / "cut", cut);
  const HttpServer server([&](const std::string&) {
    return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", cut.size()) + cut;
  });
  Program fetched({"pull", server.url("/model.gguf")});
  EXPECT_EQ(fetched.status(), 1);
  EXPECT_THAT(fetched.err, HasSubstr("exceed the "));
  Program adopted({"pull", store_ / "cut", "--name", "model"});
  EXPECT_EQ(adopted.status(), 1);
  EXPECT_FALSE(std::filesystem::exists(stored_));
  EXPECT_FALSE(std::filesystem::exists(partial_));
  Program good({"pull", store_ / "whole", "--name", "model"});
  EXPECT_EQ(good.status(), 0) << good.err;
}

TEST_F(PullCommand, RefusesPartsThatAreNoModel) {
  const auto part = [](int number) { return fmt::format("split-{:05}-of-00003.gguf", number); };
  const auto golden = [&](int number) {
    return read_file(std::string(CAIRN_TEST_DATA) + "/gguf/" + part(number));
  };
  const TemporaryFolder elsewhere;
  const auto write_parts = [&](int second) {
    for (const auto& [number, from] : {std::pair{1, 1}, {2, second}, {3, 3}})
      cairn::testing::write_file(elsewhere / part(number), golden(from));
  };
  write_parts(3);  // each part is sound by itself
  const HttpServer server([&](const std::string& request) {
    for (int number : {1, 2, 3}) {
      if (request.find(part(number)) == std::string::npos) continue;
      const std::string body = read_file(elsewhere / part(number));
      return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.size()) + body;
    }
    return std::string();
  });
  for (const std::string& source : {elsewhere / part(1), server.url("/" + part(2))}) {
    Program program({"pull", source});
    expect_line(program, 1, "says that it is part 3 of 3, but its name says part 2 of 3");
    EXPECT_FALSE(std::filesystem::exists(store_ / part(1)));
  }
  write_parts(2);
  Program program({"pull", server.url("/" + part(2))});
  EXPECT_EQ(program.status(), 0) << program.err;
  EXPECT_EQ(program.out, (store_ / part(1)) + "\n");
}

TEST_F(PullCommand, ReportsAWrongHash) {
  const HttpServer server([](const std::string&) { return kHead + kBody; });
  Program program({"pull", server.url("/model.gguf"), "--sha256", std::string(64, '0')});
  expect_line(program, 1, "its sha256 is ");
  EXPECT_EQ(store_.entries(), 0u);
}

// Takes as long as the program's pauses between its retries.
TEST_F(PullCommand, KeepsWhatCameBeforeTheConnectionWasLost) {
  const HttpServer server([](const std::string& request) {
    return request.find("Range:") == std::string::npos ? kHead + kBody.substr(0, 150'000) : std::string();
  });
  Program program({"pull", server.url("/model.gguf")});
  expect_line(program, 1, "0.1 of 0.3 MiB are here, the same command goes on from there");
  EXPECT_EQ(read_file(partial_), kBody.substr(0, 150'000));
}

TEST_F(PullCommand, ReportsADiskThatFillsUp) {
  const HttpServer server([](const std::string&) { return kHead + kBody; });
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small = {100'000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);  // for the program, which inherits it
  Program program({"pull", server.url("/model.gguf")});
  setrlimit(RLIMIT_FSIZE, &before);
  expect_line(program, 1, "cannot write " + partial_ + ": File too large");
}

TEST_F(PullCommand, StopsAtCtrlCAndGoesOnLater) {
  std::atomic<bool> slow{true};
  const HttpServer server([&slow](const std::string& request) {
    const size_t range = request.find("Range: bytes=");
    if (range == std::string::npos) {
      return kHead + kBody.substr(0, 150'000);
    }
    if (slow) {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      return std::string();
    }
    return "HTTP/1.1 206 Partial Content\r\nETag: \"1\"\r\nContent-Length: 150004\r\n"
           "Content-Range: bytes 150000-300003/300004\r\n\r\n" +
           kBody.substr(150'000);
  });
  Program stopped({"pull", server.url("/model.gguf")});
  while (server.requests().empty()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  stopped.signal(SIGINT);
  expect_line(stopped, 130, "interrupted");
  EXPECT_EQ(read_file(partial_).size(), 150'000u);

  slow = false;
  Program resumed({"pull", server.url("/model.gguf")});
  EXPECT_EQ(resumed.status(), 0) << resumed.err;
  EXPECT_EQ(read_file(stored_), kBody);
}

}  // namespace
}  // namespace cairn::cli
