// Finding a vendor's run time where users keep it: what it is made of is opened, never linked.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace cairn::offload {

struct RuntimeName {
  const char* name;                         // "OpenVINO"
  const char* file;                         // how its file's name begins: "libopenvino_c.so"
  std::span<const char* const> subfolders;  // where in a folder it may lie, "" among them
  const char* variable;                     // of the environment, naming a folder or the file
  const char* cache;                        // the folder of cairn's cache that `installed_by` fills
  const char* installed_by;                 // "./quickstart.sh --openvino"
};

struct RuntimeLibrary {
  std::string path;
  std::string folder;  // that was searched, where one was; empty: the system's
  void* handle;        // of dlopen()
};

// In this order: what the variable names, the cache's folder, where the system keeps libraries.
// Error not_found: says how to install it, or why it cannot be opened.
RuntimeLibrary open_runtime(const RuntimeName& runtime);

// Empty where it is not set.
std::string environment(const char* variable);

// One line of a many-line message: without the places in the vendor's sources, and not endless.
std::string one_line(std::string_view message);

}  // namespace cairn::offload
