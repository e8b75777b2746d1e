// LAMBADA: predicting the last word of a passage.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/mapped_file.hpp"
#include "measure/evaluate.hpp"
#include "measure/log_probability.hpp"

namespace cairn::measure {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

struct Passage {
  std::vector<text::Token> tokens;
  size_t target;  // index of the last word's first token, ≥ 1
};

Passage split(const text::Tokenizer& tokenizer, std::string_view text, size_t number) {
  const size_t end = text.find_last_not_of(kBlank);
  if (end != text.npos) text = text.substr(0, end + 1);
  const size_t space = text.rfind(' ');
  if (end == text.npos || space == text.npos || space == 0) {
    fail(ErrorCode::format, "LAMBADA passage {} has no last word after a space", number);
  }
  Passage passage{tokenizer.encode(text), tokenizer.encode(text.substr(0, space)).size()};
  if (passage.tokens.size() < 2) fail(ErrorCode::format, "LAMBADA passage {} is a single token", number);
  // Only a tokenizer that reads across words could leave nothing to predict.
  passage.target = std::clamp<size_t>(passage.target, 1, passage.tokens.size() - 1);
  return passage;
}

}  // namespace

std::vector<std::string> read_lambada(const std::string& path, size_t limit) {
  const MappedFile file(path);
  const std::string_view content(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  std::vector<std::string> passages;
  size_t line_number = 0;
  for (size_t begin = 0; begin < content.size() && (limit == 0 || passages.size() < limit);) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const std::string_view line = content.substr(begin, end - begin);
    begin = end + 1;
    ++line_number;
    if (line.find_first_not_of(kBlank) == line.npos) continue;
    const nlohmann::json value = nlohmann::json::parse(line, nullptr, false);
    if (!value.is_object() || !value.contains("text") || !value["text"].is_string()) {
      fail(ErrorCode::format, "{}:{}: not a JSON object with a string \"text\"", path, line_number);
    }
    passages.push_back(value["text"].get<std::string>());
  }
  if (passages.empty()) fail(ErrorCode::format, "{}: no passage in it", path);
  return passages;
}

LambadaResult Evaluator::lambada(const text::Tokenizer& tokenizer, std::span<const std::string> passages) {
  if (passages.empty()) fail(ErrorCode::invalid_argument, "nothing to evaluate: no passage");
  const size_t vocabulary = engine_.model().parameters.vocabulary, chunk = engine_.chunk();
  LambadaResult result;
  std::vector<float> logits;
  for (const std::string& text : passages) {
    progress_(result.passages, passages.size());
    const Passage passage = split(tokenizer, text, result.passages + 1);
    const auto tokens = std::span(passage.tokens);
    if (tokens.size() - 1 > engine_.context()) {
      fail(ErrorCode::invalid_argument, "LAMBADA passage {} has {} tokens, the context {}",
           result.passages + 1, tokens.size(), engine_.context());
    }
    // All but the rows that predict the last word pass without logits.
    const size_t first = passage.target - 1, rows = tokens.size() - 1 - first;
    const auto sequence = engine_.make_sequence();
    const auto forward = [&](size_t begin, size_t end, engine::Logits wanted) {
      for (size_t position = begin; position < end;) {
        const size_t count = std::min(chunk, end - position);
        float* out =
            wanted == engine::Logits::all ? logits.data() + (position - first) * vocabulary : nullptr;
        engine_.step({sequence.get(), tokens.subspan(position, count), wanted, out}, cancelled_);
        position += count;
      }
    };
    logits.resize(std::max(logits.size(), rows * vocabulary));
    forward(0, first, engine::Logits::none);
    forward(first, first + rows, engine::Logits::all);
    bool correct = true;
    for (size_t row = 0; correct && row < rows; ++row) {
      const size_t position = first + row;
      const RowSummary summary =
          summarize(std::span<const float>(logits).subspan(row * vocabulary, vocabulary));
      if (!std::isfinite(summary.log_sum)) {
        fail(ErrorCode::numeric,
             "NaN or infinity in the logits after position {} (token {}) of LAMBADA passage {}", position,
             tokens[position], result.passages + 1);
      }
      correct = summary.best == tokens[position + 1];
    }
    result.correct += correct ? 1 : 0;
    ++result.passages;
  }
  progress_(result.passages, passages.size());
  result.accuracy = static_cast<double>(result.correct) / static_cast<double>(result.passages);
  return result;
}

}  // namespace cairn::measure
