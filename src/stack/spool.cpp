#include "stack/spool.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "base/unfinished_file.hpp"

namespace cairn::stack {
namespace {

constexpr std::string_view kMagic = "cairn stack, unfinished\n";
constexpr size_t kHeadBytes = 16;  // a record's length and checksum

}  // namespace

Spool::Spool(std::string path)
    : path_(std::move(path)), descriptor_(open_locked(path_, O_RDWR, "another process is at work on it")) {}

// By delegation, so that the destructor closes the file when this throws.
Spool::Spool(std::string path, const std::string& key) : Spool(std::move(path)) {
  const std::string head = std::string(kMagic) + key + "\n";
  std::string found(head.size(), '\0');
  const ssize_t got = pread(descriptor_, found.data(), found.size(), 0);
  end_ = head.size();
  if (got == static_cast<ssize_t>(head.size()) && found == head) {
    scan(end_);
  } else {
    found.resize(got > 0 ? static_cast<size_t>(got) : 0);
    if (std::string_view(found).substr(0, kMagic.size()) != kMagic.substr(0, found.size()))
      fail(ErrorCode::io, "{}: is no unfinished stack, and is left alone; move it away", path_);
    if (ftruncate(descriptor_, 0) != 0) fail_with_errno("cannot write");
    write_at(0, std::as_bytes(std::span(head)));
  }
}

Spool::~Spool() {
  if (descriptor_ >= 0) close(descriptor_);
}

void Spool::scan(uint64_t begin) {
  struct stat status = {};
  if (fstat(descriptor_, &status) != 0) fail_with_errno("cannot stat");
  const auto size = static_cast<uint64_t>(status.st_size);
  end_ = begin;
  std::vector<std::byte> record;
  while (size - end_ >= kHeadBytes) {
    std::array<uint64_t, 2> head{};
    if (pread(descriptor_, head.data(), kHeadBytes, static_cast<off_t>(end_)) != kHeadBytes) break;
    if (head[0] > size - end_ - kHeadBytes) break;
    record.resize(head[0]);
    records_.push_back({end_ + kHeadBytes, head[0]});
    read(records_.size() - 1, 0, record);
    if (XXH3_64bits(record.data(), record.size()) != head[1]) {
      records_.pop_back();
      break;
    }
    end_ += kHeadBytes + head[0];
  }
  if (ftruncate(descriptor_, static_cast<off_t>(end_)) != 0) fail_with_errno("cannot write");
}

void Spool::append(std::span<const std::byte> record) {
  const std::array<uint64_t, 2> head = {record.size(), XXH3_64bits(record.data(), record.size())};
  write_at(end_, std::as_bytes(std::span(head)));
  write_at(end_ + kHeadBytes, record);
  records_.push_back({end_ + kHeadBytes, record.size()});
  end_ += kHeadBytes + record.size();
}

void Spool::read(size_t record, uint64_t offset, std::span<std::byte> out) const {
  const Record& r = records_[record];
  if (offset > r.bytes || out.size() > r.bytes - offset)
    fail(ErrorCode::format, "{}: record {} is shorter than expected", path_, record);
  for (size_t done = 0; done < out.size();) {
    const ssize_t got = pread(descriptor_, out.data() + done, out.size() - done,
                              static_cast<off_t>(r.offset + offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_with_errno("cannot read");
    if (got == 0)
      fail(ErrorCode::io, "{}: ends at byte {} while it is read", path_, r.offset + offset + done);
    done += static_cast<size_t>(got);
  }
}

void Spool::write_at(uint64_t offset, std::span<const std::byte> bytes) {
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t written =
        pwrite(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno("cannot write");
    done += static_cast<size_t>(written);
  }
}

void Spool::remove() {
  unlink(path_.c_str());
}

void Spool::fail_with_errno(const char* what) const {
  fail(ErrorCode::io, "{} {}: {}", what, path_, std::strerror(errno));
}

}  // namespace cairn::stack
