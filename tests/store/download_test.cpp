#include "store/pull/download.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <filesystem>

#include "base/expect_error.hpp"
#include "base/interrupt.hpp"
#include "base/temporary_folder.hpp"
#include "store/http_server.hpp"

namespace cairn {
namespace {

using testing::expect_error;
using ::testing::HasSubstr;
using testing::HttpServer;
using ::testing::Not;
using testing::read_file;
using testing::TemporaryFolder;

constexpr const char* kSha256OfContent = "9690fa829981c88cd366e72af5b09350e6fcca754746b092bf9c41178dbad95e";

std::string content() {
  std::string text = "GGUF";
  for (int i = 0; i < 60'000; ++i) text += fmt::format("{:06}", i);
  return text;
}

std::string respond(const std::string& status, const std::string& headers, const std::string& body) {
  return fmt::format("HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n{}", status,
                     body.size(), headers, body);
}

// What a server that knows ranges answers; `etag` as the file's version.
std::string serve_range(const std::string& request, const std::string& body, const std::string& etag) {
  const std::string tag = "ETag: \"" + etag + "\"\r\n";
  const size_t range = request.find("Range: bytes=");
  const bool same = request.find("If-Range: \"" + etag + "\"") != std::string::npos ||
                    request.find("If-Range:") == std::string::npos;
  if (range == std::string::npos || !same) return respond("200 OK", tag, body);
  const size_t from = std::stoul(request.substr(range + 13));
  if (from >= body.size()) {
    return respond("416 Range Not Satisfiable", fmt::format("Content-Range: bytes */{}\r\n", body.size()),
                   "");
  }
  return respond("206 Partial Content",
                 tag + fmt::format("Content-Range: bytes {}-{}/{}\r\n", from, body.size() - 1, body.size()),
                 body.substr(from));
}

// Cuts an answer, as a connection that breaks does.
std::string lost_after(std::string answer, size_t bytes) {
  answer.resize(answer.find("\r\n\r\n") + 4 + bytes);
  return answer;
}

class Download : public ::testing::Test {
 protected:
  DownloadRequest request(const HttpServer& server) const {
    DownloadRequest what;
    what.url = server.url("/model.gguf");
    what.destination = destination_;
    what.retries = 2;
    what.first_pause = 0.01;
    what.stall_seconds = 2;
    return what;
  }
  const TemporaryFolder folder_;
  const std::string destination_ = folder_ / "model.gguf";
  const std::string partial_ = destination_ + ".pull.partial";
};

TEST_F(Download, WritesTheFileAndNothingElse) {
  const HttpServer server([](const std::string& r) { return serve_range(r, content(), "1"); });
  const Downloaded result = download(request(server));
  EXPECT_EQ(result.resumed_from, 0u);
  EXPECT_EQ(result.sha256, kSha256OfContent);
  EXPECT_EQ(read_file(destination_), content());
  EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(Download, GoesOnByItselfAfterALostConnection) {
  int times = 0;
  const HttpServer server([&times](const std::string& r) {
    const std::string answer = serve_range(r, content(), "1");
    return ++times < 4 ? lost_after(answer, 50'000)
                       : answer;  // more losses than retries, but each got further
  });
  download(request(server));
  EXPECT_EQ(read_file(destination_), content());
  ASSERT_EQ(server.requests().size(), 4u);
  EXPECT_THAT(server.requests()[3], HasSubstr("Range: bytes=150000-"));
}

TEST_F(Download, KeepsWhatCameAndGoesOnInALaterRun) {
  std::atomic<bool> broken = true;
  const HttpServer server([&broken](const std::string& r) {
    if (!broken) return serve_range(r, content(), "1");
    if (r.find("Range:") != std::string::npos) return std::string();
    return lost_after(serve_range(r, content(), "1"), 100'000);
  });
  expect_error(ErrorCode::network, "0.1 of 0.3 MiB are here, the same command goes on from there",
               [&] { download(request(server)); });
  EXPECT_EQ(read_file(partial_), content().substr(0, 100'000));
  EXPECT_FALSE(std::filesystem::exists(destination_));
  broken = false;
  EXPECT_EQ(download(request(server)).resumed_from, 100'000u);
  EXPECT_EQ(read_file(destination_), content());
  EXPECT_THAT(server.requests().back(), HasSubstr("Range: bytes=100000-"));
  EXPECT_THAT(server.requests().back(), HasSubstr("If-Range: \"1\""));
  EXPECT_EQ(folder_.entries(), 1u);
}

TEST_F(Download, StartsAgainWhenTheFileHasChanged) {
  bool first = true;
  const HttpServer server([&first](const std::string& r) {
    const bool lose = std::exchange(first, false);
    return lose ? lost_after(serve_range(r, std::string(200'000, 'o'), "1"), 100'000)
                : serve_range(r, content(), "2");
  });
  download(request(server));
  EXPECT_EQ(read_file(destination_), content());
}

TEST_F(Download, StartsAgainWhereTheServerKnowsNoRanges) {
  bool first = true;
  const HttpServer server([&first](const std::string&) {
    const std::string answer = respond("200 OK", "ETag: \"1\"\r\n", content());
    return std::exchange(first, false) ? lost_after(answer, 100'000) : answer;
  });
  download(request(server));
  EXPECT_EQ(read_file(destination_), content());
  EXPECT_THAT(server.requests()[1], HasSubstr("Range: bytes=100000-"));
}

TEST_F(Download, GivesUpOnAServerThatAlwaysBreaksOff) {
  const HttpServer server([](const std::string&) {
    return lost_after(respond("200 OK", "", content()), 100'000);  // no version told: it must start again
  });
  expect_error(ErrorCode::network, "the same command starts again", [&] { download(request(server)); });
  EXPECT_EQ(server.requests().size(), 3u);  // the first, then two retries that got no further
}

TEST_F(Download, FinishesAPartialFileThatIsWhole) {
  const HttpServer server([](const std::string& r) { return serve_range(r, content(), "1"); });
  testing::write_file(partial_, content());
  testing::write_file(partial_ + ".from", server.url("/model.gguf") + "\n\"1\"\n");
  download(request(server));
  EXPECT_EQ(read_file(destination_), content());
}

TEST_F(Download, StartsAgainWhenThePartialFileIsLongerThanTheFile) {
  const HttpServer server([](const std::string& r) { return serve_range(r, content(), "1"); });
  testing::write_file(partial_, content() + "more");
  testing::write_file(partial_ + ".from", server.url("/model.gguf") + "\n\"1\"\n");
  download(request(server));
  EXPECT_EQ(read_file(destination_), content());
}

TEST_F(Download, TrustsAPartialFileOfAnotherAddressNot) {
  const HttpServer server([](const std::string& r) { return serve_range(r, content(), "1"); });
  testing::write_file(partial_, "other");
  testing::write_file(partial_ + ".from", server.url("/other.gguf") + "\n\"1\"\n");
  download(request(server));
  EXPECT_EQ(read_file(destination_), content());
  EXPECT_THAT(server.requests()[0], Not(HasSubstr("Range:")));
}

TEST_F(Download, RemovesAFileWithTheWrongHash) {
  const HttpServer server([](const std::string& r) { return serve_range(r, content(), "1"); });
  DownloadRequest what = request(server);
  what.sha256 = std::string(64, '0');
  expect_error(ErrorCode::format, "not " + what.sha256, [&] { download(what); });
  EXPECT_EQ(folder_.entries(), 0u);
}

TEST_F(Download, ChecksTheHashThatAHubAnnounces) {
  const HttpServer server([](const std::string& r) {
    if (r.starts_with("GET /model.gguf")) {
      return respond("302 Found",
                     fmt::format("Location: /cdn\r\nX-Linked-Etag: \"{}\"\r\n", std::string(64, 'a')), "");
    }
    return serve_range(r, content(), "1");
  });
  expect_error(ErrorCode::format, "not " + std::string(64, 'a'), [&] { download(request(server)); });
  EXPECT_EQ(server.requests().size(), 2u);
}

TEST_F(Download, TellsAPageFromAModel) {
  const HttpServer server([](const std::string&) { return respond("200 OK", "", "<!DOCTYPE html>"); });
  DownloadRequest what = request(server);
  what.magic = "GGUF";
  expect_error(ErrorCode::format, "something else than a GGUF file", [&] { download(what); });
  EXPECT_EQ(folder_.entries(), 0u);
}

TEST_F(Download, ReportsAnEmptyFile) {
  const HttpServer server([](const std::string&) { return respond("200 OK", "", ""); });
  expect_error(ErrorCode::format, "the server sent an empty file", [&] { download(request(server)); });
  EXPECT_EQ(folder_.entries(), 0u);
}

TEST_F(Download, ReportsWhatIsNotThere) {
  const HttpServer server([](const std::string&) { return respond("404 Not Found", "", "no such page"); });
  expect_error(ErrorCode::not_found, "/model.gguf: the server answered with status 404",
               [&] { download(request(server)); });
  EXPECT_EQ(server.requests().size(), 1u);
  EXPECT_EQ(folder_.entries(), 0u);
}

TEST_F(Download, AsksForATokenWhereItIsForbidden) {
  const HttpServer server([](const std::string&) { return respond("401 Unauthorized", "", ""); });
  DownloadRequest what = request(server);
  what.token = "secret";
  expect_error(ErrorCode::network, "it may need a token", [&] { download(what); });
  EXPECT_THAT(server.requests()[0], HasSubstr("Authorization: Bearer secret"));
}

TEST_F(Download, RetriesABusyServer) {
  int times = 0;
  const HttpServer server([&times](const std::string& r) {
    return ++times < 3 ? respond("503 Service Unavailable", "", "busy") : serve_range(r, content(), "1");
  });
  download(request(server));
  EXPECT_EQ(read_file(destination_), content());
}

TEST_F(Download, ReportsAnAddressThatNobodyAnswers) {
  std::string url;
  {
    const HttpServer gone([](const std::string&) { return std::string(); });
    url = gone.url("/model.gguf");
  }
  DownloadRequest what;
  what.url = url;
  what.destination = destination_;
  what.retries = 1;
  what.first_pause = 0.01;
  expect_error(ErrorCode::network, "cannot fetch " + url, [&] { download(what); });
  EXPECT_EQ(folder_.entries(), 0u);
}

TEST_F(Download, RefusesOtherProtocols) {
  DownloadRequest what;
  what.destination = destination_;
  for (const char* url : {"file:///etc/hostname", "ftp://host/x", "http://"}) {
    what.url = url;
    expect_error(ErrorCode::invalid_argument, url, [&] { download(what); });
  }
}

TEST_F(Download, ReportsADiskThatFillsUp) {
  const HttpServer server([](const std::string& r) { return serve_range(r, content(), "1"); });
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {100'000, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  expect_error(ErrorCode::io, "model.gguf.pull.partial: File too large", [&] { download(request(server)); });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_EQ(server.requests().size(), 1u);  // trying again would not help
  download(request(server));                // room again: goes on
  EXPECT_EQ(read_file(destination_), content());
}

TEST_F(Download, TellsBeforehandThatTheDiskIsTooSmall) {
  const HttpServer server([](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\nGGUF");
  });
  expect_error(ErrorCode::io, "MiB are to come, the disk has", [&] { download(request(server)); });
}

TEST_F(Download, ReportsAnUnwritableFolder) {
  const HttpServer server([](const std::string& r) { return serve_range(r, content(), "1"); });
  DownloadRequest what = request(server);
  what.destination = folder_ / "none/model.gguf";
  expect_error(ErrorCode::io, "none/model.gguf.pull.partial: No such file", [&] { download(what); });
}

TEST_F(Download, StopsAtAnInterrupt) {
  EXPECT_EXIT(
      {
        catch_interrupts();
        const HttpServer server([](const std::string& r) {
          raise(SIGINT);
          return lost_after(serve_range(r, content(), "1"), 100'000);
        });
        expect_error(ErrorCode::cancelled, "interrupted", [&] { download(request(server)); });
        _exit(::testing::Test::HasFailure() ? 1 : 42);
      },
      ::testing::ExitedWithCode(42), "");
}

}  // namespace
}  // namespace cairn
