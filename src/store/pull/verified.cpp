#include "store/pull/verified.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <fstream>

#include "base/atomic_file.hpp"

namespace cairn {
namespace {

// Size and time of change as text; empty when the file is not there.
std::string stamp(const std::string& path) {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) return "";
  return fmt::format("{} {}.{:09}", status.st_size, status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
}

}  // namespace

Verified verified(const std::string& path) {
  std::ifstream note(path + ".sha256");
  Verified what;
  std::string noted;
  std::getline(note, what.sha256);
  std::getline(note, noted);
  std::getline(note, what.source);
  if (noted.empty() || noted != stamp(path)) return {};
  return what;
}

void note_verified(const std::string& path, const Verified& what) {
  AtomicFile note(path + ".sha256");
  note.write(fmt::format("{}\n{}\n{}\n", what.sha256, stamp(path), what.source));
  note.commit();
}

}  // namespace cairn
