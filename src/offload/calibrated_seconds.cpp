#include "offload/calibrated_seconds.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace cairn::offload {
namespace {

constexpr size_t kKinds = static_cast<size_t>(TaskKind::count);

class Calibrated final : public TaskSeconds {
 public:
  explicit Calibrated(const quantize::DeviceTimes& times) {
    for (size_t kind = 0; kind < kKinds; ++kind) {
      const auto at = std::find(times.kinds.begin(), times.kinds.end(), name(static_cast<TaskKind>(kind)));
      if (at == times.kinds.end()) continue;
      const auto begin = times.seconds.begin() + (at - times.kinds.begin()) * times.chunks;
      seconds_[kind].assign(begin, begin + times.chunks);
    }
  }

  double seconds(uint32_t chunk, uint32_t, TaskKind kind) const override {
    const std::vector<double>& measured = seconds_[static_cast<size_t>(kind)];
    if (measured.empty()) return 0;
    if (chunk < measured.size()) return measured[chunk];
    if (measured.size() == 1) return measured[0];
    const auto last = static_cast<double>(measured.size() - 1);
    const double slope = (measured.back() - measured.front()) / last;
    return std::max(measured.back() + slope * (static_cast<double>(chunk) - last), 0.0);
  }

 private:
  std::array<std::vector<double>, kKinds> seconds_;
};

}  // namespace

std::shared_ptr<const TaskSeconds> calibrated_seconds(const quantize::Calibration& calibration,
                                                      std::string_view device) {
  for (const quantize::DeviceTimes& times : calibration.times) {
    if (times.device == device && times.chunks > 0) return std::make_shared<Calibrated>(times);
  }
  return nullptr;
}

}  // namespace cairn::offload
