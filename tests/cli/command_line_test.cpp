// The command line as people's hands know it: unknown words, help, other programs' spellings, defaults from
// files and variables, completion, man pages.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/temporary_folder.hpp"
#include "llm/tiny_model.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using cairn::testing::read_file;
using cairn::testing::ScopedVariable;
using cairn::testing::TemporaryFolder;
using cairn::testing::write_file;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct Answer {
  int status;
  std::string out, err;
};

Answer answer(const std::vector<std::string>& arguments, const std::string& path = CAIRN_PROGRAM) {
  Program program(arguments, Program::Input::pipe, Program::Errors::pipe, path.c_str());
  program.close_input();
  const int status = program.status();
  return {status, program.out, program.err};
}

// Every command of the program, from its own completion.
std::vector<std::vector<std::string>> all_commands() {
  std::vector<std::vector<std::string>> commands;
  const auto words = [](const std::string& text) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
  };
  for (const std::string& name : words(answer({"__complete", ""}).out)) {
    if (name == "help") continue;
    if (name != "video") {
      commands.push_back({name});
      continue;
    }
    for (const std::string& below : words(answer({"__complete", "video", ""}).out))
      commands.push_back({"video", below});
  }
  return commands;
}

class CommandLine : public ::testing::Test {
 protected:
  CommandLine() { llm::write_tiny_model(model()); }
  std::string model() const { return folder_ / "tiny.gguf"; }
  std::vector<std::string> run(std::vector<std::string> more) const {
    more.insert(more.begin(), {"run", model()});
    more.insert(more.end(), {"--json", "--ignore-end"});
    return more;
  }
  TemporaryFolder folder_;
};

TEST_F(CommandLine, UnknownWordsNameWhatIsNear) {
  struct Case {
    std::vector<std::string> arguments;
    std::string text;
  };
  for (const Case& c : std::vector<Case>{
           {{"rnu"}, "unknown command 'rnu': did you mean 'run'?"},
           {{"Chat"}, "unknown command 'Chat': did you mean 'chat'?"},
           {{"frobnicate", "x", "y"}, "unknown command 'frobnicate' (see cairn --help)"},
           {{"help", "rnu"}, "did you mean 'run'?"},
           {{"run", "m", "x", "--temprature", "1"},
            "unknown flag '--temprature': did you mean '--temperature'?"},
           {{"run", "--temprature", "1"}, "unknown flag '--temprature'"},  // not that the model is missing
           {{"run", "-Z", "m"}, "unknown flag '-Z'"},
           {{"video", "encod"}, "unknown command 'encod': did you mean 'encode'?"},
           {{"video", "encode", "a", "-o", "b", "--crg", "3"},
            "did you mean '--crf'? (see cairn video encode --help)"},
           {{"devices", "x"}, "'x' is one word too many (see cairn devices --help)"},
           {{"run"}, "MODEL is missing (see cairn run --help)"},
           {{"stack", "m"}, "--output is missing"},
       }) {
    const Answer a = answer(c.arguments);
    EXPECT_EQ(a.status, 2) << a.err;
    EXPECT_EQ(a.out, "");
    EXPECT_THAT(a.err, StartsWith("cairn: "));
    EXPECT_THAT(a.err, HasSubstr(c.text));
    EXPECT_EQ(std::count(a.err.begin(), a.err.end(), '\n'), 1) << a.err;
  }
}

