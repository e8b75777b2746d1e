#pragma once

#include <cstddef>
#include <string>

namespace cairn {

// Pages of a mapped file that are gone when they are touched, because somebody cut the file or its disk
// fails. The system answers with SIGBUS, in whatever thread it was. While somebody tolerates it (and asks
// lost() before using what was computed), such pages read as zeros from then on; otherwise the program ends
// with a line that names the file and status 1, unless it had a handler of its own for SIGBUS, which is
// called then.
class LostPages {
 public:
  // Watches [begin, begin + bytes), which must stay mapped as long as this lives.
  LostPages(const void* begin, size_t bytes, const std::string& path);
  ~LostPages();
  LostPages(const LostPages&) = delete;
  LostPages& operator=(const LostPages&) = delete;

  void tolerate(bool on) const noexcept;  // counted: as many times off as on
  bool lost() const noexcept;             // whether any page was; stays so

 private:
  struct Watched* watched_;
};

}  // namespace cairn
