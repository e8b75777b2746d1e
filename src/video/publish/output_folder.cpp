#include "video/publish/output_folder.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.hpp"
#include "base/unfinished_file.hpp"

namespace cairn::video {
namespace {

namespace fs = std::filesystem;
constexpr const char* kScratch = ".work";

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path;
}

void remove(const std::string& folder) {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

}  // namespace

OutputFolder::OutputFolder(const std::string& path, const std::string& mark, bool replace)
    : path_(path), target_(without_slash(path)) {
  if (target_.empty()) fail(ErrorCode::invalid_argument, "-o: the folder has no name");
  std::error_code error;
  if (fs::exists(target_, error)) {
    if (!fs::is_directory(target_, error)) fail(ErrorCode::invalid_argument, "{}: it is no folder", path_);
    target_ = fs::canonical(target_).string();
    if (!fs::is_empty(target_, error)) {
      if (!fs::exists(fs::path(target_) / mark, error)) {
        fail(ErrorCode::invalid_argument, "{}: a folder that holds other things (no {}): give a new one", path_,
             mark);
      }
      if (!replace) fail(ErrorCode::invalid_argument, "{}: is there already (--force replaces it)", path_);
    }
  }
  const fs::path target(target_);
  std::string name =
      (target.parent_path() / fmt::format(".{}.cairn-XXXXXX", target.filename().string())).string();
  if (mkdtemp(name.data()) == nullptr || chmod(name.c_str(), 0755) != 0)
    fail(ErrorCode::io, "{}: cannot be written: {}", path_, std::strerror(errno));
  part_ = name;
  forced_.emplace([this] { remove(part_); });
}

OutputFolder::~OutputFolder() {
  if (!part_.empty()) remove(part_);
}

void OutputFolder::write(const std::string& name, std::span<const std::byte> bytes) {
  const fs::path to = fs::path(part_) / name;
  const auto refuse = [&](int reason) {
    fail(ErrorCode::io, "{}/{}: cannot be written: {}", without_slash(path_), name, std::strerror(reason));
  };
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (error) refuse(error.value());
  const int file = open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) refuse(errno);
  int reason = 0;
  for (size_t done = 0; done < bytes.size() && reason == 0;) {
    const ssize_t written = ::write(file, bytes.data() + done, bytes.size() - done);
    if (written > 0) done += static_cast<size_t>(written);
    if (written < 0 && errno != EINTR) reason = errno;
  }
  if (close(file) != 0 && reason == 0) reason = errno;  // some file systems tell of a full disk here
  if (reason != 0) refuse(reason);
  bytes_ += bytes.size();
}

std::string OutputFolder::scratch(const std::string& name) const {
  std::error_code ignored;
  fs::create_directories(fs::path(part_) / kScratch, ignored);
  return (fs::path(part_) / kScratch / name).string();
}

void OutputFolder::keep() {
  remove((fs::path(part_) / kScratch).string());
  std::error_code error;
  std::string old;
  if (fs::exists(target_, error)) {
    old = part_ + ".old";
    fs::rename(target_, old, error);
    if (error) fail(ErrorCode::io, "{}: cannot be replaced: {}", path_, error.message());
  }
  fs::rename(part_, target_, error);
  if (error) {
    std::error_code ignored;
    if (!old.empty()) fs::rename(old, target_, ignored);
    fail(ErrorCode::io, "{}: cannot be written: {}", path_, error.message());
  }
  part_.clear();
  if (!old.empty()) remove(old);
  sync_folder_of(target_);
}

}  // namespace cairn::video
