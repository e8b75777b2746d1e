#include <gtest/gtest.h>

#include <string>

#include "base/cuda_plugin.hpp"
#include "base/error.hpp"

namespace cairn {
namespace {

// The library itself needs neither a driver nor a GPU to be opened and asked.
const CudaPlugin& plugin() {
  static const CudaPlugin& it = open_plugin<CudaPlugin>(CAIRN_CUDA_LIBRARY);
  return it;
}

TEST(CudaPlugin, SaysWhyThereIsNoGpu) {
  int32_t count = -1;
  char message[1024] = "";
  const int status = plugin().count(&count, message, sizeof(message));
  if (status == 0) {
    EXPECT_GT(count, 0);
    CudaDeviceInfo info{};
    EXPECT_EQ(plugin().describe(0, &info, message, sizeof(message)), 0) << message;
    EXPECT_GT(info.memory, 0);
    return;
  }
  EXPECT_EQ(status, static_cast<int>(ErrorCode::unsupported));
  EXPECT_EQ(count, 0);
  EXPECT_NE(std::string(message).find("NVIDIA driver"), std::string::npos) << message;
  void* device = nullptr;
  EXPECT_NE(plugin().open(0, &device, message, sizeof(message)), 0);
  EXPECT_NE(std::string(message), "");
}

TEST(CudaPlugin, MatricesTakeWhatTheFileDoes) {
  const auto bytes = [](uint32_t encoding, uint64_t rows, uint64_t k) {
    uint64_t it = 0;
    char message[256];
    EXPECT_EQ(plugin().matrix_bytes(encoding, rows, k, &it, message, sizeof(message)), 0) << message;
    return it;
  };
  EXPECT_EQ(bytes(2, 160, 1536), 160 * 1536 / 32 * 18);     // Q4_0
  EXPECT_EQ(bytes(8, 160, 1536), 160 * 1536 / 32 * 34);     // Q8_0
  EXPECT_EQ(bytes(14, 160, 1536), 160 * 1536 / 256 * 210);  // Q6_K
  EXPECT_EQ(bytes(30, 160, 1536), 160 * 1536 * 2);          // bf16
  EXPECT_EQ(bytes(12, 160, 1536), 160 * 1536 / 256 * 148);  // Q4_K: scales of a byte
  EXPECT_EQ(bytes(21, 7, 512), 7 * 2 * 110);                // IQ3_S, as it is
  uint64_t none = 0;
  char message[256] = "";
  EXPECT_EQ(plugin().matrix_bytes(12, 16, 100, &none, message, sizeof(message)),
            static_cast<int>(ErrorCode::unsupported));
  EXPECT_NE(std::string(message).find("100"), std::string::npos) << message;
}

}  // namespace
}  // namespace cairn
