#include "resident/governor.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.hpp"
#include "resident/account.hpp"

namespace cairn::resident {
namespace {

constexpr auto kInterval = std::chrono::milliseconds(25);
constexpr double kCalmSeconds = 3;
constexpr double kStalledShare = 0.1;  // of the time: more is pressure
constexpr uint64_t kLeastReserve = 24 << 20;
constexpr uint64_t kLeastRise = 4 << 20;

uint64_t plus(uint64_t a, uint64_t b) {
  return a > kUnlimited - b ? kUnlimited : a + b;
}

}  // namespace

uint64_t Policy::next(const MemoryState& state, uint64_t resident, double now) {
  // A twentieth of what there is to share, but enough for what others take between two looks.
  const uint64_t reserve = std::max(kLeastReserve, plus(resident, state.available) / 20);
  const double seconds = now - before_;
  const bool first = budget_ == 0;
  const bool stalling = !first && seconds > 0 && state.stalled > stalled_ &&
                        static_cast<double>(state.stalled - stalled_) > kStalledShare * 1e6 * seconds;
  stalled_ = state.stalled;
  before_ = now;
  if (first) {
    calm_since_ = now;
    const bool told = state.available != kUnlimited;
    const uint64_t room = state.available - (told ? std::min(state.available, reserve) : 0);
    budget_ = std::max<uint64_t>(1, plus(resident, room));
    return budget_;
  }
  const uint64_t missing = reserve - std::min(reserve, state.available);
  if (missing > 0 || stalling) {
    calm_since_ = now;
    const uint64_t give = std::max(missing, stalling ? resident / 20 : 0);
    // No lower than what is asked for of the memory that is held now; a fall under way is not asked for
    // twice.
    budget_ = std::max<uint64_t>(1, std::min(budget_, resident - std::min(resident, give)));
  } else if (state.available < 2 * reserve) {
    calm_since_ = now;
  } else if (now - calm_since_ >= kCalmSeconds) {
    const uint64_t rise = (state.available - reserve) / 2;
    if (rise >= kLeastRise) {
      budget_ = std::max(budget_, plus(resident, rise));
      calm_since_ = now;
    }
  }
  return budget_;
}

Governor::Governor(MemoryPressure pressure, std::function<void(uint64_t)> set_budget)
    : pressure_(std::move(pressure)), set_budget_(std::move(set_budget)) {
  set_budget_(policy_.next(pressure_.read(), resident_memory(), 0));
  thread_ = std::thread([this] { work(); });
}

Governor::~Governor() {
  {
    const std::lock_guard lock(mutex_);
    leaving_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Governor::work() {
  const Stopwatch clock;
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kInterval, [this] { return leaving_; })) {
    const uint64_t before = policy_.budget();
    const uint64_t budget = policy_.next(pressure_.read(), resident_memory(), clock.seconds());
    if (budget != before) set_budget_(budget);
  }
}

}  // namespace cairn::resident
