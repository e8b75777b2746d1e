#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/temporary_folder.hpp"
#include "session_program.hpp"

namespace cairn::cli {
namespace {

using ::testing::HasSubstr;
using testing::ScopedVariable;
using testing::TemporaryFolder;

// OpenVINO looked for where it is not: the engines that cairn itself has are there, its are not and why.
TEST(Devices, AreListedWithTheReasonOfThoseNotFound) {
  const TemporaryFolder empty;
  const ScopedVariable openvino("CAIRN_OPENVINO", empty.path().c_str()),
      onnx("CAIRN_ONNXRUNTIME", empty.path().c_str());
  Program as_json({"devices", "--json"});
  ASSERT_EQ(as_json.status(), 0) << as_json.err;
  const nlohmann::json json = nlohmann::json::parse(as_json.out);
  EXPECT_EQ(json["devices"][0]["name"], "cpu");
  std::vector<std::string> available, missing;
  for (const nlohmann::json& device : json["prefill_devices"]) {
    (device["available"] ? available : missing).push_back(device["name"]);
    const std::string detail = device["detail"];
    if (!device["available"]) {
      EXPECT_THAT(detail, HasSubstr(empty.path()));
    }
  }
  EXPECT_THAT(available, ::testing::ElementsAre("cpu", "simulated"));
  EXPECT_THAT(missing,
              ::testing::ElementsAre("openvino:CPU", "openvino:GPU", "openvino:NPU", "qnn", "onnx:CPU"));

  Program as_text({"devices"});
  ASSERT_EQ(as_text.status(), 0) << as_text.err;
  EXPECT_THAT(as_text.out, HasSubstr("openvino:NPU   not found: no OpenVINO library"));
}

}  // namespace
}  // namespace cairn::cli
