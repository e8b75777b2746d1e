#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::llm {

// Cuts a stream of text at the first stop string. Text that may still become one is held back, so nothing of
// a stop string is ever handed out, wherever the pieces are split. The stop string that is complete first
// wins; of two that end together, the longer.
class StopFilter {
 public:
  // Error invalid_argument: a stop string that is empty or not UTF-8 (it could never match, or split a
  // character).
  explicit StopFilter(std::vector<std::string> stops);

  // Whole UTF-8 characters in; what may be shown out. Gives nothing once stopped().
  std::string push(std::string_view text);
  // The stream has ended: what was held back, which was no stop string after all.
  std::string finish();

  bool stopped() const noexcept { return matched_.has_value(); }
  std::string_view matched() const noexcept { return matched_ ? stops_[*matched_] : std::string_view(); }

 private:
  size_t held_back() const;

  std::vector<std::string> stops_;
  std::optional<size_t> matched_;
  std::string pending_;
};

}  // namespace cairn::llm
