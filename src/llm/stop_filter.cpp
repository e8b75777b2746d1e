#include "llm/stop_filter.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/utf8.hpp"

namespace cairn::llm {

StopFilter::StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) fail(ErrorCode::invalid_argument, "a stop string is empty");
    std::string buffer;
    if (!is_utf8(stop)) {
      fail(ErrorCode::invalid_argument, "a stop string of {} bytes is not UTF-8", stop.size());
    }
  }
}

// The length of the longest end of pending_ that begins a stop string.
size_t StopFilter::held_back() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    size_t length = std::min(stop.size() - 1, pending_.size());
    while (length > longest &&
           !std::string_view(pending_).ends_with(std::string_view(stop).substr(0, length))) {
      --length;
    }
    longest = std::max(longest, length);
  }
  return longest;
}

std::string StopFilter::push(std::string_view text) {
  if (stopped()) return {};
  pending_ += text;
  size_t first = 0;
  size_t end = std::string::npos;
  for (size_t i = 0; i < stops_.size(); ++i) {
    const size_t found = pending_.find(stops_[i]);
    if (found == std::string::npos) continue;
    const size_t found_end = found + stops_[i].size();
    if (found_end < end || (found_end == end && found < first)) {
      first = found;
      end = found_end;
      matched_ = i;
    }
  }
  const size_t safe = stopped() ? first : pending_.size() - held_back();
  std::string result = pending_.substr(0, safe);
  pending_ = stopped() ? std::string() : pending_.substr(safe);
  return result;
}

std::string StopFilter::finish() {
  return std::exchange(pending_, {});
}

}  // namespace cairn::llm