TEST_F(CommandLine, ErrorsNameTheFlagAndItsValues) {
  struct Case {
    std::vector<std::string> flags;
    std::string text;
  };
  for (const Case& c : std::vector<Case>{
           {{"--threads", "0"}, "--threads: '0' is not a whole number (1 to 1024)"},
           {{"--threads", "two"}, "--threads: 'two' is not a whole number (1 to 1024)"},
           {{"--kv", "q3"}, "--kv: 'q3' is none of f16, i8, q4"},
           {{"--temperature", "warm"}, "--temperature: 'warm' is not a number"},
           {{"--top-k", "-3"}, "--top-k: '-3' is not a whole number"},
           {{"-n", "-2"}, "--max-tokens: '-2' is not a whole number (-1 or more)"},
           {{"--stop"}, "--stop needs a value"},
           {{"--raw=maybe"}, "--raw"},
           {{"--chunk", "64"}, "--chunk is of use only with --prefill"},
           {{"-p", "y", "-f", "z"}, "does not go with"},
           {{"-p", "y"}, "the prompt is given twice"},
           {{"--memory", "lots"}, "--memory lots: not a number of bytes"},
       }) {
    std::vector<std::string> all = {"run", model(), "x"};
    all.insert(all.end(), c.flags.begin(), c.flags.end());
    const Answer a = answer(all);
    EXPECT_EQ(a.status, 2) << a.err;
    EXPECT_THAT(a.err, HasSubstr(c.text));
  }
  for (const auto& command : all_commands()) {
    std::vector<std::string> all = command;
    all.push_back("--help");
    const Answer a = answer(all);
    EXPECT_EQ(a.status, 0) << a.err;
    for (const char* leaked : {"UINT", "{", "->", " in [", "e+308", "18446744073709551615", "TEXT:"})
      EXPECT_THAT(a.out, Not(HasSubstr(leaked))) << command.back();
    EXPECT_THAT(a.out, HasSubstr("Example")) << command.back();
    EXPECT_THAT(a.out, HasSubstr("-h, --help"));
  }
}

TEST_F(CommandLine, SizesAreTakenAlike) {
  EXPECT_THAT(answer({"trim", model(), "--size", "10x", "-o", folder_ / "out"}).err,
              HasSubstr("--size: '10x' is not a size such as"));
  EXPECT_THAT(answer({"video", "encode", "none.y4m", "-o", folder_ / "out.mkv", "--size", "10x"}).err,
              HasSubstr("--size: '10x' is not a size such as"));
  EXPECT_THAT(answer({"video", "encode", "none.y4m", "-o", folder_ / "out.mkv", "--size", "10k"}).err,
              HasSubstr("none.y4m"));  // the size is taken
}

TEST_F(CommandLine, OtherProgramsSpellingsAreTaken) {
  const auto tokens = [](const Answer& a) {
    EXPECT_EQ(a.status, 0) << a.err;
    return nlohmann::json::parse(a.out)["tokens"];
  };
  const auto usual = tokens(answer(
      run({"-p", "hello you", "--temperature", "0", "--threads", "1", "--context", "128", "-n", "6"})));
  EXPECT_EQ(usual, tokens(answer(run({"hello you", "--temp", "0", "-t", "1", "-c", "128", "-n", "6"}))));
  EXPECT_EQ(usual, tokens(answer(run({"hello", "you", "--temp", "0", "-t", "1", "-c", "128", "-n", "6"}))));
  EXPECT_EQ(usual, tokens(answer({"run", "-m", model(), "-p", "hello you", "--temp", "0", "-t", "1", "-c",
                                  "128", "-n", "6", "--json", "--ignore-eos"})));
  EXPECT_EQ(usual, tokens(answer({"run", "--model", model(), "hello you", "--temp", "0", "-t", "1", "-c",
                                  "128", "--predict", "6", "--json", "--ignore-eos"})));
  const Answer all = answer(run({"hello you", "--temp", "0", "-t", "1", "-c", "64", "-n", "-1"}));
  EXPECT_EQ(nlohmann::json::parse(all.out)["finish_reason"], "length");  // until the context was full
}

TEST_F(CommandLine, HelpAndVersionAnswer) {
  EXPECT_EQ(answer({"help"}).out, answer({"--help"}).out);
  EXPECT_EQ(answer({"help", "run"}).out, answer({"run", "--help"}).out);
  EXPECT_EQ(answer({"help", "video", "encode"}).out, answer({"video", "encode", "--help"}).out);
  EXPECT_EQ(answer({"-V"}).out, answer({"--version"}).out);
  EXPECT_THAT(answer({"-V"}).out, StartsWith("cairn "));
  const std::string help = answer({"help", "run"}).out;
  // The usual first, research last.
  const size_t usual = help.find("\nOptions:"), sampling = help.find("\nSampling:"),
               memory = help.find("\nMemory:"), research = help.find("\nResearch:");
  EXPECT_LT(usual, sampling);
  EXPECT_LT(sampling, memory);
  EXPECT_LT(memory, research);
  EXPECT_GT(help.find("--prefill "), research);
  EXPECT_THAT(help, HasSubstr("for an NPU: on the CPU itself"));
}

