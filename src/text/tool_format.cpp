#include "text/tool_format.hpp"

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "text/scan.hpp"

namespace cairn::text {
namespace {

using Json = nlohmann::ordered_json;

// Words that no template writes by itself.
constexpr std::string_view kName = "cairnfirst", kOther = "cairnsecond", kContent = "Cairn writes.";
constexpr std::string_view kKeys[] = {"cairnkey", "cairncount"}, kText = "cairnvalue";
constexpr int kNumber = 7183425;

Json call(std::string_view name, bool as_text) {
  const Json arguments = {{kKeys[0], kText}, {kKeys[1], kNumber}};
  return {{"id", name == kName ? "cairncal1" : "cairncal2"},  // Mistral's want nine letters or digits
          {"type", "function"},
          {"function", {{"name", name}, {"arguments", as_text ? Json(arguments.dump()) : arguments}}}};
}

Json tool(std::string_view name) {
  const Json properties = {{kKeys[0], {{"type", "string"}, {"description", "a"}}},
                           {kKeys[1], {{"type", "integer"}, {"description", "b"}}}};
  return {{"type", "function"},
          {"function",
           {{"name", name},
            {"description", "does"},
            {"parameters", {{"type", "object"}, {"properties", properties}, {"required", kKeys}}}}}};
}

// "<…>" and "[UPPER…]" stay whole: where such a mark is open at `end`, its beginning.
size_t before_open_mark(std::string_view text, size_t end) {
  for (size_t at = end; at > 0 && end - at < 64; --at) {
    const char c = text[at - 1];
    if (c == '>' || c == ']' || c == '\n') return end;
    const bool bracket = c == '[' && at < text.size() &&
                         (std::isupper(static_cast<unsigned char>(text[at])) || text[at] == '/');
    if (c == '<' || bracket) return at - 1;
  }
  return end;
}

// … its end.
size_t behind_open_mark(std::string_view text, size_t begin) {
  if (before_open_mark(text, begin) == begin) return begin;
  const size_t end = text.find_first_of(">]", begin);
  return end == std::string_view::npos ? text.size() : end + 1;
}

std::string_view common_beginning(std::string_view a, std::string_view b) {
  const auto differs = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  const auto size = static_cast<size_t>(differs - a.begin());
  return size == a.size() ? a : a.substr(0, before_open_mark(a, size));
}

std::string_view common_end(std::string_view a, std::string_view b) {
  size_t size = 0;
  while (size < std::min(a.size(), b.size()) && a[a.size() - size - 1] == b[b.size() - size - 1]) ++size;
  const size_t in_a = behind_open_mark(a, a.size() - size), in_b = behind_open_mark(b, b.size() - size);
  return a.substr(a.size() - std::min(a.size() - in_a, b.size() - in_b));
}

struct Range {
  size_t begin, end;
};

// What the template makes of the words above, and where they stand in it.
class Finder {
 public:
  Finder(const ChatTemplate& chat_template, const Tokenizer& tokenizer, bool as_text, bool null_content)
      : template_(chat_template), tokenizer_(tokenizer), as_text_(as_text), null_content_(null_content) {}

