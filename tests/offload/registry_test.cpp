#include "offload/registry.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/expect_error.hpp"
#include "offload/simulated/phone.hpp"

namespace cairn::offload {
namespace {

AcceleratorTraits named(const std::string& name) {
  AcceleratorTraits traits;
  traits.name = name;
  return traits;
}

using testing::expect_error;

TEST(Registry, TraitsTellDevicesApart) {
  const AcceleratorTraits cpu = accelerator_traits("cpu");
  EXPECT_EQ(cpu.layout, ActivationLayout::tiles);
  EXPECT_FALSE(cpu.shares_processors);  // its threads are cairn's
  EXPECT_EQ(cpu.phone, nullptr);

  // Without OpenVINO too.
  const AcceleratorTraits openvino = accelerator_traits("openvino:CPU"),
                          npu = accelerator_traits("openvino:NPU");
  EXPECT_EQ(openvino.name, "openvino:CPU");
  EXPECT_EQ(openvino.layout, ActivationLayout::rows);
  EXPECT_TRUE(openvino.shares_processors);
  EXPECT_FALSE(npu.shares_processors);
  EXPECT_FALSE(accelerator_traits("openvino:GPU.1").shares_processors);

  const AcceleratorTraits phone = accelerator_traits("simulated");
  ASSERT_NE(phone.phone, nullptr);
  EXPECT_EQ(phone.name, "simulated:snapdragon-8gen3");
  EXPECT_EQ(phone.layout, cpu.layout);
  EXPECT_EQ(accelerator_traits("simulated:snapdragon-8gen3").phone, phone.phone);
  EXPECT_EQ(make_accelerator("simulated", {})->traits().phone, phone.phone);
}

TEST(Registry, WrongNamesAreToldWithThoseThatThereAre) {
  const auto expect = [](const char* name, const char* line) {
    expect_error(ErrorCode::invalid_argument, line, [&] { accelerator_traits(name); });
    expect_error(ErrorCode::invalid_argument, line, [&] { make_accelerator(name, {}); });
  };
  expect("", "no device is called '': there are cpu, simulated, openvino:CPU, openvino:GPU, openvino:NPU");
  expect("tpu", "no device is called 'tpu'");
  expect("cpus", "no device is called 'cpus'");
  expect("cpu:1", "no device is called 'cpu:1': cpu is one");
  expect("openvino", "openvino: OpenVINO's devices are CPU, GPU, NPU");
  expect("openvino:TPU", "openvino:TPU: OpenVINO's devices are CPU, GPU, NPU");
  expect("simulated:nokia",
         "no simulated device 'nokia'; there are snapdragon-8gen3 (redmi-k70-pro, xiaomi-14), "
         "snapdragon-8gen2 (redmi-k60-pro)");
}

TEST(Registry, OthersCanBeAdded) {
  AcceleratorKind kind{
      .name = "added",
      .names = {"added:ONE"},
      .list =
          [] {
            return std::vector<AcceleratorInfo>{{"added:ONE", false, "not plugged in"}};
          },
      .traits = named,
      .make = [](const std::string&,
                 const AcceleratorOptions& options) { return make_accelerator("cpu", options); }};
  add_accelerators(kind);
  EXPECT_EQ(accelerator_traits("added:ONE").name, "ONE");
  EXPECT_EQ(make_accelerator("added:ONE", {})->traits().name, "cpu");
  const std::vector<AcceleratorInfo> all = list_accelerators();
  ASSERT_EQ(std::ranges::count(all, "added:ONE", &AcceleratorInfo::name), 1);
  kind.traits = [](const std::string&) { return named("two"); };
  add_accelerators(kind);  // in its place
  EXPECT_EQ(accelerator_traits("added:ONE").name, "two");
  EXPECT_EQ(list_accelerators().size(), all.size());
}

}  // namespace
}  // namespace cairn::offload
