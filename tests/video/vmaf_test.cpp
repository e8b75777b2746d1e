#include "video/vmaf.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "video/random_network.hpp"

namespace cairn::video {
namespace {

class VmafLibrary : public testing::Test {
 protected:
  VmafLibrary() { setenv("CAIRN_VMAF", CAIRN_FAKE_VMAF, 1); }
  ~VmafLibrary() override { unsetenv("CAIRN_VMAF"); }
};

TEST_F(VmafLibrary, GetsEverySample) {
  for (const Format& format : {Format{61, 33, 8, Chroma::c420}, Format{40, 20, 10, Chroma::c444}}) {
    std::string why;
    const auto vmaf = Vmaf::open(format, 2, why);
    ASSERT_NE(vmaf, nullptr) << why;
    double difference = 0;
    for (uint32_t i = 0; i < 3; ++i) {
      const Frame a = random_frame(format, i), b = random_frame(format, i + 9);
      double sum = 0;
      for (size_t s = 0; s < a.planes[0].samples.size(); ++s)
        sum += std::abs(a.planes[0].samples[s] - b.planes[0].samples[s]);
      difference += sum / static_cast<double>(a.planes[0].samples.size());
      vmaf->add(a, b);
    }
    EXPECT_NEAR(vmaf->score(), 100 - difference / 3, 1e-9);
  }
}

TEST_F(VmafLibrary, SaysWhatIsMissing) {
  std::string why;
  EXPECT_EQ(Vmaf::open({8, 8, 8, Chroma::none}, 1, why), nullptr);
  EXPECT_EQ(why, "VMAF is not for grey video");
  setenv("CAIRN_VMAF", "/nowhere/libvmaf.so", 1);
  EXPECT_EQ(Vmaf::open({8, 8, 8, Chroma::c420}, 1, why), nullptr);
  EXPECT_EQ(why, "/nowhere/libvmaf.so cannot be opened");
  setenv("CAIRN_VMAF", "libm.so.6", 1);
  EXPECT_EQ(Vmaf::open({8, 8, 8, Chroma::c420}, 1, why), nullptr);
  EXPECT_EQ(why, "libvmaf has no vmaf_init");
}

}  // namespace
}  // namespace cairn::video
