#include "offload/calibrated_seconds.hpp"

#include <gtest/gtest.h>

namespace cairn::offload {
namespace {

TEST(CalibratedSeconds, AreThoseMeasuredAndGoOnAlongALine) {
  quantize::Calibration c;
  c.times.push_back({"cpu", 256, 3, 2, {"attention", name(TaskKind::ffn_down)}, {1, 2, 5, 7, 7, 7}});
  c.times.push_back({"openvino:NPU", 256, 1, 2, {"qkv"}, {9}});
  const auto cpu = calibrated_seconds(c, "cpu");
  ASSERT_NE(cpu, nullptr);
  EXPECT_EQ(cpu->seconds(1, 4, TaskKind::attention), 2);
  EXPECT_EQ(cpu->seconds(2, 0, TaskKind::ffn_down), 7);
  EXPECT_EQ(cpu->seconds(4, 0, TaskKind::attention), 9);  // 5 + 2 · (5 − 1) / 2
  EXPECT_EQ(cpu->seconds(9, 0, TaskKind::ffn_down), 7);
  EXPECT_EQ(cpu->seconds(0, 0, TaskKind::qkv), 0);
  EXPECT_EQ(calibrated_seconds(c, "openvino:NPU")->seconds(5, 0, TaskKind::qkv), 9);
  EXPECT_EQ(calibrated_seconds(c, "simulated"), nullptr);
}

}  // namespace
}  // namespace cairn::offload
