#include "offload/runtime_library.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/error.hpp"
#include "base/machine.hpp"
#include "store/model_store.hpp"

namespace cairn::offload {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLongestMessage = 400;

// The library in a folder, or the path itself where it is a file; empty when there is none.
std::string library_in(const RuntimeName& runtime, const std::string& place) {
  if (place.empty()) return "";
  std::error_code ignored;
  if (fs::is_regular_file(place, ignored)) return place;
  for (const char* subfolder : runtime.subfolders) {
    std::vector<std::string> found;  // libopenvino_c.so.2641
    for (const auto& entry : fs::directory_iterator(fs::path(place) / subfolder, ignored)) {
      if (entry.path().filename().string().starts_with(runtime.file)) found.push_back(entry.path().string());
    }
    if (!found.empty()) return *std::ranges::max_element(found);
  }
  return "";
}

RuntimeLibrary open_file(const RuntimeName& runtime, std::string path, std::string folder) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* reason = dlerror();
    fail(ErrorCode::not_found, "{}'s library cannot be opened: {}", runtime.name,
         reason == nullptr ? path : reason);
  }
  return {std::move(path), std::move(folder), handle};
}

}  // namespace

std::string environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? "" : value;
}

RuntimeLibrary open_runtime(const RuntimeName& runtime) {
  if (!opens_libraries()) {
    fail(ErrorCode::unsupported,
         "{} cannot be opened by a static cairn: that needs the one of several files (docs/arm64.md)",
         runtime.name);
  }
  if (const std::string chosen = environment(runtime.variable); !chosen.empty()) {
    const std::string path = library_in(runtime, chosen);
    if (path.empty()) {
      fail(ErrorCode::not_found, "no {} library ({}) in {}, which {} names", runtime.name, runtime.file,
           chosen, runtime.variable);
    }
    return open_file(runtime, path,
                     fs::is_directory(chosen) ? chosen : fs::path(path).parent_path().string());
  }
  const std::string folder = cache_folder(runtime.cache);
  if (const std::string path = library_in(runtime, folder); !path.empty())
    return open_file(runtime, path, folder);
  if (void* handle = dlopen(runtime.file, RTLD_NOW | RTLD_LOCAL)) return {runtime.file, "", handle};
  fail(ErrorCode::not_found, "{} is not installed: run {}, or set {} to its folder", runtime.name,
       runtime.installed_by, runtime.variable);
}

std::string one_line(std::string_view message) {
  std::string line;
  while (!message.empty()) {
    const size_t end = std::min(message.find('\n'), message.size());
    std::string_view part = message.substr(0, end);
    message.remove_prefix(std::min(end + 1, message.size()));
    while (!part.empty() && (part.front() == ' ' || part.front() == '\t')) part.remove_prefix(1);
    if (part.empty() || part.starts_with("Exception from ")) continue;
    if (!line.empty()) line += ' ';
    line += part;
  }
  if (line.size() > kLongestMessage) line.replace(kLongestMessage, std::string::npos, "…");
  return line.empty() ? "no reason given" : line;
}

}  // namespace cairn::offload
