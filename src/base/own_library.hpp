#pragma once

#include <string>

namespace cairn {

// A part of cairn that is a shared library of its own: from CAIRN_LIB (a folder), the program's folder, or
// lib/cairn beside that folder. Empty when it is in none of them.
std::string find_own_library(const std::string& name);

// A function of such a library, which stays open. Errors: not_found (the loader's reason), unsupported (it is
// of another version of cairn).
void* open_own_library(const std::string& path, const char* function);

}  // namespace cairn
