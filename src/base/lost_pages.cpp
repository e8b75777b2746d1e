#include "base/lost_pages.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "base/system_pages.hpp"

namespace cairn {

// What the handler reads, in whatever state the program is: a list that only grows, of places that are used
// again.
struct Watched {
  std::atomic<uintptr_t> begin{0}, end{0};  // both 0: nobody's
  std::atomic<int> tolerant{0};
  std::atomic<bool> lost{false};
  std::atomic<const char*> path{nullptr};
  Watched* next = nullptr;
};

namespace {

std::atomic<Watched*> first{nullptr};
static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<Watched*>::is_always_lock_free,
              "a signal handler reads them");
std::mutex places;  // whoever changes the list
uintptr_t page = 0;
struct sigaction before = {};

// Async-signal-safe, as is all that it calls (mmap is a system call).
void tell(const char* path) {
  constexpr char kEnd[] = ": was cut while in use, or cannot be read any more\n";
  for (const char* part : {"cairn: ", path, static_cast<const char*>(kEnd)}) {
    if (write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  }
}

void pass_on(int signal, siginfo_t* info, void* context) {
  if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, context);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
  sigaction(SIGBUS, &before, nullptr);  // the instruction runs again and ends the program
}

void on_lost_page(int signal, siginfo_t* info, void* context) {
  const int reason = errno;
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  Watched* w = first.load();
  while (w != nullptr && (at < w->begin.load() || at >= w->end.load())) w = w->next;
  if (w == nullptr) return pass_on(signal, info, context);
  if (w->tolerant.load() == 0) {
    if (before.sa_handler != SIG_DFL) return pass_on(signal, info, context);
    tell(w->path.load());
    _exit(1);
  }
  w->lost.store(true);
  const uintptr_t from = page_down(at, page);  // all behind it is as good as gone
  void* const zeros = mmap(reinterpret_cast<void*>(from), w->end.load() - from, PROT_READ,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  if (zeros == MAP_FAILED) return pass_on(signal, info, context);
  errno = reason;
}

void install() {
  page = system_page_bytes();
  struct sigaction action = {};
  action.sa_sigaction = on_lost_page;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &before);
}

}  // namespace

LostPages::LostPages(const void* begin, size_t bytes, const std::string& path) {
  const std::lock_guard lock(places);
  if (page == 0) install();
  Watched* w = first.load();
  while (w != nullptr && w->end.load() != 0) w = w->next;
  if (w == nullptr) {
    w = new Watched;
    w->next = first.load();
    first.store(w);
  }
  w->path.store(strdup(path.c_str()));
  w->lost.store(false);
  w->tolerant.store(0);
  w->begin.store(reinterpret_cast<uintptr_t>(begin));
  w->end.store(reinterpret_cast<uintptr_t>(begin) + bytes);
  watched_ = w;
}

LostPages::~LostPages() {
  const std::lock_guard lock(places);
  watched_->end.store(0);
  watched_->begin.store(0);
  free(const_cast<char*>(watched_->path.exchange(nullptr)));
}

void LostPages::tolerate(bool on) const noexcept {
  watched_->tolerant.fetch_add(on ? 1 : -1);
}

bool LostPages::lost() const noexcept {
  return watched_->lost.load();
}

}  // namespace cairn
