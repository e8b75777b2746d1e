#include "grammar/structure.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/error.hpp"
#include "grammar/schema.hpp"

namespace cairn::grammar {
namespace {

using Json = nlohmann::ordered_json;

Json of_schema(Json checked) {
  return {{"type", "json_schema"}, {"json_schema", std::move(checked)}, {"max_whitespace_cnt", kMostBlanks}};
}

}  // namespace

Structure& Structure::add(Json element) {
  elements_.push_back(std::move(element));
  return *this;
}

Json Structure::format() const {
  if (elements_.size() == 1) return elements_[0];
  if (elements_.empty()) return {{"type", "const_string"}, {"value", ""}};
  return {{"type", "sequence"}, {"elements", elements_}};
}

std::string Structure::text() const {
  return Json{{"type", "structural_tag"}, {"format", format()}}.dump();
}

Structure& Structure::mark(std::string_view text) {
  size_t done = 0;
  const auto plain = [&](size_t end) {
    if (end > done) add({{"type", "const_string"}, {"value", std::string(text.substr(done, end - done))}});
    done = end;
  };
  for (const text::TextRange& range : tokenizer_->control_ranges(text)) {
    plain(range.begin);
    const auto token = tokenizer_->find(text.substr(range.begin, range.end - range.begin));
    if (token && !tokenizer_->is_end(*token)) add({{"type", "token"}, {"token", *token}});
    done = range.end;
  }
  plain(text.size());
  return *this;
}

Structure& Structure::text_up_to(std::string_view mark) {
  add({{"type", "any_text"}, {"excludes", Json::array({std::string(mark)})}});
  return this->mark(mark);
}

Structure& Structure::blanks() {
  return add({{"type", "regex"}, {"pattern", fmt::format("[ \\n\\r\\t]{{0,{}}}", kMostBlanks)}});
}

Structure& Structure::part(Kind kind, std::string_view text) {
  switch (kind) {
    case Kind::json_schema:
      return add(of_schema(checked_schema(text)));
    case Kind::regex:
      return add({{"type", "regex"}, {"pattern", std::string(text)}});
    case Kind::ebnf:
      return add({{"type", "grammar"}, {"grammar", std::string(text)}});
    case Kind::structure:
      break;
  }
  return add(Json::parse(text)["format"]);
}

Structure& Structure::schema(const Json& schema) {
  return add(of_schema(checked_schema(schema)));
}

Structure& Structure::either(const std::vector<Structure>& cases) {
  if (cases.size() == 1) return add(cases[0].format());
  Json all = Json::array();
  for (const Structure& one : cases) all.push_back(one.format());
  return add({{"type", "or"}, {"elements", std::move(all)}});
}

Structure& Structure::optional(const Structure& part) {
  return add({{"type", "optional"}, {"content", part.format()}});
}

Structure& Structure::any_number(const Structure& part) {
  return add({{"type", "star"}, {"content", part.format()}});
}

Structure& Structure::free_text_with(std::string_view mark, const Structure& then) {
  const auto ranges = tokenizer_->control_ranges(mark);
  Structure rest(*tokenizer_);
  if (!ranges.empty() && ranges.front().begin == 0) {
    const std::string_view first = mark.substr(0, ranges.front().end);
    rest.mark(mark.substr(ranges.front().end)).add(then.format());
    return add({{"type", "token_dispatch"},
                {"rules", Json::array({Json::array({*tokenizer_->find(first), rest.format()})})}});
  }
  const size_t end = ranges.empty() ? mark.size() : ranges.front().begin;
  rest.mark(mark.substr(end)).add(then.format());
  return add({{"type", "dispatch"},
              {"rules", Json::array({Json::array({std::string(mark.substr(0, end)), rest.format()})})}});
}

}  // namespace cairn::grammar
