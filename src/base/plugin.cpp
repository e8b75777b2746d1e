#include "base/plugin.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/error.hpp"
#include "base/machine.hpp"

namespace cairn {

namespace fs = std::filesystem;

namespace {

// The file that this code was loaded from, without links.
fs::path own_file() {
  static const char somewhere = 0;
  std::error_code ignored;
  Dl_info found{};
  if (dladdr(&somewhere, &found) != 0 && found.dli_fname != nullptr && found.dli_fname[0] == '/')
    return fs::canonical(found.dli_fname, ignored);
  return fs::read_symlink("/proc/self/exe", ignored);  // of a program, dladdr tells the name it was called by
}

}  // namespace

std::string find_own_library(const std::string& name) {
  if (!opens_libraries()) return {};
  std::vector<fs::path> folders;
  if (const char* chosen = std::getenv("CAIRN_LIB"); chosen != nullptr && *chosen != '\0')
    folders.emplace_back(chosen);
  std::error_code ignored;
  if (const fs::path own = own_file(); !own.empty()) {
    folders.push_back(own.parent_path());
    folders.push_back(own.parent_path() / "cairn");
    folders.push_back(own.parent_path().parent_path() / "cairn");
    folders.push_back(own.parent_path().parent_path() / "lib" / "cairn");
  }
  for (const fs::path& folder : folders) {
    if (fs::exists(folder / name, ignored)) return folder / name;
  }
  return {};
}

std::string own_library(const std::string& name, const std::string& why) {
  if (!opens_libraries())
    fail(ErrorCode::unsupported,
         "{} cannot be opened by a static cairn: that needs the one of several files (docs/arm64.md)", name);
  std::string path = find_own_library(name);
  if (path.empty())
    fail(ErrorCode::not_found, "{} is not there: {}, or CAIRN_LIB should name its folder", name, why);
  return path;
}

void check_plugin_call(int status, const char* message) {
  if (status == 0) return;
  throw Error(status < 0 ? ErrorCode::io : static_cast<ErrorCode>(status), message);
}

const PluginHead& open_plugin(const std::string& path, const char* name, const PluginHead& expected) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    fail(ErrorCode::not_found, "{} cannot be opened: {}", path,
         reason == nullptr ? "no reason given" : reason);
  }
  const auto* found = static_cast<const PluginHead*>(dlsym(handle, name));
  const PluginHead head = found == nullptr ? PluginHead{} : *found;
  if (head.size == expected.size && head.build == expected.build) return *found;
  dlclose(handle);
  if (found == nullptr)
    fail(ErrorCode::unsupported, "{}: there is no {} in it: it is not of this version of cairn", path, name);
  if (head.size != expected.size) {
    fail(ErrorCode::unsupported, "{}: its {} has {} bytes, this cairn's {}: build both from the same source",
         path, name, head.size, expected.size);
  }
  fail(ErrorCode::unsupported,
       "{}: it is of build {:08x}, this cairn of {:08x}: build both from the same source", path, head.build,
       expected.build);
}

}  // namespace cairn