TEST_F(CommandLine, DefaultsComeFromTheFileAndTheEnvironment) {
  const std::string config = folder_ / "config.toml";
  const ScopedVariable chosen("CAIRN_CONFIG", config.c_str());
  const auto count = [&](std::vector<std::string> more) {
    more.insert(more.begin(), {"hello"});
    const Answer a = answer(run(more));
    EXPECT_EQ(a.status, 0) << a.err;
    return a.status == 0 ? nlohmann::json::parse(a.out)["tokens"].size() : 0u;
  };
  write_file(config, "max-tokens = 7\ntemperature = 0.5\n[chat]\nmax-tokens = 3\n");
  EXPECT_EQ(count({}), 7u);
  write_file(config, "max-tokens = 7\n[run]\nmax-tokens = 5\n");
  EXPECT_EQ(count({}), 5u);
  const ScopedVariable variable("CAIRN_MAX_TOKENS", "4");
  EXPECT_EQ(count({}), 4u);
  EXPECT_EQ(count({"-n", "2"}), 2u);

  struct Case {
    std::string text, error;
  };
  for (const Case& c : std::vector<Case>{
           {"temprature = 1\n", "no flag --temprature: did you mean 'temperature'?"},
           {"[run]\nchunkk = 1\n", "[run]: no flag --chunkk"},
           {"[rnu]\nthreads = 1\n", "[rnu] is no command: did you mean 'run'?"},
           {"threads = 0\n", "threads: '0' is not a whole number (1 to 1024)"},
       }) {
    write_file(config, c.text);
    const Answer a = answer(run({"hello"}));
    EXPECT_EQ(a.status, 2);
    EXPECT_THAT(a.err, HasSubstr("config.toml"));
    EXPECT_THAT(a.err, HasSubstr(c.error));
  }
  write_file(config, "");
  const ScopedVariable wrong("CAIRN_THREADS", "many");
  EXPECT_THAT(answer(run({"hello"})).err, HasSubstr("CAIRN_THREADS: 'many' is not a whole number"));
}

TEST_F(CommandLine, LogLevelsSayMoreAndLess) {
  EXPECT_EQ(answer({"run", model(), "x", "-n", "2", "--quiet"}).err, "");
  EXPECT_EQ(answer({"run", model(), "x", "-n", "2", "--log-level", "error"}).err, "");
  EXPECT_THAT(answer({"run", model(), "x", "-n", "2"}).err, StartsWith("prefill "));
  EXPECT_THAT(answer({"run", model(), "x", "-n", "2", "-v"}).err, HasSubstr("cairn: debug: "));
  // A warning is no error, and can be silenced.
  const std::vector<std::string> beyond = {"run", model(), "x", "-n", "2", "-c", "100000", "--no-stats"};
  const Answer warned = answer(beyond);
  EXPECT_EQ(warned.status, 0);
  EXPECT_THAT(warned.err, StartsWith("cairn: warning: --context 100000: the model was trained for "));
  EXPECT_EQ(std::count(warned.err.begin(), warned.err.end(), '\n'), 1);
  auto silent = beyond;
  silent.push_back("-q");
  EXPECT_EQ(answer(silent).err, "");
}

TEST_F(CommandLine, ColoursAreForTerminalsThatMayHaveThem) {
  EXPECT_THAT(answer({"rnu"}).err, Not(HasSubstr("\x1b[")));  // a pipe
  const auto on_terminal = [](const char* no_color) {
    const ScopedVariable terminal("TERM", "xterm");
    const ScopedVariable refused("NO_COLOR", no_color);
    Program program({"rnu"}, Program::Input::terminal, Program::Errors::terminal);
    program.status();
    return program.out;
  };
  EXPECT_THAT(on_terminal(nullptr), HasSubstr("\x1b[31mcairn: \x1b[m"));
  EXPECT_THAT(on_terminal("1"), Not(HasSubstr("\x1b[")));
}

