// What was found right by trying, and has to stay so: pulls side by side, locales, numbers of threads.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

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
using cairn::testing::write_file;

class Kept : public ::testing::Test {
 protected:
  Kept() { llm::write_tiny_model(model_); }

  static std::string output(const std::vector<std::string>& arguments) {
    Program program(arguments);
    program.close_input();
    EXPECT_EQ(program.status(), 0) << program.err;
    return program.out;
  }

  const TemporaryFolder folder_;
  const std::string model_ = folder_ / "tiny.gguf";
};

TEST_F(Kept, PullsSideBySide) {
  const std::string body = read_file(model_);
  const HttpServer server([&](const std::string&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // so that all have begun
    return fmt::format("HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: {}\r\n\r\n", body.size()) + body;
  });
  const TemporaryFolder store;
  const ScopedVariable models("CAIRN_MODELS", store.path().c_str());
  std::vector<std::unique_ptr<Program>> programs;
  for (int i = 0; i < 4; ++i)
    programs.push_back(
        std::make_unique<Program>(std::vector<std::string>{"pull", server.url("/shared.gguf")}));
  int done = 0;
  for (const auto& program : programs) {
    if (program->status() == 0) {
      EXPECT_EQ(program->out, store / "shared.gguf\n");
      ++done;
    } else {
      EXPECT_THAT(program->err, ::testing::HasSubstr("another process is downloading it"));
    }
  }
  EXPECT_GE(done, 1);
  EXPECT_EQ(read_file(store / "shared.gguf"), body);
  EXPECT_EQ(store.entries(), 2u);  // the model and the note of its sha256
}

TEST_F(Kept, LocalesChangeNothing) {
  const std::string text = "Grüße, 東京, 1,5 naïve 🙂\n";
  write_file(folder_ / "text", text);
  const auto all = [&] {
    return output({"tokenize", model_, "--file", folder_ / "text", "--ids"}) +
           output({"run", model_, "-p", text, "--temp", "0.7", "--seed", "7", "-n", "30", "--threads", "1",
                   "--raw", "--no-stats"});
  };
  std::string usual;
  {
    const ScopedVariable locale("LC_ALL", "C.UTF-8");
    usual = all();
  }
  for (const char* name : {"POSIX", "", "de_DE.UTF-8", "tr_TR.UTF-8", "nonsense"}) {
    const ScopedVariable locale("LC_ALL", name);
    EXPECT_EQ(all(), usual) << name;
  }
}

TEST_F(Kept, AMillionCharacters) {
  for (const std::string unit : {"a", " ", "\n", "word ", "1"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    write_file(folder_ / "text", text);
    EXPECT_GT(output({"tokenize", model_, "--file", folder_ / "text", "--ids"}).size(), 2u) << unit;
  }
}

TEST_F(Kept, ThreadsGiveTheSameBits) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += fmt::format("stone {} lies on stone {}. ", i * 7919, i);
  write_file(folder_ / "text", text);
  for (const char* precision : {"standard", "f32"}) {
    const auto logits = [&](const char* threads) {
      const std::string file = folder_ / (std::string(precision) + threads);
      output({"eval", model_, "--perplexity", folder_ / "text", "--context", "64", "--limit", "4",
              "--precision", precision, "--threads", threads, "--logits", file});
      return read_file(file);
    };
    const std::string one = logits("1");
    EXPECT_FALSE(one.empty());
    EXPECT_TRUE(one == logits("2")) << precision;
    EXPECT_TRUE(one == logits("3")) << precision;
  }
}

}  // namespace
}  // namespace cairn::cli