  std::optional<ToolFormat> find() {
    format_.arguments_as_text = as_text_;
    format_.null_content = null_content_;
    const std::string prompt = render(Json::array(), true),
                      one = render(answer(Json::array({call(kName, as_text_)})), false);
    std::string plain;
    try {
      plain = render(Json::array({{{"role", "assistant"}, {"content", kContent}}}), false);
    } catch (const Error&) {
    }
    size_t skipped = common_beginning(prompt, one).size();
    if (plain.starts_with(std::string_view(one).substr(0, skipped)))
      skipped +=
          common_beginning(std::string_view(one).substr(skipped), std::string_view(plain).substr(skipped))
              .size();
    body_ = one.substr(skipped);
    const size_t name = body_.find(kName);
    if (name == std::string::npos || body_.find("None") < name) return std::nullopt;
    if (!(find_object(name) || find_named(name) || find_tagged(name))) return std::nullopt;
    find_end(plain);
    try {
      two_ = render(answer(Json::array({call(kName, as_text_), call(kOther, as_text_)})), false);
      if (two_.starts_with(std::string_view(one).substr(0, skipped))) two_ = two_.substr(skipped);
      find_second();
    } catch (const Error&) {  // one at a time
    }
    if (!format_.several || format_.array) {
      format_.call_open = body_.substr(0, call_.begin);
      format_.call_close = body_.substr(call_.end);
    }
    if (format_.array) {
      format_.open = std::exchange(format_.call_open, "");
      format_.close = std::exchange(format_.call_close, "");
    }
    return format_;
  }

 private:
  Json answer(Json calls) const {
    Json message = {{"role", "assistant"}, {"content", null_content_ ? Json(nullptr) : Json("")}};
    message["tool_calls"] = std::move(calls);
    return Json::array({message});
  }

  std::string render(const Json& more, bool prompt) const {
    Json messages = Json::array({{{"role", "user"}, {"content", "Cairn asks."}}});
    messages.insert(messages.end(), more.begin(), more.end());
    const auto raw = [&](const std::optional<Token>& token) {
      return token ? std::string(tokenizer_.raw_token(*token)) : std::string();
    };
    return template_.render({{"messages", messages},
                             {"tools", Json::array({tool(kName), tool(kOther)})},
                             {"add_generation_prompt", prompt},
                             {"bos_token", raw(tokenizer_.bos())},
                             {"eos_token", raw(tokenizer_.eos())}});
  }

  // The arguments as a JSON object behind `from`.
  std::optional<Range> arguments(std::string_view text, size_t from) const {
    const size_t key = text.find('"' + std::string(kKeys[0]) + '"', from);
    const size_t begin = key == std::string_view::npos ? key : text.rfind('{', key);
    if (begin == std::string_view::npos) return std::nullopt;
    const size_t end = json_end(text, begin);
    if (end == std::string_view::npos || !Json::accept(text.substr(begin, end - begin))) return std::nullopt;
    return Range{begin, end};
  }

  bool find_object(size_t name) {
    const auto inner = arguments(body_, 0);
    if (!inner) return false;
    for (size_t at = body_.find_first_of("{["); at < name; at = body_.find_first_of("{[", at + 1)) {
      const size_t end = json_end(body_, at);
      if (end == std::string::npos || end < inner->end) continue;
      const Json found = Json::parse(body_.substr(at, end - at), nullptr, false);
      if (found.is_discarded()) continue;
      const Json& one = found.is_array() && found.size() == 1 ? found[0] : found;
      if (!one.is_object()) continue;
      for (const auto& [key, value] : one.items()) {
        if (value == kName) {
          format_.name_key = key;
          format_.name_first = format_.arguments_key.empty();
        }
        if (value.is_object() && value.contains(kKeys[0])) format_.arguments_key = key;
      }
      if (format_.name_key.empty() || format_.arguments_key.empty()) continue;
      format_.shape = ToolFormat::Shape::object;
      format_.array = found.is_array();
      call_ = {at, end};
      return true;
    }
    return false;
  }

  bool find_named(size_t name) {
    const auto inner = arguments(body_, name);
    if (!inner) return false;
    format_.shape = ToolFormat::Shape::named;
    format_.after_name = body_.substr(name + kName.size(), inner->begin - name - kName.size());
    call_ = {name, inner->end};
    return true;
  }