TEST_F(CommandLine, CompletesCommandsFlagsValuesAndModels) {
  const ScopedVariable store("CAIRN_MODELS", folder_.path().c_str());
  EXPECT_EQ(answer({"__complete", "ru"}).out, "run\n");
  EXPECT_EQ(answer({"__complete", "run", ""}).out, "tiny\n");
  EXPECT_EQ(answer({"__complete", "rm", "ti"}).out, "tiny\n");
  EXPECT_EQ(answer({"__complete", "run", "tiny", "--temp"}).out, "--temperature\n");
  EXPECT_EQ(answer({"__complete", "run", "tiny", "--kv", ""}).out, "f16\ni8\nq4\n");
  EXPECT_EQ(answer({"__complete", "completion", ""}).out, "bash\nzsh\nfish\n");
  EXPECT_EQ(answer({"__complete", "help", "synt"}).out, "synth\n");
  EXPECT_EQ(answer({"__complete", "video", "encode", "--target"}).out, "--target-psnr\n");
  EXPECT_EQ(answer({"__complete", "video", "enc"}).out, "encode\n");
  EXPECT_EQ(answer({"__complete", "run", "tiny", "-f", ""}).out, "");  // files are the shell's
}

TEST_F(CommandLine, CompletionScriptsRun) {
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const Answer script = answer({"completion", shell});
    EXPECT_EQ(script.status, 0);
    EXPECT_THAT(script.out, HasSubstr("cairn __complete"));
  }
  const std::string program = CAIRN_PROGRAM;
  write_file(folder_ / "try.sh", answer({"completion", "bash"}).out + "cairn() { " + program +
                                     " \"$@\"; }\n"
                                     "COMP_WORDS=(cairn run tiny --to) COMP_CWORD=3\n_cairn\n"
                                     "echo \"${COMPREPLY[@]}\"\n");
  FILE* bash = popen(("bash " + (folder_ / "try.sh")).c_str(), "r");
  char line[200] = {};
  ASSERT_NE(fgets(line, sizeof line, bash), nullptr);
  EXPECT_EQ(pclose(bash), 0);
  EXPECT_STREQ(line, "--top-k --top-p\n");
}

// libcairn_video.so, which loads libav, is opened for the work alone: elsewhere than beside it the program
// answers the same.
TEST_F(CommandLine, HelpOfVideoNeedsNoLibrary) {
  const std::string alone = folder_ / "cairn";
  std::filesystem::copy_file(CAIRN_PROGRAM, alone);
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"video"},
           {"video", "--help"},
           {"help", "video", "encode"},
           {"video", "help", "encode"},
           {"video", "encode", "--help"},
           {"video", "encod"},
           {"video", "encode", "a", "-o", "b", "--crg", "3"},
           {"video", "encode", "a", "-o", "b", "--mode", "x9"},
           {"video", "encode", "a", "-o", "b", "--coded", "c", "--crf", "20"},
           {"video", "decode", "a"},
           {"__complete", "video", "play", "--"},
       }) {
    const Answer with = answer(words), without = answer(words, alone);
    EXPECT_EQ(without.status, with.status);
    EXPECT_EQ(without.out, with.out);
    EXPECT_EQ(without.err, with.err);
    EXPECT_THAT(without.err, Not(HasSubstr("libcairn_video.so")));
  }
  EXPECT_THAT(answer({"video", "inspect", "a.mkv"}, alone).err,
              HasSubstr("libcairn_video.so is not there: cairn was built without video"));
}

TEST_F(CommandLine, ALibraryOfAnotherBuildIsRefused) {
  for (const auto& [which, line] :
       {std::pair{"size", "its cairn_video has"}, std::pair{"build", "it is of build"}}) {
    std::filesystem::remove(folder_ / "libcairn_video.so");
    std::filesystem::create_symlink(std::string(CAIRN_FAKE_PLUGINS) + "/libfake_plugin_" + which + ".so",
                                    folder_ / "libcairn_video.so");
    const ScopedVariable lib("CAIRN_LIB", folder_.path().c_str());
    const Answer refused = answer({"video", "inspect", "a.mkv"});
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.err, HasSubstr((folder_ / "libcairn_video.so") + ": " + line));
    EXPECT_THAT(refused.err, HasSubstr("build both from the same source"));
    EXPECT_EQ(std::ranges::count(refused.err, '\n'), 1);
  }
}

