#include "jinja/lexer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "base/error.hpp"
#include "jinja/text_tools.hpp"
#include "jinja/unescape.hpp"
#include "jinja/unicode.hpp"

namespace cairn::jinja {
namespace {

constexpr std::array<std::string_view, 5> two_letter_symbols = {"//", "**", "==", "!=", ">="};

bool digit(char c) {
  return c >= '0' && c <= '9';
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) {
      const size_t tag = find_tag(at_);
      if (tag == source_.size()) {
        add_data(at_, tag);
        break;
      }
      if (source_[tag + 1] == '#') {
        comment(tag);
      } else if (const auto body = raw_begin(tag)) {
        raw(tag, *body);
      } else {
        code(tag);
      }
    }
    tokens_.push_back({TokenKind::end, source_.size(), {}, 0, 0});
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void stop(size_t at, const std::string& reason) const {
    fail(ErrorCode::format, "chat template, {}: {}", place(source_, at), reason);
  }
  char peek(size_t at) const { return at < source_.size() ? source_[at] : '\0'; }
  bool sees(std::string_view text) const { return source_.substr(at_).starts_with(text); }

  size_t find_tag(size_t from) const {
    for (size_t i = source_.find('{', from); i != std::string_view::npos; i = source_.find('{', i + 1)) {
      const char c = peek(i + 1);
      if (c == '{' || c == '%' || c == '#') return i;
    }
    return source_.size();
  }

  size_t skip_space(size_t from) const {
    return source_.size() - strip(source_.substr(from), Side::left).size();
  }

  void add_data(size_t begin, size_t end) {
    if (begin < end) {
      tokens_.push_back({TokenKind::data, begin, std::string(source_.substr(begin, end - begin)), 0, 0});
    }
    line_starting_ = end > begin && source_[end - 1] == '\n';
    at_ = end;
  }

  // The text before a tag: `sign` is what follows the tag's opening brace.
  void text_before(size_t tag, char sign, bool is_print) {
    std::string_view text = source_.substr(at_, tag - at_);
    if (sign == '-') {
      text = strip(text, Side::right);
    } else if (sign != '+' && !is_print) {
      const size_t newline = text.rfind('\n');
      const size_t line = newline == std::string_view::npos ? 0 : newline + 1;
      const bool starts_line = newline != std::string_view::npos || line_starting_;
      if (starts_line && strip(text.substr(line), Side::left).empty()) text = text.substr(0, line);
    }
    if (!text.empty()) tokens_.push_back({TokenKind::data, at_, std::string(text), 0, 0});
  }

  static char sign_of(char c) { return c == '-' || c == '+' ? c : '\0'; }

  // Steps over a tag's end; `end` is where its closing characters begin, `sign` the character before them.
  void after_tag(size_t end, char sign, bool trims_newline) {
    at_ = end + 2;
    if (sign == '-') {
      at_ = skip_space(at_);
    } else if (sign != '+' && trims_newline && peek(at_) == '\n') {
      ++at_;
    }
    line_starting_ = source_[at_ - 1] == '\n';
  }

  void comment(size_t tag) {
    const char sign = sign_of(peek(tag + 2));
    text_before(tag, sign, false);
    const size_t body = tag + 2 + (sign ? 1 : 0);
    const size_t end = source_.find("#}", body);
    if (end == std::string_view::npos) stop(tag, "Missing end of comment tag");
    after_tag(end, end > body ? sign_of(source_[end - 1]) : '\0', true);
  }

  // {% raw %}: where its text begins.
  std::optional<size_t> raw_begin(size_t tag) const {
    if (peek(tag + 1) != '%') return std::nullopt;
    size_t i = skip_space(tag + 2 + (sign_of(peek(tag + 2)) ? 1 : 0));
    if (!source_.substr(i).starts_with("raw")) return std::nullopt;
    i = skip_space(i + 3);
    if (source_.substr(i).starts_with("-%}")) return skip_space(i + 3);
    if (source_.substr(i).starts_with("%}")) return i + 2;
    return std::nullopt;
  }

  void raw(size_t tag, size_t body) {
    text_before(tag, sign_of(peek(tag + 2)), false);
    at_ = body;
    line_starting_ = source_[body - 1] == '\n';
    for (size_t i = source_.find("{%", body); i != std::string_view::npos; i = source_.find("{%", i + 1)) {
      const char sign = sign_of(peek(i + 2));
      size_t end = skip_space(i + 2 + (sign ? 1 : 0));
      if (!source_.substr(end).starts_with("endraw")) continue;
      end = skip_space(end + 6);
      const char end_sign = sign_of(peek(end));
      if (end_sign) ++end;
      if (!source_.substr(end).starts_with("%}")) continue;
      text_before(i, sign, false);
      after_tag(end, end_sign, true);
      return;
    }
    if (body < source_.size()) stop(tag, "Missing end of raw directive");
  }

  void code(size_t tag) {
    const bool is_print = source_[tag + 1] == '{';
    const char sign = sign_of(peek(tag + 2));
    text_before(tag, sign, is_print);
    tokens_.push_back({is_print ? TokenKind::print_begin : TokenKind::block_begin, tag, {}, 0, 0});
    at_ = tag + 2 + (sign ? 1 : 0);
    const std::string_view close = is_print ? "}}" : "%}";
    std::string open;  // closing brackets that are due
    for (;;) {
      at_ = skip_space(at_);
      if (at_ >= source_.size()) stop(tag, "the tag is not closed");
      const char end_sign = peek(at_) == '-' || (peek(at_) == '+' && !is_print) ? peek(at_) : '\0';
      const size_t end = at_ + (end_sign ? 1 : 0);
      if (open.empty() && source_.substr(end).starts_with(close)) {
        tokens_.push_back({is_print ? TokenKind::print_end : TokenKind::block_end, at_, {}, 0, 0});
        after_tag(end, end_sign, !is_print);
        return;
      }
      token(open);
    }
  }

