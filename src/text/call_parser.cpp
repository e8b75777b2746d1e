#include "text/call_parser.hpp"

#include <algorithm>
#include <utility>

#include "text/scan.hpp"

namespace cairn::text {
namespace {

using Json = nlohmann::ordered_json;
using Kind = CallPiece::Kind;

constexpr size_t kLongestName = 128;
constexpr size_t kNone = std::string_view::npos;

// `text`, which may still grow, begins with the mark, does not, or may yet.
enum class Begins : uint8_t { yes, no, perhaps };
Begins begins(std::string_view text, std::string_view mark) {
  if (text.starts_with(mark)) return Begins::yes;
  return mark.starts_with(text) ? Begins::perhaps : Begins::no;
}

// Without what `mark` has of white space at its end, which stands before the text.
std::string_view without_blanks_of(std::string_view mark, std::string_view text) {
  const std::string_view blanks = mark.substr(trimmed_back(mark).size());
  return text.starts_with(blanks) ? text.substr(blanks.size()) : text;
}

}  // namespace

CallParser::CallParser(const ToolFormat& format, const std::vector<Tool>& tools)
    : format_(format),
      tools_(tools),
      mark_(format.mark()),
      next_mark_(format.array || trimmed(format.call_open).empty() ? mark_ : trimmed(format.call_open)) {}

void CallParser::emit(Kind kind, std::string_view text) {
  if (kind != Kind::call && text.empty()) return;
  if (kind != Kind::call && !pieces_.empty() && pieces_.back().kind == kind) {
    pieces_.back().text += text;
  } else {
    pieces_.push_back({kind, std::string(text)});
  }
}

std::vector<CallPiece> CallParser::push(std::string_view text) {
  pending_ += text;
  for (Step step = Step::go_on; step == Step::go_on;) {
    step = state_ == State::text ? text_step() : state_ == State::call ? call_step() : after_step();
  }
  return std::exchange(pieces_, {});
}

std::vector<CallPiece> CallParser::finish() {
  if (state_ == State::call && tool_ == nullptr) no_call();
  if (state_ == State::text && !(any_call_ && trimmed(pending_).empty())) emit(Kind::text, pending_);
  pending_.clear();
  return std::exchange(pieces_, {});
}

CallParser::Step CallParser::text_step() {
  const std::string_view pending = pending_;
  if (mark_.empty()) {  // then an answer is a call from its first character on, or is none
    const std::string_view first = trimmed_front(pending);
    if (first.empty() && !begun_) return Step::wait;
    if (!begun_ && first.front() == (format_.array ? '[' : '{')) {
      state_ = State::call;
      return Step::go_on;
    }
    begun_ = true;
    emit(Kind::text, std::exchange(pending_, {}));
    return Step::wait;
  }
  size_t at = pending.find(mark_);
  const std::string* mark = &mark_;
  if (any_call_ && pending.find(next_mark_) < at) {
    at = pending.find(next_mark_);
    mark = &next_mark_;
  }
  const std::string_view before = pending.substr(0, at);
  size_t certain = trimmed_back(before).size();  // white space before a call is held back
  if (at == kNone) {
    const size_t held =
        std::max(begun_at_end(pending, mark_), any_call_ ? begun_at_end(pending, next_mark_) : 0);
    certain = trimmed_back(pending.substr(0, pending.size() - held)).size();
  }
  emit(Kind::text, pending.substr(0, certain));
  if (at == kNone) {
    pending_.erase(0, certain);
    return Step::wait;
  }
  skipped_ = pending.substr(certain, at + mark->size() - certain);
  pending_.erase(0, at + mark->size());
  state_ = State::call;
  return Step::go_on;
}

CallParser::Step CallParser::call_step() {
  begun_ = true;
  if (format_.shape == ToolFormat::Shape::object) return object_step();
  if (tool_ != nullptr) return format_.shape == ToolFormat::Shape::named ? arguments_step() : tagged_step();
  return named_step();
}

// It was none after all.
CallParser::Step CallParser::no_call() {
  emit(Kind::text, std::exchange(skipped_, {}));
  if (tool_ == nullptr && !mark_.empty()) {
    state_ = State::text;  // where another mark may stand
    return Step::go_on;
  }
  emit(Kind::text, std::exchange(pending_, {}));
  tool_ = nullptr;
  state_ = State::text;
  return Step::wait;
}

bool CallParser::begin_call(const std::string& name) {
  const auto found =
      std::find_if(tools_.begin(), tools_.end(), [&](const Tool& one) { return one.name == name; });
  if (found == tools_.end()) return false;
  tool_ = &*found;
  sent_ = 0;
  any_call_ = true;
  skipped_.clear();
  emit(Kind::call, name);
  return true;
}

void CallParser::end_call(size_t taken) {
  pending_.erase(0, taken);
  skipped_.clear();
  tool_ = nullptr;
  state_ = State::after;
}

// {"name": …, "arguments": …}, as far as it is there. It is read from its beginning each time.
CallParser::Step CallParser::object_step() {
  const std::string_view pending = pending_;
  size_t at = pending.size() - trimmed_front(pending).size();
  if (format_.array && !in_array_) {
    if (at == pending.size()) return Step::wait;
    if (pending[at] != '[') return no_call();
    in_array_ = true;
    skipped_ += pending.substr(0, at + 1);
    pending_.erase(0, at + 1);
    return Step::go_on;
  }
  if (at == pending.size()) return Step::wait;
  if (pending[at] != '{') return no_call();
  std::string name;
  size_t arguments = kNone, arguments_end = kNone;
  bool whole = false, broken = false;
  for (++at;;) {
    at = std::min(pending.find_first_not_of(" \t\r\n,", at), pending.size());
    if (at == pending.size()) break;
    if (pending[at] == '}') {
      whole = true;
      ++at;
      break;
    }
    const size_t key_end = json_value_end(pending, at);
    broken = pending[at] != '"';
    if (broken || key_end == kNone) break;
    const Json key = Json::parse(pending.substr(at, key_end - at), nullptr, false);
    at = std::min(pending.find_first_not_of(kBlanks, key_end), pending.size());
    if (at == pending.size()) break;
    broken = pending[at] != ':';
    if (broken) break;
    at = std::min(pending.find_first_not_of(kBlanks, at + 1), pending.size());
    if (at == pending.size()) break;
    const size_t end = json_value_end(pending, at);
    if (key == format_.arguments_key) {
      arguments = at;
      arguments_end = end;
    }
    if (end == kNone) break;
    const Json value = Json::parse(pending.substr(at, end - at), nullptr, false);
    broken = value.is_discarded();
    if (broken) break;
    if (key == format_.name_key && value.is_string()) name = value.get<std::string>();
    at = end;
  }
  if (tool_ == nullptr && (broken || (whole && name.empty()))) return no_call();
  if (tool_ == nullptr && !name.empty() && (whole || arguments != kNone) && !begin_call(name))
    return no_call();
  if (tool_ != nullptr && arguments != kNone) {
    const std::string_view text =
        pending.substr(arguments, arguments_end == kNone ? kNone : arguments_end - arguments);
    if (text.front() != '"') {
      emit(Kind::arguments, text.substr(std::min(sent_, text.size())));
      sent_ = std::max(sent_, text.size());
    } else if (!broken && arguments_end != kNone && sent_ == 0) {  // as a text that holds JSON
      const std::string inner = Json::parse(text).get<std::string>();
      emit(Kind::arguments, inner);
      sent_ = text.size();
    }
  }
  if (broken) {
    if (sent_ == 0) emit(Kind::arguments, "{}");
    end_call(pending_.size());  // what was told cannot be taken back
    return Step::wait;
  }
  if (!whole) return Step::wait;
  if (sent_ == 0) emit(Kind::arguments, "{}");
  end_call(at);
  return Step::go_on;
}

CallParser::Step CallParser::named_step() {
  const bool tagged = format_.shape == ToolFormat::Shape::tagged;
  const std::string_view pending = pending_;
  // What may stand behind the name.
  std::vector<std::string_view> marks = {trimmed(format_.after_name)};
  if (tagged && marks[0].empty()) marks = {trimmed(format_.key_open), trimmed(format_.call_close)};
  if (!tagged && marks[0].empty()) marks = {"{"};
  size_t end = kNone;
  std::string_view mark;
  for (const std::string_view one : marks) {
    if (!one.empty() && pending.find(one) < end) {
      end = pending.find(one);
      mark = one;
    }
  }
  if (end == kNone) return pending.size() > kLongestName ? no_call() : Step::wait;
  if (!begin_call(std::string(trimmed(pending.substr(0, end))))) return no_call();
  const bool behind = mark == trimmed(format_.after_name);  // else it belongs to what follows
  pending_.erase(0, end + (behind ? mark.size() : 0));
  return Step::go_on;
}

// The arguments of `named`, as they come.
CallParser::Step CallParser::arguments_step() {
  const std::string_view pending = pending_;
  const size_t begin = pending.size() - trimmed_front(pending).size();
  if (begin == pending.size()) return Step::wait;
  if (pending[begin] != '{') {
    emit(Kind::arguments, "{}");
    return no_call();
  }
  const size_t end = json_end(pending, begin);
  const std::string_view text = pending.substr(begin, end == kNone ? kNone : end - begin);
  emit(Kind::arguments, text.substr(sent_));
  sent_ = text.size();
  if (end == kNone) return Step::wait;
  end_call(end);
  return Step::go_on;
}

CallParser::Step CallParser::tagged_step() {
  const std::string_view pending = trimmed_front(pending_);
  const std::string_view open = trimmed(format_.key_open), middle = trimmed_back(format_.key_close),
                         close = trimmed(format_.value_close), end = trimmed(format_.call_close);
  const Begins more = begins(pending, open), over = begins(pending, end);
  if (more == Begins::yes) {
    const std::string_view key = pending.substr(open.size());
    const size_t key_end = key.find(middle);
    if (key_end == kNone) return Step::wait;
    const std::string_view value = without_blanks_of(format_.key_close, key.substr(key_end + middle.size()));
    size_t value_end = value.find(close);
    if (value_end == kNone) return Step::wait;
    const size_t taken = static_cast<size_t>(value.data() - pending_.data()) + value_end + close.size();
    const std::string_view blanks =
        std::string_view(format_.value_close).substr(0, format_.value_close.find(close));
    std::string_view text = value.substr(0, value_end);
    if (text.ends_with(blanks)) text.remove_suffix(blanks.size());
    add_value(trimmed(key.substr(0, key_end)), text);
    pending_.erase(0, taken);
    return Step::go_on;
  }
  if (over != Begins::yes && (more == Begins::perhaps || over == Begins::perhaps)) return Step::wait;
  emit(Kind::arguments, sent_ == 0 ? "{}" : "}");
  end_call(pending_.size() - pending.size());  // call_close, or whatever stands in its place, follows
  return Step::go_on;
}

// Strings stand for themselves where the schema has them.
void CallParser::add_value(std::string_view key, std::string_view text) {
  const std::string name(key);
  Json property;
  if (tool_->parameters.is_object() && tool_->parameters.contains("properties")) {
    const Json& properties = tool_->parameters["properties"];
    if (properties.is_object() && properties.contains(name)) property = properties[name];
  }
  bool is_text = property.is_object() && property.value("type", Json()) == "string";
  if (is_text && property.contains("enum")) {
    const Json& values = property["enum"];
    is_text = std::find(values.begin(), values.end(), Json(std::string(text))) != values.end();
  }
  Json value = Json::parse(text, nullptr, false);
  if (text == "None") value = nullptr;  // as Python's templates write them
  if (text == "True" || text == "False") value = text == "True";
  if (value.is_discarded() || is_text) value = std::string(text);
  emit(Kind::arguments, (sent_++ == 0 ? "{" : ", ") + Json(name).dump() + ": " +
                            value.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// Between two calls, or behind the last one.
CallParser::Step CallParser::after_step() {
  for (;;) {
    pending_.erase(0, pending_.size() - trimmed_front(pending_).size());
    const std::string_view pending = pending_;
    if (in_array_ && !pending.empty() && (pending[0] == ',' || pending[0] == ']')) {
      const bool more = pending[0] == ',';
      pending_.erase(0, 1);
      if (more) {
        state_ = State::call;
        return Step::go_on;
      }
      in_array_ = false;
      continue;
    }
    if (pending.empty()) return Step::wait;
    bool taken = false;
    for (const std::string_view mark : {trimmed(format_.call_close), trimmed(format_.close)}) {
      if (mark.empty()) continue;
      const Begins so = begins(pending, mark);
      if (so == Begins::perhaps) return Step::wait;
      if (so != Begins::yes) continue;
      pending_.erase(0, mark.size());
      taken = true;
      break;
    }
    if (taken) continue;
    in_array_ = false;
    state_ = State::text;
    return Step::go_on;
  }
}

}  // namespace cairn::text
