#pragma once

#include <memory>
#include <string_view>

#include "offload/tasks.hpp"
#include "quantize/calibration.hpp"

namespace cairn::offload {

// Expected seconds as a calibration measured them on a device; chunks beyond those measured go on along the
// line through the first and the last. 0 for subgraphs that it did not see. Null: the calibration has no
// times of that device.
std::shared_ptr<const TaskSeconds> calibrated_seconds(const quantize::Calibration& calibration,
                                                      std::string_view device);

}  // namespace cairn::offload
