#include "base/own_library.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/error.hpp"

namespace cairn {

namespace fs = std::filesystem;

std::string find_own_library(const std::string& name) {
  std::vector<fs::path> folders;
  if (const char* chosen = std::getenv("CAIRN_LIB"); chosen != nullptr && *chosen != '\0')
    folders.emplace_back(chosen);
  std::error_code ignored;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !program.empty()) {
    folders.push_back(program.parent_path());
    folders.push_back(program.parent_path().parent_path() / "lib" / "cairn");
  }
  for (const fs::path& folder : folders) {
    if (fs::exists(folder / name, ignored)) return folder / name;
  }
  return {};
}

void* open_own_library(const std::string& path, const char* function) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    fail(ErrorCode::not_found, "{} cannot be opened: {}", path,
         reason == nullptr ? "no reason given" : reason);
  }
  void* found = dlsym(handle, function);
  if (found == nullptr)
    fail(ErrorCode::unsupported, "{}: no function {}: not of this version of cairn", path, function);
  return found;
}

}  // namespace cairn
