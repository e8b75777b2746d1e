// Every command that works with language models under every condition of conditions.hpp.
#include "cli/conditions.hpp"

#include <filesystem>
#include <optional>

#include "base/temporary_folder.hpp"
#include "formats/small_llama.hpp"
#include "llm/tiny_model.hpp"

namespace cairn::testing {
namespace {

class Conditions : public ::testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    folder_.emplace();
    write_small_llama(path("model.gguf"));
    llm::write_tiny_model(path("tiny.gguf"), {.context = 1 << 16});
    std::filesystem::copy(std::string(CAIRN_TEST_DATA) + "/convert/qwen2/qwen2", path("checkpoint"));
    std::string text;
    for (int i = 0; i < 600; ++i)
      text += "stone " + std::to_string(i * 7919) + " lies on stone " + std::to_string(i) + ". ";
    write_file(path("text.txt"), text);
    std::string lines;
    for (int i = 0; i < 600; ++i) lines += "stone " + std::to_string(i) + "\n";
    write_file(path("lines.txt"), lines);
    for (int i = 0; i < 5; ++i) text += text;
    write_file(path("long.txt"), text);
    const Outcome made = run_under(stack(path("s.gguf")));
    ASSERT_EQ(made.status, 0) << made.err;
    setenv("CAIRN_MODELS", path("store").c_str(), 1);
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string path(const std::string& name) { return *folder_ / name; }
  static std::string golden_embedder() { return std::string(CAIRN_TEST_DATA) + "/golden_models/bert.gguf"; }
  static std::string golden() { return std::string(CAIRN_TEST_DATA) + "/golden_models/llama.gguf"; }

  static std::vector<std::string> stack(const std::string& output) {
    return {"stack",     path("model.gguf"),
            "--text",    path("text.txt"),
            "--windows", "4",
            "--window",  "64",
            "-o",        output,
            "--threads", "1",
            "--quiet",   "--embeddings",
            "keep",      "--importance-windows",
            "1"};
  }

  static Command command(const std::string& name) {
    const std::string model = path("model.gguf"), tiny = path("tiny.gguf"), text = path("text.txt"),
                      s = path("s.gguf"), out = path(name + ".out");
    const std::vector<std::string> one = {"--threads", "1"};
    const auto make = [&](std::vector<std::string> arguments, std::vector<std::string> inputs,
                          std::vector<std::string> output = {}) {
      return Command{name, std::move(arguments), std::move(inputs), std::move(output)};
    };
    if (name == "stack") {
      std::vector<std::string> arguments = stack("");
      arguments.erase(arguments.begin() + 8, arguments.begin() + 10);
      return make(arguments, {model, text}, {"-o", out});
    }
    if (name == "trim") return make({"trim", s, "--bits", "5"}, {s}, {"-o", out});
    if (name == "restore") return make({"trim", s, "--bits", "5", "--dequantize"}, {s}, {"-o", out});
    if (name == "calibrate") {
      return make({"calibrate", model, "--text", text, "--window", "128", "--windows", "4", "--threads", "1",
                   "--no-costs", "--no-times"},
                  {model, text}, {"-o", out});
    }
    if (name == "quantize") {
      return make(
          {"quantize", model, "--type", "q4_0", "--text", text, "--chunks", "1", "--threads", "1", "--quiet"},
          {model, text}, {"-o", out});
    }
    if (name == "synth")
      return make({"synth", "--shape", "qwen1.5-1.8b", "--layers", "1", "--vocabulary", "300"}, {},
                  {"-o", out});
    if (name == "convert")
      return make({"convert", path("checkpoint")},
                  {path("checkpoint/model.safetensors"), path("checkpoint/config.json")}, {"-o", out});
    if (name == "inspect_html") return make({"inspect", s}, {s}, {"--html", out});
    if (name == "logits") {
      return make({"eval", model, "--perplexity", text, "--context", "64", "--limit", "4", "--threads", "1"},
                  {model, text}, {"--logits", out});
    }
    if (name == "timeline") {
      std::string prompt;
      for (int i = 0; i < 40; ++i) prompt += "stone " + std::to_string(i) + " ";
      Command made = make({"run", model, "--raw", "--no-stats", "-p", prompt, "-n", "2", "--prefill", "cpu",
                           "--chunk", "32", "--threads", "1"},
                          {model}, {"--timeline", out});
      made.streams = true;
      return made;
    }
    if (name == "trace") {
      return make({"bench", "--simulate", "snapdragon-8gen3", "--prompt", "256"}, {}, {"--trace", out});
    }
    if (name == "run") return make({"run", tiny, "-p", "hello", "-n", "20", "--threads", "1"}, {tiny});
    if (name == "run_stack")
      return make({"run", s, "--raw", "-p", "stone", "-n", "9", "--threads", "1"}, {s});
    if (name == "chat") return make({"chat", tiny, "-n", "5", "--threads", "1"}, {tiny});
    if (name == "eval")
      return make({"eval", model, "--perplexity", text, "--context", "64", "--threads", "1"}, {model, text});
    if (name == "bench")
      return make({"bench", tiny, "--prompt", "16", "--generate", "4", "--repeat", "1", "--threads", "1"},
                  {tiny});
    if (name == "inspect") return make({"inspect", s, "--graph", "--full"}, {s});
    if (name == "verify") return make({"verify", s}, {s});
    if (name == "tokenize") return make({"tokenize", tiny, "--file", text}, {tiny, text});
    if (name == "embed")
      return make({"embed", golden_embedder(), "-f", path("lines.txt"), "--threads", "1"},
                  {golden_embedder(), path("lines.txt")});
    if (name == "pull") return make({"pull", tiny, "--name", "pulled"}, {tiny});
    if (name == "devices") return make({"devices"}, {});
    if (name == "help") return make({"--help"}, {});
    if (name == "help_run") return make({"run", "--help"}, {});
    ADD_FAILURE() << name << " is not in the table";
    return {};
  }

