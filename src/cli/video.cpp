// `cairn video`: opens libcairn_video.so, which holds its subcommands, and hands it the arguments.
#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "cli/commands.hpp"
#include "cli/video/entry.hpp"

namespace cairn::cli {
namespace {

namespace fs = std::filesystem;
constexpr const char* kLibrary = "libcairn_video.so";

// CAIRN_LIB, the program's folder, and lib/cairn beside its folder, in this order.
VideoEntry open_library() {
  std::vector<fs::path> folders;
  if (const char* chosen = std::getenv("CAIRN_LIB"); chosen != nullptr && *chosen != '\0')
    folders.emplace_back(chosen);
  std::error_code ignored;
  if (const fs::path program = fs::read_symlink("/proc/self/exe", ignored); !program.empty()) {
    folders.push_back(program.parent_path());
    folders.push_back(program.parent_path().parent_path() / "lib" / "cairn");
  }
  for (const fs::path& folder : folders) {
    const fs::path path = folder / kLibrary;
    if (!fs::exists(path, ignored)) continue;
    void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* reason = dlerror();
      fail(ErrorCode::not_found, "the video library cannot be opened: {}",
           reason == nullptr ? path.c_str() : reason);
    }
    const auto entry = reinterpret_cast<VideoEntry>(dlsym(handle, kVideoEntryName));
    if (entry == nullptr) {
      fail(ErrorCode::unsupported, "{}: no function {}: not of this version of cairn", path.string(),
           kVideoEntryName);
    }
    return entry;
  }
  fail(ErrorCode::not_found,
       "{} is not there: cairn was built without video (it needs libavformat-dev, libavcodec-dev and "
       "libswscale-dev), or CAIRN_LIB should name its folder",
       kLibrary);
}

}  // namespace

int run_video(int argc, char** argv) {
  std::array<char, 4096> message{};
  const int status = open_library()(argc, argv, message.data(), message.size());
  if (status == 0) return 0;
  if (status == kVideoUsage) fail(ErrorCode::invalid_argument, "{}", message.data());
  if (status < 0) fail(ErrorCode::io, "{}", message.data());
  throw Error(static_cast<ErrorCode>(status), message.data());
}

void add_video(CLI::App& program) {
  // Named here for the list of commands alone: main() passes its arguments on unparsed.
  program.add_subcommand("video", "Send video small and restore it where it is watched");
}

}  // namespace cairn::cli
