#pragma once

#include <span>
#include <string>
#include <string_view>

namespace cairn {

// Lower case of ASCII letters; the rest as it is.
std::string folded(std::string_view text);

// What a person may have meant by `word`: the candidate with the fewest letters inserted, left out, replaced
// or exchanged with a neighbour (optimal string alignment), whatever their case, or one that begins with
// `word`. Empty when none is near: more than a third of the letters are wrong.
std::string near_match(std::string_view word, std::span<const std::string> candidates);

// ": did you mean 'run'?", or nothing when no candidate is near.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace cairn
