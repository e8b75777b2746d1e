#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace cairn::stack {

// Finished pieces of a long work in a file beside its result, so that the work goes on where it ended:
// records, each with its checksum. What a crash left half written is cut off.
class Spool {
 public:
  // Opens or makes the file. One with another key (of everything that the result depends on) begins anew; one
  // that is no spool is refused. Errors: io, naming the path and the reason.
  Spool(std::string path, const std::string& key);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  size_t size() const { return records_.size(); }
  uint64_t bytes(size_t record) const { return records_[record].bytes; }
  void append(std::span<const std::byte> record);
  // Bytes [offset, offset + out.size()) of a record.
  void read(size_t record, uint64_t offset, std::span<std::byte> out) const;
  // Removes the file: the work is done.
  void remove();

 private:
  explicit Spool(std::string path);  // opened and locked, not read yet
  struct Record {
    uint64_t offset, bytes;
  };
  void scan(uint64_t begin);
  void write_at(uint64_t offset, std::span<const std::byte> bytes);
  [[noreturn]] void fail_with_errno(const char* what) const;

  std::string path_;
  int descriptor_ = -1;
  uint64_t end_ = 0;
  std::vector<Record> records_;
};

}  // namespace cairn::stack
