// The set's two threads: one reads ahead, the other gives memory back.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/error.hpp"
#include "resident/set.hpp"

namespace cairn::resident {
namespace {

constexpr uint64_t kHugePage = 2 << 20;
// Read at once: large enough for a disk's rate, small enough to stop within a token when the limit falls.
// While tokens are computed, a little at a time with pauses, 64 MB a second: nobody notices the processor
// that it takes.
constexpr uint64_t kReadBytes = 512 << 10, kReadBytesInPass = 128 << 10;
constexpr auto kPauseInPass = std::chrono::milliseconds(2);
constexpr auto kLook = std::chrono::milliseconds(500);  // at a file that is not whole

}  // namespace

void Set::read_ahead() {
  // Tokens come first: on a busy machine reading ahead takes what they leave.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), 10);
  std::unique_lock lock(state_);
  while (true) {
    const auto something_to_do = [this] { return leaving_ || (read_ < target_ && !failed_ && !releasing_); };
    while (present_bytes_ < layout_.file_bytes && !changed_.wait_for(lock, kLook, something_to_do))
      look_at_file();
    changed_.wait(lock, something_to_do);
    if (leaving_) return;
    const size_t first = read_, end = target_;
    reading_ = first;
    lock.unlock();
    advise(pages(bytes_of(end)));
    Chunk chunk = read(first, end);
    lock.lock();
    reading_.reset();
    if (read_ == first) {
      take_over(std::move(chunk));
      pending_.store(true);
    } else {  // the limit fell meanwhile, and what comes before this was given back
      const uint64_t from = std::max(page_of(bytes_of(first)), pages(bytes_of(read_)));
      if (const int reason = drop(from, chunk.end); reason != 0) {
        held_ = std::max(held_.load(), chunk.end);
        note_refusal(reason);
      }
    }
    changed_.notify_all();
    if (in_pass_.load(std::memory_order_relaxed) && read_ < target_)
      changed_.wait_for(lock, kPauseInPass, [this] { return leaving_; });
  }
}

// What lies behind the target, once nobody uses it. At the usual priority: a limit that has fallen is not to
// wait for a processor that is idle.
void Set::give_back() {
  std::unique_lock lock(state_);
  while (true) {
    changed_.wait(lock, [this] { return leaving_ || (read_ > target_ && published_ <= target_); });
    if (leaving_) return;
    std::fill(states_.begin() + static_cast<ptrdiff_t>(target_),
              states_.begin() + static_cast<ptrdiff_t>(read_), State::absent);
    read_ = target_;
    const uint64_t end = pages(bytes_of(target_)), held = held_;
    // What is being read right now the reader gives back itself.
    const uint64_t last = reading_ ? std::min(held, page_of(bytes_of(*reading_))) : held;
    releasing_ = true;  // the reader waits: nobody writes there
    lock.unlock();
    const int reason = drop(end, last);
    lock.lock();
    releasing_ = false;
    refused_ = false;
    if (reason == 0) {
      held_ = std::min(held_.load(), end);  // not before: others count on it
    } else {
      note_refusal(reason);
    }
    changed_.notify_all();
  }
}

// Huge pages where all of one will be filled: decode reads through fewer translations, and the memory held is
// still what was asked for.
void Set::advise(uint64_t end) {
  const auto begin = reinterpret_cast<uintptr_t>(arena_);
  const uintptr_t whole = (begin + end) / kHugePage * kHugePage;
  if (whole <= begin || end == advised_) return;
  advised_ = end;
  // Advice: where the system has no huge pages it is refused, and decode is a little slower.
  madvise(arena_, whole - begin, MADV_HUGEPAGE);
  if (whole - begin < arena_bytes_)
    madvise(arena_ + (whole - begin), arena_bytes_ - (whole - begin), MADV_NOHUGEPAGE);
}

// Blocks [first, …) that are next to each other, at most up to `end`.
Set::Chunk Set::read(size_t first, size_t end) {
  Chunk chunk;
  chunk.first = first;
  chunk.last = first + 1;
  const uint64_t begin = layout_.blocks[first].offset;
  const auto end_of = [this](size_t block) {
    return layout_.blocks[block].offset + layout_.blocks[block].bytes;
  };
  const uint64_t most = in_pass_.load(std::memory_order_relaxed) ? kReadBytesInPass : kReadBytes;
  while (chunk.last < end && end_of(chunk.last) - begin <= most) ++chunk.last;
  const uint64_t wanted = end_of(chunk.last - 1) - begin;
  uint64_t got = 0;
  while (got < wanted) {
    const ssize_t n = pread(file_, at(first) + got, wanted - got, static_cast<off_t>(begin + got));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      chunk.reason = n == 0 ? std::string("the file ends there now") : std::strerror(errno);
      break;
    }
    got += static_cast<uint64_t>(n);
  }
  bytes_read_ += got;
  // Where memory is short, a second copy in the system's cache only drives out what others need. Advice.
  if (limited_) posix_fadvise(file_, static_cast<off_t>(begin), static_cast<off_t>(got), POSIX_FADV_DONTNEED);
  chunk.at = begin + got;
  chunk.end = pages(chunk.at - layout_.blocks_begin);
  for (chunk.whole = first; chunk.whole < chunk.last && end_of(chunk.whole) <= chunk.at; ++chunk.whole) {
    const stack::Block& block = layout_.blocks[chunk.whole];
    if (XXH3_64bits(at(chunk.whole), block.bytes) != block.checksum) chunk.bad.push_back(chunk.whole);
  }
  return chunk;
}

int Set::drop(uint64_t begin, uint64_t end) const {
  if (begin >= end || madvise(arena_ + begin, end - begin, MADV_DONTNEED) == 0) return 0;
  return errno;
}

void Set::note_refusal(int reason) {
  refused_ = true;
  const std::string line =
      fmt::format("{}: the system does not take memory back: {}", path_, std::strerror(reason));
  if (std::find(problems_.begin(), problems_.end(), line) == problems_.end()) problems_.push_back(line);
}

void Set::take_over(Chunk chunk) {
  read_ = chunk.whole;
  const uint64_t whole = pages(bytes_of(chunk.whole));  // what came of a block that is not whole is no use
  const int reason = drop(whole, chunk.end);
  held_ = std::max(held_.load(), reason == 0 ? whole : chunk.end);
  if (reason != 0) note_refusal(reason);
  for (size_t i = chunk.first; i < chunk.whole; ++i) states_[i] = State::good;
  for (const size_t i : chunk.bad) {
    states_[i] = State::bad;
    const std::string line = fmt::format(
        "{}: {}: its checksum is wrong: it and the levels above it are left out", path_, name_of(i));
    if (std::find(problems_.begin(), problems_.end(), line) == problems_.end()) problems_.push_back(line);
  }
  if (chunk.whole < chunk.last) {
    failed_ = true;
    problems_.push_back(
        fmt::format("{}: {}: cannot read byte {}: {}", path_, name_of(chunk.whole), chunk.at, chunk.reason));
  }
}

}  // namespace cairn::resident
