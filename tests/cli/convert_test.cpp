// What a script sees of `cairn convert`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/temporary_folder.hpp"
#include "session_program.hpp"
#include "store/http_server.hpp"

namespace cairn::cli {
namespace {

using cairn::testing::HttpServer;
using cairn::testing::read_file;
using cairn::testing::ScopedVariable;
using cairn::testing::TemporaryFolder;
using ::testing::HasSubstr;

class Convert : public ::testing::Test {
 protected:
  const std::string folder_ = std::string(CAIRN_TEST_DATA) + "/convert/qwen2/qwen2";
  const TemporaryFolder out_;
  const std::string path_ = out_ / "qwen2.gguf";
};

TEST_F(Convert, TellsWhatItWrote) {
  Program program({"convert", folder_, "-o", path_});
  EXPECT_EQ(program.status(), 0) << program.err;
  EXPECT_EQ(program.err, "");
  EXPECT_EQ(program.out, path_ + ": qwen2, 26 tensors, 0.0 million weights, matrices in bf16\n");
  Program json({"convert", folder_, "-o", path_, "--json", "--force", "--type", "f16"});
  EXPECT_EQ(json.status(), 0) << json.err;
  const auto told = nlohmann::json::parse(json.out);
  EXPECT_EQ(told["architecture"], "qwen2");
  EXPECT_EQ(told["type"], "f16");
  EXPECT_EQ(told["tensors"], 26);
  Program shown({"inspect", path_});
  EXPECT_EQ(shown.status(), 0) << shown.err;
}

TEST_F(Convert, AnErrorIsOneLine) {
  Program program({"convert", out_.path(), "-o", path_});
  EXPECT_EQ(program.status(), 1);
  EXPECT_EQ(program.err, "cairn: " + out_.path() + ": holds no model.safetensors\n");
  Program again({"convert", folder_, "-o", path_, "--type", "q8_0"});
  EXPECT_EQ(again.status(), 2);
}

TEST_F(Convert, FetchesFromAHub) {
  const HttpServer server([&](const std::string& request) {
    const std::string prefix = "GET /owner/qwen2/resolve/main/";
    const std::string name = request.substr(prefix.size(), request.find(' ', 5) - prefix.size());
    if (!request.starts_with(prefix) || !std::filesystem::exists(folder_ + "/" + name))
      return std::string("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    const std::string body = read_file(folder_ + "/" + name);
    return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  });
  const ScopedVariable endpoint("HF_ENDPOINT", server.url("").c_str()),
      home("XDG_CACHE_HOME", out_.path().c_str());
  Program fetched({"convert", "hf:owner/qwen2", "-o", path_});
  EXPECT_EQ(fetched.status(), 0) << fetched.err;
  Program local({"convert", folder_, "-o", out_ / "local.gguf"});
  EXPECT_EQ(local.status(), 0) << local.err;
  EXPECT_EQ(read_file(path_), read_file(out_ / "local.gguf"));
  Program wrong({"convert", "hf:qwen2", "-o", out_ / "more.gguf"});
  EXPECT_EQ(wrong.status(), 2);
  EXPECT_THAT(wrong.err, HasSubstr("a hub's checkpoint is written hf:owner/repository"));
}

}  // namespace
}  // namespace cairn::cli
