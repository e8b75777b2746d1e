#include "base/output_path.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"

namespace cairn {
namespace {

namespace fs = std::filesystem;

bool is_name(const std::string& path) {
  return !path.empty() && path != "-";
}

// Of a file that is not there yet: its folder is, or else it cannot be written.
bool same_place(const std::string& a, const std::string& b) {
  std::error_code ignored;
  return same_file(a, b) || fs::weakly_canonical(a, ignored) == fs::weakly_canonical(b, ignored);
}

void check_writable(const std::string& path) {
  const auto refuse = [&](int reason) {
    fail(ErrorCode::io, "cannot write {}: {}", path, std::strerror(reason));
  };
  struct stat status = {};
  const bool there = stat(path.c_str(), &status) == 0;
  if (there && access(path.c_str(), W_OK) != 0) refuse(errno);
  std::error_code ignored;
  const fs::path followed = there ? fs::canonical(path, ignored) : fs::path(path);  // a link leads elsewhere
  const std::string folder = followed.has_parent_path() ? followed.parent_path().string() : ".";
  if (stat(folder.c_str(), &status) != 0) refuse(errno);
  if (!S_ISDIR(status.st_mode)) refuse(ENOTDIR);
  if (access(folder.c_str(), W_OK | X_OK) != 0) refuse(errno);
}

}  // namespace

bool same_file(const std::string& a, const std::string& b) {
  struct stat first = {}, second = {};
  return stat(a.c_str(), &first) == 0 && stat(b.c_str(), &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

int named_descriptor(std::string_view path) {
  if (path == "/dev/stdout") return STDOUT_FILENO;
  if (path == "/dev/stderr") return STDERR_FILENO;
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!path.starts_with(folder)) continue;
    int number = -1;
    const auto [end, status] =
        std::from_chars(path.data() + folder.size(), path.data() + path.size(), number);
    if (status == std::errc() && end == path.data() + path.size()) return number;
  }
  return -1;
}

bool is_special(const std::string& path) {
  if (named_descriptor(path) >= 0) return true;
  struct stat status = {};
  return stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

bool would_replace(const std::string& path) {
  struct stat status = {};
  return named_descriptor(path) < 0 && stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

void check_output(const std::string& path, std::span<const std::string> inputs,
                  std::span<const std::string> other_outputs) {
  if (!is_name(path) || is_special(path)) return;
  for (const std::string& input : inputs) {
    if (is_name(input) && same_file(path, input))
      fail(ErrorCode::invalid_argument, "{}: is an input, {}: writing it would lose that", path, input);
  }
  for (const std::string& other : other_outputs) {
    if (is_name(other) && same_place(path, other))
      fail(ErrorCode::invalid_argument, "{}: is the name of two outputs", path);
  }
  check_writable(path);
}

}  // namespace cairn
