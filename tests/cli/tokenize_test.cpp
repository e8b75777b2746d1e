#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "session_program.hpp"
#include "text/tokenizer_support.hpp"

namespace cairn::cli {
namespace {

using testing::HasSubstr;

// The small byte-level vocabulary of the golden tests, in a file of its own.
class Tokenize : public testing::Test {
 protected:
  Tokenize()
      : folder_(std::filesystem::temp_directory_path() / ("cairn-tokenize-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
    text::testing::byte_level("gpt-2").write(model());
  }
  ~Tokenize() override { std::filesystem::remove_all(folder_); }

  std::string model() const { return (folder_ / "model.gguf").string(); }
  static text::testing::Ids ids(std::string_view text, bool special = false) {
    return text::testing::byte_level("gpt-2").tokenizer()->encode(
        text, {.add_bos = true, .add_eos = true, .parse_special = special});
  }

  std::filesystem::path folder_;
};

TEST_F(Tokenize, Json) {
  Program program({"tokenize", model(), "-p", "Hello <|im_end|>", "--parse-special", "--json"});
  ASSERT_EQ(program.status(), 0) << program.err;
  const auto json = nlohmann::json::parse(program.out);
  const auto expected = ids("Hello <|im_end|>", true);
  EXPECT_EQ(json["model"], model());
  EXPECT_EQ(json["tokens"], expected.size());
  EXPECT_EQ(json["ids"].get<text::testing::Ids>(), expected);
  EXPECT_EQ(json["pieces"].back(), "<|im_end|>");
}

TEST_F(Tokenize, ListsTokensAndPieces) {
  Program program({"tokenize", model(), "-p", "\n"});
  ASSERT_EQ(program.status(), 0) << program.err;
  EXPECT_EQ(program.out, fmt::format("{:>7}  \"\\n\"\n", ids("\n")[0]));
}

TEST_F(Tokenize, IdsFromAFileAndBack) {
  const std::string text = "it's 12 \U0001f600\r\n";
  const std::string file = (folder_ / "text").string();
  std::ofstream(file, std::ios::binary) << text;
  Program there({"tokenize", model(), "--file", file, "--ids"});
  ASSERT_EQ(there.status(), 0) << there.err;
  EXPECT_EQ(there.out, fmt::format("{}\n", fmt::join(ids(text), " ")));
  Program back({"tokenize", model(), "--decode", "-p", there.out});
  ASSERT_EQ(back.status(), 0) << back.err;
  EXPECT_EQ(back.out, text);
}

TEST_F(Tokenize, StandardInput) {
  Program program({"tokenize", model(), "--ids"});
  program.write("abc");
  program.close_input();
  ASSERT_EQ(program.status(), 0) << program.err;
  EXPECT_EQ(program.out, fmt::format("{}\n", fmt::join(ids("abc"), " ")));
}

TEST_F(Tokenize, BadInput) {
  const auto fails = [&](std::vector<std::string> more, int status, const std::string& message) {
    std::vector<std::string> all = {"tokenize", model()};
    all.insert(all.end(), more.begin(), more.end());
    Program program(all);
    EXPECT_EQ(program.status(), status);
    EXPECT_THAT(program.err, HasSubstr(message));
    EXPECT_EQ(std::count(program.err.begin(), program.err.end(), '\n'), 1) << program.err;
  };
  fails({"--file", (folder_ / "none").string()}, 1, "No such file");
  fails({"--file", folder_.string()}, 1, "is a directory");
  fails({"--decode", "-p", "1 2x"}, 2, "'2x' is no token id");
  fails({"--decode", "-p", "-1"}, 2, "'-1' is no token id");
  fails({"--decode", "-p", "99999"}, 2, "99999 is no token");
  fails({"--decode", "-p", "99999999999999"}, 2, "no token id");
}

}  // namespace
}  // namespace cairn::cli
