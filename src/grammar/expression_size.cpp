#include "grammar/expression_size.hpp"

#include <algorithm>
#include <cctype>
#include <vector>

namespace cairn::grammar {
namespace {

constexpr size_t kMost = 1 << 30;
constexpr size_t kEndless = SIZE_MAX;

size_t times(size_t a, size_t b) {
  return a == 0 || b == 0 ? 0 : a > kMost / b ? kMost : a * b;
}

void add(ExpressionSize& sum, const ExpressionSize& one, size_t factor = 1) {
  sum.places = std::min(kMost, sum.places + times(one.places, factor));
  sum.choices = std::min(kMost, sum.choices + times(one.choices, factor));
}

class Sizer {
 public:
  explicit Sizer(bool counts_up) : counts_up_(counts_up) {}

  void place() { append({1, 0}, true); }
  void open() { groups_.emplace_back(); }
  void close(bool single = false) {
    if (groups_.size() == 1) return;  // which is an error elsewhere
    const ExpressionSize inner = groups_.back();
    groups_.pop_back();
    append(inner, single);
  }
  // Of what came last, so often in all.
  void repeat(size_t least, size_t most) {
    const size_t written = most == kEndless ? least : most;
    if (!single_ || !counts_up_) add(groups_.back(), last_, std::max<size_t>(written, 1) - 1);
    if (least != most) add(groups_.back(), {0, 1});
    single_ = false;
  }
  ExpressionSize size() const {
    ExpressionSize all;
    for (const ExpressionSize& group : groups_) add(all, group);
    return all;
  }

 private:
  void append(const ExpressionSize& what, bool single) {
    add(groups_.back(), what);
    last_ = what;
    single_ = single;
  }

  const bool counts_up_;
  std::vector<ExpressionSize> groups_ = {{}};  // open ones
  ExpressionSize last_;                        // what a repetition would repeat
  bool single_ = false;
};

// Behind a class's "]", from its "[".
size_t end_of_class(std::string_view text, size_t at) {
  while (at + 1 < text.size() && text[at] != ']') at += text[at] == '\\' ? 2 : 1;
  return at;
}

// Reads {m}, {m,}, {,n} or {m,n} from its "{"; returns where its "}" is.
size_t repetition(std::string_view text, size_t at, Sizer& sizer) {
  size_t bounds[2] = {0, 0};
  bool digits[2] = {false, false};
  int which = 0;
  for (++at; at < text.size() && text[at] != '}'; ++at) {
    if (text[at] == ',') which = 1;
    if (text[at] < '0' || text[at] > '9') continue;
    bounds[which] = std::min(kMost, bounds[which] * 10 + static_cast<size_t>(text[at] - '0'));
    digits[which] = true;
  }
  sizer.repeat(bounds[0], which == 0 ? bounds[0] : digits[1] ? bounds[1] : kEndless);
  return at;
}

// True if it was one.
bool repeated_by(char c, Sizer& sizer) {
  if (c == '*') sizer.repeat(0, kEndless);
  if (c == '+') sizer.repeat(1, kEndless);
  if (c == '?') sizer.repeat(0, 1);
  return c == '*' || c == '+' || c == '?';
}

ExpressionSize size_of(std::string_view expression, bool counts_up) {
  Sizer sizer(counts_up);
  for (size_t at = 0; at < expression.size(); ++at) {
    const char c = expression[at];
    if (c == '(') {
      sizer.open();
      if (at + 1 < expression.size() && expression[at + 1] == '?') ++at;  // (?:…)
    } else if (c == ')') {
      sizer.close();
    } else if (c == '[') {
      at = end_of_class(expression, at);
      sizer.place();
    } else if (c == '{') {
      at = repetition(expression, at, sizer);
    } else if (c == '\\') {
      ++at;
      sizer.place();
    } else if (c != '|' && c != '^' && c != '$' && !repeated_by(c, sizer)) {
      sizer.place();
    }
  }
  return sizer.size();
}

}  // namespace

ExpressionSize size_of_regex(std::string_view expression) {
  return size_of(expression, true);
}

ExpressionSize size_of_pattern(std::string_view expression) {
  return size_of(expression, false);
}

ExpressionSize size_of_rules(std::string_view gbnf) {
  Sizer rules(true);
  const auto is_name = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  };
  for (size_t at = 0; at < gbnf.size(); ++at) {
    const char c = gbnf[at];
    if (c == '#') {
      while (at + 1 < gbnf.size() && gbnf[at + 1] != '\n') ++at;
    } else if (c == '"') {
      rules.open();  // a repetition is of all of it
      size_t characters = 0;
      for (++at; at < gbnf.size() && gbnf[at] != '"'; ++at, ++characters) {
        if (gbnf[at] == '\\') ++at;
        rules.place();
      }
      rules.close(characters == 1);
    } else if (c == '[') {
      at = end_of_class(gbnf, at);
      rules.place();
    } else if (c == '(') {
      rules.open();
    } else if (c == ')') {
      rules.close();
    } else if (c == '{') {
      at = repetition(gbnf, at, rules);
    } else if (is_name(c)) {
      while (at + 1 < gbnf.size() && is_name(gbnf[at + 1])) ++at;
      rules.place();
    } else {
      repeated_by(c, rules);
    }
  }
  return rules.size();
}

}  // namespace cairn::grammar
