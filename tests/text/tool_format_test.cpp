#include "text/tool_format.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>

#include "base/error.hpp"

namespace cairn::text {
namespace {

// Knows what ends a turn, and nothing else.
class Ends : public Tokenizer {
 public:
  std::vector<Token> encode(std::string_view, const EncodeOptions&) const override { return {}; }
  std::string piece(Token token, bool special) const override { return special ? kEnds.at(token) : ""; }
  size_t vocabulary() const override { return kEnds.size(); }
  std::string_view raw_token(Token token) const override { return kEnds.at(token); }
  std::optional<Token> find(std::string_view raw) const override {
    const auto at = std::find(kEnds.begin(), kEnds.end(), raw);
    return at == kEnds.end() ? std::nullopt : std::optional(static_cast<Token>(at - kEnds.begin()));
  }
  std::optional<Token> bos() const override { return std::nullopt; }
  std::optional<Token> eos() const override { return 0; }
  bool is_end(Token) const override { return true; }
  bool is_control(Token) const override { return true; }
  std::vector<TextRange> control_ranges(std::string_view text) const override {
    std::vector<TextRange> ranges;
    for (size_t at = 0; at < text.size(); ++at) {
      for (const std::string& end : kEnds) {
        if (text.substr(at).starts_with(end)) ranges.push_back({at, at + end.size()});
      }
    }
    return ranges;
  }

 private:
  const std::vector<std::string> kEnds = {"</s>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|call|>", "<|end|>",
                                          "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>", "<|end_of_text|>", "<seed:eos>"};
};

std::optional<ToolFormat> format_of(const std::string& name) {
  std::ifstream file(std::string(CAIRN_TEST_DATA) + "/templates/" + name + ".jinja");
  const std::string source{std::istreambuf_iterator<char>(file), {}};
  EXPECT_FALSE(source.empty()) << name;
  return tool_format(ChatTemplate(source, [] { return std::chrono::system_clock::time_point(); }), Ends());
}

TEST(Print, All) {
  for (const char* n : {"command-r","deepseek-r1","deepseek-v3.1","falcon3","functionary-v3.1","glm-4.5","gpt-oss","granite-3.3","hermes-tool-use","llama-3.1","mistral-nemo","phi-4-mini","qwen2.5","qwen3","seed-oss","smollm3","smollm2","gemma-3","llama-2"}) {
    const auto f = format_of(n);
    std::printf("%s:", n);
    if (!f) { std::printf(" none\n"); continue; }
    const auto q=[](const std::string& s){ return nlohmann::json(s).dump(); };
    std::printf(" shape %d open %s call_open %s call_close %s between %s close %s several %d array %d keys %s %s first %d after %s k %s %s %s text %d null %d\n", int(f->shape), q(f->open).c_str(), q(f->call_open).c_str(), q(f->call_close).c_str(), q(f->between).c_str(), q(f->close).c_str(), f->several, f->array, f->name_key.c_str(), f->arguments_key.c_str(), f->name_first, q(f->after_name).c_str(), q(f->key_open).c_str(), q(f->key_close).c_str(), q(f->value_close).c_str(), f->arguments_as_text, f->null_content);
  }
}

}  // namespace
}  // namespace cairn::text
