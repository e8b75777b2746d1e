#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quantize/calibration.hpp"
#include "quantize/collector.hpp"

namespace cairn::measure {

enum class CalibrateStage : uint8_t { ranges, outliers, costs, whole, times };

// Where a calibration stands.
struct CalibrateState {
  CalibrateStage stage = CalibrateStage::ranges;
  uint64_t done = 0;  // steps of the stage
  uint64_t seen = 0;  // inputs of the step under way that its collector has seen
  quantize::Calibration calibration;
};

// key: of everything that the result depends on. The collector is the one that the stage uses.
void write_checkpoint(const std::string& path, const std::string& key, CalibrateState& state,
                      quantize::RangeCollector* ranges, quantize::OutlierCollector* outliers);

// A checkpoint opened; its collector's state is read once the collector exists.
class Checkpoint {
 public:
  // Absent: no such file, or not one of this key, or damaged.
  static std::optional<Checkpoint> open(const std::string& path, const std::string& key);
  // Fills `state`, whose calibration has its layers already. False: sizes disagree, start over.
  bool restore(CalibrateState& state);
  bool restore(quantize::RangeCollector& collector);
  bool restore(quantize::OutlierCollector& collector);

 private:
  std::string content_;
  size_t next_ = 0;
};

}  // namespace cairn::measure