  void token(std::string& open) {
    const char c = source_[at_];
    if (digit(c)) return number();
    if (c == '\'' || c == '"') return text();
    if (c == '_' || std::isalpha(static_cast<unsigned char>(c)) || (c & 0x80)) return name();
    symbol(open);
  }

  void name() {
    const size_t start = at_;
    while (at_ < source_.size()) {
      size_t next = at_;
      const char32_t c = unicode::next(source_, next);
      if (!unicode::is_word(c)) break;
      at_ = next;
    }
    if (at_ == start) stop(at_, "unexpected character");
    tokens_.push_back({TokenKind::name, start, std::string(source_.substr(start, at_ - start)), 0, 0});
  }

  size_t digits_end(size_t i) const {
    while (digit(peek(i)) || (peek(i) == '_' && digit(peek(i + 1)))) ++i;
    return i;
  }

  void number() {
    const size_t start = at_;
    size_t end = digits_end(start);
    bool real = false;
    // Not after a dot: in "a.0.1" both are indices.
    if (start == 0 || source_[start - 1] != '.') {
      if (peek(end) == '.' && digit(peek(end + 1))) {
        end = digits_end(end + 1);
        real = true;
      }
      const bool exponent_sign = peek(end + 1) == '+' || peek(end + 1) == '-';
      if ((peek(end) | 0x20) == 'e' && digit(peek(end + (exponent_sign ? 2 : 1)))) {
        end = digits_end(end + (exponent_sign ? 2 : 1));
        real = true;
      }
    }
    Token token{TokenKind::integer, start, {}, 0, 0};
    if (real) {
      token.kind = TokenKind::real;
      token.real = parse_real(source_.substr(start, end - start)).value_or(0);
    } else {
      end = integer_end(start);
      try {
        token.integer = parse_integer(source_.substr(start, end - start), 0).value_or(0);
      } catch (const Error& error) {
        fail(error.code(), "chat template, {}: {}", place(source_, start), error.what());
      }
    }
    at_ = end;
    tokens_.push_back(std::move(token));
  }

  size_t integer_end(size_t start) const {
    const auto run = [&](size_t from, std::string_view letters) {
      size_t i = from;
      const auto is = [&](char c) {
        return c != '\0' && letters.find(static_cast<char>(c | 0x20)) != letters.npos;
      };
      const auto number = [&](char c) { return digit(c) ? letters.find(c) != letters.npos : is(c); };
      while (number(peek(i)) || (peek(i) == '_' && number(peek(i + 1)))) ++i;
      return i > from ? i : size_t{0};
    };
    if (source_[start] == '0') {
      const char base = static_cast<char>(peek(start + 1) | 0x20);
      const size_t prefixed = base == 'x'   ? run(start + 2, "0123456789abcdef")
                              : base == 'o' ? run(start + 2, "01234567")
                              : base == 'b' ? run(start + 2, "01")
                                            : 0;
      return prefixed ? prefixed : run(start, "0");
    }
    return digits_end(start);
  }

  void text() {
    const size_t start = at_;
    const char quote = source_[at_];
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) stop(start, "the string is not closed");
    Token token{TokenKind::text, start, {}, 0, 0};
    try {
      token.text = unescape(source_.substr(start + 1, end - start - 1));
    } catch (const Error& error) {
      fail(error.code(), "chat template, {}: {}", place(source_, start), error.what());
    }
    at_ = end + 1;
    tokens_.push_back(std::move(token));
  }

  void symbol(std::string& open) {
    const size_t start = at_;
    const char c = source_[at_];
    std::string_view text = source_.substr(at_, 1);
    for (const auto two : two_letter_symbols) {
      if (sees(two)) text = two;
    }
    if (sees("<=")) text = "<=";
    if (text.size() == 1 && std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos) {
      stop(start, fmt::format("unexpected character '{}'", c));
    }
    if (c == '{') open += '}';
    if (c == '(') open += ')';
    if (c == '[') open += ']';
    if (c == '}' || c == ')' || c == ']') {
      if (open.empty()) stop(start, fmt::format("unexpected '{}'", c));
      if (open.back() != c) stop(start, fmt::format("unexpected '{}', expected '{}'", c, open.back()));
      open.pop_back();
    }
    at_ += text.size();
    tokens_.push_back({TokenKind::symbol, start, std::string(text), 0, 0});
  }

  std::string_view source_;
  size_t at_ = 0;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::string normalize_source(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      out += '\n';
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

std::string place(std::string_view source, size_t at) {
  const std::string_view before = source.substr(0, at);
  const size_t newline = before.rfind('\n');
  const size_t line = static_cast<size_t>(std::count(before.begin(), before.end(), '\n')) + 1;
  const size_t column =
      unicode::length(before.substr(newline == std::string_view::npos ? 0 : newline + 1)) + 1;
  return fmt::format("line {}, column {}", line, column);
}

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace cairn::jinja
