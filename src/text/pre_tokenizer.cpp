#include "text/pre_tokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <limits>
#include <string>

#include "base/error.hpp"

namespace cairn::text {
namespace {

struct FreeCode {
  void operator()(pcre2_code* code) const noexcept { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* data) const noexcept { pcre2_match_data_free(data); }
};
struct FreeContext {
  void operator()(pcre2_match_context* context) const noexcept { pcre2_match_context_free(context); }
};

std::string message(int error) {
  PCRE2_UCHAR buffer[160] = {};
  pcre2_get_error_message(error, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

// Matching fails only for lack of memory or beyond a limit; a text may be long, so the limits are off.
std::unique_ptr<pcre2_match_context, FreeContext> unlimited() {
  std::unique_ptr<pcre2_match_context, FreeContext> context(pcre2_match_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), std::numeric_limits<uint32_t>::max());
  pcre2_set_depth_limit(context.get(), std::numeric_limits<uint32_t>::max());
  return context;
}

}  // namespace

struct PreTokenizer::Expression {
  explicit Expression(std::string_view source) {
    const std::string pattern = portable_expression(source);
    int error = 0;
    PCRE2_SIZE offset = 0;
    code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                             PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
    if (!code)
      fail(ErrorCode::unsupported, "pre-tokenizer expression '{}': {} at byte {}", source, message(error),
           offset);
    pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT, PCRE2 interprets
  }

  void split(std::string_view text, pcre2_match_data* data, pcre2_match_context* context,
             std::vector<std::string_view>& pieces) const {
    size_t done = 0;
    size_t from = 0;
    while (from < text.size()) {
      const int found = pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                    PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data, context);
      if (found == PCRE2_ERROR_NOMATCH) break;
      if (found < 0) fail(ErrorCode::out_of_memory, "splitting a text into words: {}", message(found));
      const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
      if (range[0] > done) pieces.push_back(text.substr(done, range[0] - done));
      pieces.push_back(text.substr(range[0], range[1] - range[0]));
      done = from = range[1];
    }
    if (done < text.size()) pieces.push_back(text.substr(done));
  }

  std::unique_ptr<pcre2_code, FreeCode> code;
};

PreTokenizer::PreTokenizer(const std::vector<std::string_view>& expressions) {
  expressions_.reserve(expressions.size());
  for (std::string_view expression : expressions) expressions_.emplace_back(expression);
}

PreTokenizer::~PreTokenizer() = default;
PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer& PreTokenizer::operator=(PreTokenizer&&) noexcept = default;

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  const auto context = unlimited();
  std::unique_ptr<pcre2_match_data, FreeMatch> data(pcre2_match_data_create(1, nullptr));
  if (!data) throw std::bad_alloc();
  std::vector<std::string_view> pieces, parts;
  if (!text.empty()) pieces.push_back(text);
  for (const Expression& expression : expressions_) {
    parts.clear();
    for (std::string_view piece : pieces) expression.split(piece, data.get(), context.get(), parts);
    pieces.swap(parts);
  }
  return pieces;
}

}  // namespace cairn::text
