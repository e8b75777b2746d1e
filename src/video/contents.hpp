// What a file holds beside the samples of its pictures, in words.
#pragma once

#include <string>
#include <vector>

namespace cairn::video {

struct Holding {
  std::string kind;  // "picture", "track", "attachment", "chapter", "tag"
  std::string text;  // "audio aac, 48000 Hz, stereo, eng, default"
  bool operator==(const Holding&) const = default;
};

// Errors: Reader's. What tells of the coding and of the container alone is not among it.
std::vector<Holding> read_contents(const std::string& path);

// A line for each that only one of the two has.
std::vector<std::string> differences(const std::string& first, const std::vector<Holding>& of_first,
                                     const std::string& second, const std::vector<Holding>& of_second);

}  // namespace cairn::video
