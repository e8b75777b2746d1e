#include "llm/sanitize.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace cairn::llm {
namespace {

constexpr std::string_view kOpen = "\xEF\xB7\x90", kClose = "\xEF\xB7\x91";  // U+FDD0, U+FDD1

}  // namespace

std::string Sanitizer::without_control(const std::string& text) {
  std::vector<text::TextRange> ranges = tokenizer_.control_ranges(text);
  for (const std::string_view mark : {kOpen, kClose}) {  // where the text itself has them
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + mark.size()))
      ranges.push_back({at, at + mark.size()});
  }
  std::ranges::sort(ranges, {}, &text::TextRange::begin);
  std::string result;
  size_t done = 0;
  for (const text::TextRange& range : ranges) {
    if (range.begin < done) continue;  // a mark within a control token
    result += text.substr(done, range.begin - done);
    result += fmt::format("{}{}{}", kOpen, taken_.size(), kClose);
    taken_.push_back(text.substr(range.begin, range.end - range.begin));
    done = range.end;
  }
  return result + text.substr(done);
}

void Sanitizer::take_out(nlohmann::ordered_json& messages) {
  const auto clean = [this](nlohmann::ordered_json& text) {
    if (text.is_string()) text = without_control(text.get<std::string>());
  };
  for (auto& message : messages) {
    const std::string role = message.value("role", "");
    if ((role != "user" && role != "tool") || !message.contains("content")) continue;
    auto& content = message["content"];
    clean(content);
    if (!content.is_array()) continue;
    for (auto& part : content) {
      if (part.is_object() && part.contains("text")) clean(part["text"]);
    }
  }
}

std::vector<text::TextRange> Sanitizer::put_back(std::string& rendered) const {
  std::vector<text::TextRange> ranges;
  std::string result;
  size_t done = 0;
  for (size_t at = rendered.find(kOpen); at != std::string::npos; at = rendered.find(kOpen, at + 1)) {
    const size_t number = at + kOpen.size(), close = rendered.find(kClose, number);
    if (close == std::string::npos) break;
    size_t index = 0;
    const auto [end, status] = std::from_chars(rendered.data() + number, rendered.data() + close, index);
    if (status != std::errc() || end != rendered.data() + close || index >= taken_.size()) continue;
    result += rendered.substr(done, at - done);
    ranges.push_back({result.size(), result.size() + taken_[index].size()});
    result += taken_[index];
    done = close + kClose.size();
  }
  rendered = result + rendered.substr(done);
  return ranges;
}

}  // namespace cairn::llm
