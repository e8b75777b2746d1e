#include <gtest/gtest.h>

#include <sstream>
#include <vector>

#include "base/temporary_folder.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

// docs/cli.md holds every command's --help word for word (tools/make_cli_docs.py puts it there).
TEST(Docs, HoldEveryCommandsHelp) {
  const std::string page = cairn::testing::read_file(std::string(CAIRN_TEST_DATA) + "/../../docs/cli.md");
  for (const std::string command :
       {"run",           "chat",          "bench",       "eval",         "calibrate",
        "pull",          "list",          "show",        "rm",           "convert",
        "quantize",      "stack",         "trim",        "verify",       "inspect",
        "compile",       "tokenize",      "synth",       "devices",      "simulate",
        "completion",    "serve",         "embed",       "video encode", "video inspect",
        "video decode",  "video compare", "video play",  "video work",   "video join",
        "video publish", "video live",    "video export"}) {
    std::vector<std::string> words = {"help"};
    std::istringstream parts(command);
    for (std::string word; parts >> word;) words.push_back(word);
    Program program(words);
    ASSERT_EQ(program.status(), 0) << program.err;
    EXPECT_NE(program.out.find("Example"), std::string::npos) << command << " --help has no example";
    std::istringstream lines(program.out);
    for (std::string line; std::getline(lines, line);) {
      line.erase(line.find_last_not_of(' ') + 1);
      EXPECT_NE(page.find(line), std::string::npos) << "docs/cli.md lacks, under " << command << ": " << line;
    }
  }
}

}  // namespace
}  // namespace cairn::cli
