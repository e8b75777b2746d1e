#pragma once

#include <stdlib.h>

#include <filesystem>

#include "base/plugin.hpp"

namespace cairn::testing {

// Lets cairn's own libraries be found where the program was built.
inline void look_beside_the_program() {
  setenv("CAIRN_LIB", std::filesystem::path(CAIRN_PROGRAM).parent_path().c_str(), 1);
}

inline bool was_built(const char* library) {
  look_beside_the_program();
  return !find_own_library(library).empty();
}

}  // namespace cairn::testing