  static inline std::optional<TemporaryFolder> folder_;
};

constexpr const char* kWriters[] = {"stack", "convert",      "quantize", "trim",     "restore", "calibrate",
                                    "synth", "inspect_html", "logits",   "timeline", "trace"};
constexpr const char* kOthers[] = {"run",      "run_stack", "chat", "eval",    "bench", "inspect", "verify",
                                   "tokenize", "embed",     "pull", "devices", "help",  "help_run"};
INSTANTIATE_TEST_SUITE_P(Writers, Conditions,
                         ::testing::Combine(::testing::ValuesIn(kWriters),
                                            ::testing::ValuesIn(kConditionsOfWriters)),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(Others, Conditions,
                         ::testing::Combine(::testing::ValuesIn(kOthers),
                                            ::testing::ValuesIn(kConditionsOfOthers)),
                         name_of_case);

TEST_P(Conditions, Hold) {
  const auto& [name, condition] = GetParam();
  condition.expect(command(name));
}

// What takes minutes, in steps that take seconds: the signal finds it at work.
class LongWork : public Conditions {};
TEST_F(LongWork, IsEndedBySignals) {
  const std::string wide = path("wide.gguf"), text = path("long.txt");
  write_small_llama(wide, {.embedding = 1024, .ffn = 1536});
  const std::vector<std::vector<std::string>> long_ones = {
      {"stack", wide, "-o", path("l.gguf"), "--embeddings", "planes"},
      {"stack", wide, "-o", path("a.gguf"), "--codec", "avd"},
      {"stack", wide, "--text", text, "-o", path("t.gguf"), "--window", "128", "--windows", "64"},
      {"stack", path("model.gguf"), "--text", text, "-o", path("u.gguf"), "--window", "64", "--windows", "4",
       "--tune", "--tune-steps", "100000"},
      {"calibrate", wide, "--text", text, "-o", path("c.cal"), "--window", "128"},
      {"eval", wide, "--perplexity", text, "--context", "512", "--precision", "f32"},
      {"bench", path("tiny.gguf"), "--prompt", "8000", "--generate", "8000"},
      {"run", path("tiny.gguf"), "-p", "x", "--ignore-end", "--context", "65536"},
      {"synth", "--shape", "qwen1.5-1.8b", "-o", path("q.gguf")},
  };
  for (size_t i = 0; i < long_ones.size(); ++i) {
    Command command{"long", long_ones[i], {}, {}};
    command.long_lived = true;
    SCOPED_TRACE(::testing::PrintToString(long_ones[i]));
    expect_signals_end_it(command);
  }
}

}  // namespace
}  // namespace cairn::testing