TEST_F(CommandLine, EveryCommandHasAManPage) {
  ASSERT_EQ(answer({"__man", folder_.path()}).status, 0);
  for (const auto& command : all_commands()) {
    std::string name = "cairn";
    for (const std::string& word : command) name += "-" + word;
    const std::string page = read_file(folder_ / (name + ".1"));
    EXPECT_THAT(page, StartsWith(".TH \"" + name + "\" 1"));
    EXPECT_THAT(page, HasSubstr(".SH SYNOPSIS"));
    EXPECT_THAT(page, HasSubstr("\\-\\-help"));
  }
  EXPECT_THAT(read_file(folder_ / "cairn.1"), HasSubstr("cairn\\-run"));
}

TEST_F(CommandLine, ListShowAndRm) {
  std::filesystem::create_directory(folder_ / "store");
  const ScopedVariable store("CAIRN_MODELS", (folder_ / "store").c_str());
  EXPECT_THAT(answer({"list"}).out, HasSubstr("no models yet"));
  ASSERT_EQ(answer({"pull", model(), "--name", "Little"}).status, 0);
  write_file(folder_ / "store/broken.gguf", "GGUF");
  const Answer before = answer({"list"});
  EXPECT_THAT(before.out, ::testing::ContainsRegex("Little +[0-9.]+ KiB +[a-z0-9_]+ +never"));
  EXPECT_THAT(before.out, ::testing::ContainsRegex("broken +4 B +damaged +never"));
  EXPECT_EQ(answer({"run", "little", "x", "-n", "1"}).status, 0);  // in any case
  EXPECT_THAT(answer({"ls"}).out, ::testing::ContainsRegex("Little .*just now"));
  EXPECT_EQ(nlohmann::json::parse(answer({"list", "--json"}).out)[0]["name"], "Little");

  const Answer shown = answer({"show", "little"});
  EXPECT_EQ(shown.status, 0) << shown.err;
  for (const char* what : {"family       llama", "context ", "vocabulary ", "template ", "licence "})
    EXPECT_THAT(shown.out, HasSubstr(what));
  EXPECT_LE(std::count(shown.out.begin(), shown.out.end(), '\n'), 24);
  EXPECT_EQ(nlohmann::json::parse(answer({"show", "little", "--json"}).out)["family"], "llama");
  // Layers without keys and values of their own count nothing, compressed ones count once.
  for (const auto& [name, bytes] : {std::pair{"llama", 3 * 2 * 8 * 4},
                                    {"qwen35", 1 * 2 * 16 * 4},
                                    {"gemma4_shared", (2 * 16 + 2 * 32) * 4},
                                    {"deepseek2", 2 * (32 + 16) * 2}}) {
    const std::string path = std::string(CAIRN_TEST_DATA) + "/golden_models/" + name + ".gguf";
    EXPECT_EQ(nlohmann::json::parse(answer({"show", path, "--json"}).out)["kv_bytes_per_token"], bytes)
        << name;
  }

  EXPECT_THAT(answer({"run", "litle", "x"}).err, HasSubstr("did you mean 'Little'?"));
  EXPECT_THAT(answer({"pull", "smolm2-135m"}).err, HasSubstr("did you mean 'smollm2-135m'?"));
  EXPECT_THAT(answer({"rm", "litle"}).err, HasSubstr("did you mean 'Little'?"));
  EXPECT_THAT(answer({"rm", model()}).err, HasSubstr("rm leaves other files alone"));
  EXPECT_TRUE(std::filesystem::exists(model()));
  EXPECT_THAT(answer({"rm", "LITTLE", "broken"}).out, HasSubstr("removed LITTLE ("));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "store"));  // notes too
}

}  // namespace
}  // namespace cairn::cli