  bool find_tagged(size_t name) {
    size_t at = name + kName.size();
    std::vector<std::string_view> texts;  // between name, key, value, key and value
    const std::string number = std::to_string(kNumber);
    for (const std::string_view word : {kKeys[0], kText, kKeys[1], std::string_view(number)}) {
      const size_t found = body_.find(word, at);
      if (found == std::string::npos) return false;
      texts.push_back(std::string_view(body_).substr(at, found - at));
      at = found + word.size();
    }
    format_.shape = ToolFormat::Shape::tagged;
    format_.key_open = common_end(texts[0], texts[2]);
    format_.after_name = texts[0].substr(0, texts[0].size() - format_.key_open.size());
    format_.key_close = texts[1];
    const std::string_view closes = texts[2].substr(0, texts[2].size() - format_.key_open.size());
    format_.value_close = common_beginning(closes, std::string_view(body_).substr(at));
    call_ = {name, at + format_.value_close.size()};
    return texts[1] == texts[3] && !format_.key_open.empty() && !format_.key_close.empty() &&
           !format_.value_close.empty();
  }

  // Cuts off what ends the turn.
  void find_end(const std::string& plain) {
    for (const TextRange& range : tokenizer_.control_ranges(body_)) {
      const auto token =
          tokenizer_.find(std::string_view(body_).substr(range.begin, range.end - range.begin));
      if (range.begin < call_.end || !token || !tokenizer_.is_end(*token)) continue;
      body_.resize(range.begin);
      return;
    }
    const size_t content = plain.find(kContent);
    if (content == std::string::npos) return;
    const std::string_view behind = std::string_view(body_).substr(call_.end);
    body_.resize(body_.size() -
                 common_end(behind, std::string_view(plain).substr(content + kContent.size())).size());
  }

  // Tells what is around each call from what is around all.
  void find_second() {
    const std::string_view body = body_, two = two_;
    const size_t name = two.find(kOther);
    if (name == std::string_view::npos) return;
    if (format_.array) {
      const size_t end = two.starts_with(body.substr(0, call_.begin)) ? json_end(two, call_.begin) : 0;
      format_.several = end != std::string_view::npos && end > name;
      return;
    }
    if (!two.starts_with(body.substr(0, call_.end))) return;
    // Where the second call's own text begins: as far behind its name as in the first.
    const size_t first_name = body.find(kName);
    const size_t second = name - (first_name - call_.begin);
    if (second < call_.end || two[second] != body[call_.begin]) {
      if (format_.shape == ToolFormat::Shape::object) return;
    }
    const std::string_view before = body.substr(0, call_.begin), after = body.substr(call_.end),
                           middle = two.substr(call_.end, second - call_.end);
    const std::string_view call_open = common_end(before, middle);
    const std::string_view closing = middle.substr(0, middle.size() - call_open.size());
    const std::string_view call_close = common_beginning(closing, after);
    format_.open = before.substr(0, before.size() - call_open.size());
    format_.call_open = call_open;
    format_.call_close = call_close;
    format_.between = closing.substr(call_close.size());
    format_.close = after.substr(call_close.size());
    format_.several = true;
  }

  const ChatTemplate& template_;
  const Tokenizer& tokenizer_;
  const bool as_text_, null_content_;
  ToolFormat format_{};
  std::string body_, two_;  // what the assistant writes when it calls one, two
  Range call_{};            // in body_: the call, without what is around it
};

}  // namespace

std::optional<ToolFormat> tool_format(const ChatTemplate& chat_template, const Tokenizer& tokenizer) {
  for (const bool as_text : {false, true}) {
    for (const bool null_content : {true, false}) {
      try {
        if (auto format = Finder(chat_template, tokenizer, as_text, null_content).find()) return format;
      } catch (const Error&) {  // a template that takes no such conversation
      }
    }
  }
  return std::nullopt;
}

ToolFormat plain_tool_format() {
  ToolFormat format;
  format.call_open = "<tool_call>\n";
  format.call_close = "\n</tool_call>";
  format.between = "\n";
  format.several = true;
  format.name_key = "name";
  format.arguments_key = "arguments";
  return format;
}

}  // namespace cairn::text
