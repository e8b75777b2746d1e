#pragma once

#include <string>
#include <vector>

namespace cairn {

// The files that a path stands for: all parts of a split model, as its name tells them
// ("name-00001-of-00003.gguf"), else the one.
std::vector<std::string> split_paths(const std::string& path);

// The name of the first of `count` parts.
std::string split_name(const std::string& stem, size_t count);

}  // namespace cairn
