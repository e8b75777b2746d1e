// Checkpoints from a hub: a server of our own, which has the files of a map.
#include "store/pull/checkpoint.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"
#include "store/http_server.hpp"

namespace cairn {
namespace {

using testing::expect_error;
using testing::HttpServer;
using testing::read_file;
using testing::ScopedVariable;
using testing::TemporaryFolder;

class PullCheckpoint : public ::testing::Test {
 protected:
  std::string answer(const std::string& request) const {
    const std::string prefix = "GET /owner/some-model/resolve/main/";
    const auto end = request.find(' ', prefix.size());
    const auto file = request.starts_with(prefix)
                          ? files_.find(request.substr(prefix.size(), end - prefix.size()))
                          : files_.end();
    if (file == files_.end()) return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    const auto hash = hashes_.find(file->first);
    return "HTTP/1.1 200 OK\r\n" +
           (hash == hashes_.end() ? "" : "X-Linked-Etag: \"" + hash->second + "\"\r\n") +
           "Content-Length: " + std::to_string(file->second.size()) + "\r\n\r\n" + file->second;
  }
  size_t requests(const std::string& file) const {
    size_t count = 0;
    for (const std::string& request : server_.requests())
      count += request.starts_with("GET /owner/some-model/resolve/main/" + file + " ");
    return count;
  }

  std::map<std::string, std::string> files_{{"config.json", "{}"}, {"tokenizer.json", "{\"a\": 1}"}}, hashes_;
  const HttpServer server_{[this](const std::string& request) { return answer(request); }};
  const TemporaryFolder cache_;
  const ScopedVariable endpoint_{"HF_ENDPOINT", server_.url("").c_str()};
  const ScopedVariable token_{"HF_TOKEN", "secret"};
  const ScopedVariable home_{"XDG_CACHE_HOME", cache_.path().c_str()};
  const std::string source_ = "hf:owner/some-model", folder_ = cache_ / "cairn/checkpoints/owner/some-model";
};

TEST_F(PullCheckpoint, OfOneFile) {
  files_["model.safetensors"] = "weights";
  EXPECT_EQ(pull_checkpoint(source_), folder_);
  EXPECT_EQ(read_file(folder_ + "/model.safetensors"), "weights");
  EXPECT_EQ(read_file(folder_ + "/tokenizer.json"), "{\"a\": 1}");
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/tokenizer.model"));
  EXPECT_NE(server_.requests()[0].find("Bearer secret"), std::string::npos);
  pull_checkpoint(source_);
  EXPECT_EQ(requests("model.safetensors"), 1u);
}

TEST_F(PullCheckpoint, OfTheShardsThatItsIndexNames) {
  files_["model.safetensors.index.json"] =
      R"({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors",
                                              "c": "model-1.safetensors"}})";
  files_["model-1.safetensors"] = "first";
  expect_error(ErrorCode::not_found, "model-2.safetensors", [&] { pull_checkpoint(source_); });
  files_["model-2.safetensors"] = "second";
  EXPECT_EQ(pull_checkpoint(source_), folder_);
  EXPECT_EQ(read_file(folder_ + "/model-2.safetensors"), "second");
  EXPECT_EQ(requests("model-1.safetensors"), 1u);
  EXPECT_EQ(requests("model.safetensors"), 0u);
}

TEST_F(PullCheckpoint, IsComparedWithTheAnnouncedHash) {
  files_["model.safetensors"] = "weights";
  hashes_["model.safetensors"] = std::string(64, 'a');
  expect_error(ErrorCode::format, "sha256", [&] { pull_checkpoint(source_); });
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/model.safetensors"));
}

TEST_F(PullCheckpoint, RefusesWhatIsNone) {
  for (const char* name :
       {"hf:", "hf:owner", "hf:owner/", "hf:/model", "hf:owner/a/b", "hf:../model", "hf:owner/.."})
    expect_error(ErrorCode::invalid_argument, "is written hf:owner/repository",
                 [&] { pull_checkpoint(name); });
  files_["model.safetensors.index.json"] = "[]";
  expect_error(ErrorCode::format, "has no weight_map", [&] { pull_checkpoint(source_); });
  files_.erase("config.json");
  std::filesystem::remove_all(folder_);
  expect_error(ErrorCode::not_found, "config.json", [&] { pull_checkpoint(source_); });
}

TEST_F(PullCheckpoint, NamesOfShardsLeadNowhereElse) {
  for (const char* index : {R"({"weight_map": {"a": "../../evil.safetensors"}})",
                            R"({"weight_map": {"a": "config.json.sha256"}})"}) {
    files_["model.safetensors.index.json"] = index;
    expect_error(ErrorCode::format, "no file's name", [&] { pull_checkpoint(source_); });
    std::filesystem::remove_all(folder_);
  }
}

}  // namespace
}  // namespace cairn
