#include "base/near_match.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace cairn {
namespace {

size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before, last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string folded(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string near_match(std::string_view word, std::span<const std::string> candidates) {
  constexpr size_t kLongest = 200;  // the work grows with the square
  if (word.empty() || word.size() > kLongest) return {};
  const std::string wanted = folded(word);
  const size_t letters = wanted.size() - std::min(wanted.find_first_not_of('-'), wanted.size());
  std::string best;
  size_t least = std::max<size_t>(1, letters / 3) + 1;
  for (const std::string& candidate : candidates) {
    if (candidate.size() > kLongest) continue;
    const std::string name = folded(candidate);
    const size_t wrong = distance(wanted, name);
    if (wrong < least) least = wrong, best = candidate;
  }
  if (!best.empty() || letters < 2) return best;
  for (const std::string& candidate : candidates) {
    if (folded(candidate).starts_with(wanted)) return candidate;
  }
  return {};
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const std::string near = near_match(word, candidates);
  return near.empty() ? "" : ": did you mean '" + near + "'?";
}

}  // namespace cairn
