#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "kernels/arm_targets.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"

namespace cairn::kernels {
namespace {

class Dispatch : public testing::Test {
 protected:
  Dispatch() {
    if (const char* value = std::getenv("CAIRN_TARGET")) before_ = value;
    unsetenv("CAIRN_TARGET");
  }
  ~Dispatch() override {
    if (before_.empty()) {
      unsetenv("CAIRN_TARGET");
    } else {
      setenv("CAIRN_TARGET", before_.c_str(), 1);
    }
  }

 private:
  std::string before_;
};

TEST_F(Dispatch, PortableIsAlwaysThereAndTheBestComesLast) {
  const auto targets = available_targets();
  ASSERT_FALSE(targets.empty());
  EXPECT_EQ(targets.front(), Target::portable);
  EXPECT_TRUE(std::is_sorted(targets.begin(), targets.end()));
  EXPECT_EQ(default_target(), targets.back());
}

TEST_F(Dispatch, EnvironmentForcesEachTarget) {
  for (const Target target : available_targets()) {
    setenv("CAIRN_TARGET", name(target), 1);
    EXPECT_EQ(default_target(), target);
  }
  setenv("CAIRN_TARGET", "", 1);
  EXPECT_EQ(default_target(), available_targets().back());
}

TEST_F(Dispatch, UnknownTargetIsNamedWithWhatThereIs) {
  setenv("CAIRN_TARGET", "altivec", 1);
  try {
    default_target();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr("altivec"), testing::HasSubstr("portable")));
  }
}

// Those of other machines, and of better ones of this kind.
TEST_F(Dispatch, TargetsThatAreNotHereAreRefused) {
  const auto here = available_targets();
  size_t refused = 0;
  for (size_t i = 0; i < static_cast<size_t>(Target::count); ++i) {
    const char* wanted = name(static_cast<Target>(i));
    if (std::ranges::find(here, static_cast<Target>(i)) != here.end()) continue;
    setenv("CAIRN_TARGET", wanted, 1);
    try {
      default_target();
      ADD_FAILURE() << wanted;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_THAT(error.what(), testing::AllOf(testing::HasSubstr('"' + std::string(wanted) + '"'),
                                               testing::HasSubstr(name(here.back()))));
    }
    ++refused;
  }
  EXPECT_GT(refused, 0U);
}

// What kernels of phones say, on whatever machine this runs. One that hides a feature hides it from cairn.
TEST(ArmTargets, AreWhatTheKernelShows) {
  using enum Target;
  constexpr unsigned long kAll = ~0ul;
  const auto matrix = kArmMatrixProducts | kArmBf16;
  EXPECT_EQ(arm_targets(kAll, kAll), (std::vector{portable, neon, neon_dotprod, neon_i8mm}));
  EXPECT_EQ(arm_targets(kArmAsimd, 0), (std::vector{portable, neon}));  // Cortex-A72
  EXPECT_EQ(arm_targets(kArmAsimd | kArmDotProducts, 0), (std::vector{portable, neon, neon_dotprod}));
  EXPECT_EQ(arm_targets(kArmAsimd | kArmDotProducts, kArmMatrixProducts).back(), neon_dotprod);
  EXPECT_EQ(arm_targets(kArmAsimd | kArmDotProducts, kArmBf16).back(), neon_dotprod);
  EXPECT_EQ(arm_targets(kAll & ~kArmDotProducts, kAll).back(), neon);
  EXPECT_EQ(arm_targets(0, matrix), std::vector{portable});
  EXPECT_THAT(arm_lacks(neon), testing::HasSubstr("no dot products (asimddp)"));
  EXPECT_THAT(arm_lacks(neon_dotprod), testing::HasSubstr("no matrix products (i8mm, bf16)"));
  EXPECT_STREQ(arm_lacks(neon_i8mm), "");
}

TEST_F(Dispatch, EveryTargetHasEveryEncoding) {
  for (const Target target : available_targets()) {
    for (const EncodingInfo& e : encodings()) {
      const EncodingKernels& kernels = kernel_set(target).encoding(e.encoding);
      EXPECT_NE(kernels.dequantize, nullptr) << e.name;
      EXPECT_NE(kernels.gemv, nullptr) << e.name;
      EXPECT_NE(kernels.prepared_bytes, nullptr) << e.name;
      EXPECT_NE(kernels.prepare, nullptr) << e.name;
    }
  }
}

TEST_F(Dispatch, NoKernelsForWhatIsNotOurs) {
  EXPECT_THROW(kernel_set(Target::portable).encoding(static_cast<Encoding>(9)), Error);
  EXPECT_THROW(kernel_set(Target::count).encoding(Encoding::f32), Error);
  EXPECT_STREQ(name(Target::count), "unknown");
}

#if defined(__linux__) && (defined(__aarch64__) || defined(__x86_64__))
// What the kernel says of the processor in /proc/cpuinfo, which it reads in its own way. Under QEMU that is
// the other machine's (test.sh leaves this out).
TEST_F(Dispatch, AgreesWithTheKernelsListOfFeatures) {
  std::ifstream in("/proc/cpuinfo");
  std::string features, line;
  while (features.empty() && std::getline(in, line)) {
    if (line.starts_with("Features") || line.starts_with("flags")) features = line;
  }
  ASSERT_FALSE(features.empty());
  std::istringstream words(features);
  const std::set<std::string> all(std::istream_iterator<std::string>(words), {});
  const auto has = [&](const char* feature) { return all.contains(feature); };
  const auto available = [](Target t) {
    return std::ranges::find(available_targets(), t) != available_targets().end();
  };
#if defined(__aarch64__)
  EXPECT_EQ(available(Target::neon), has("asimd"));
  EXPECT_EQ(available(Target::neon_dotprod), has("asimddp"));
  EXPECT_EQ(available(Target::neon_i8mm), has("asimddp") && has("i8mm") && has("bf16"));
#else
  const bool avx2 = has("avx2") && has("fma") && has("bmi2") && has("f16c");
  const bool avx512 = avx2 && has("avx512f") && has("avx512bw") && has("avx512dq") && has("avx512vl");
  EXPECT_EQ(available(Target::avx2), avx2);
  EXPECT_EQ(available(Target::avx512), avx512);
  EXPECT_EQ(available(Target::avx512vnni), avx512 && has("avx512_vnni"));
  EXPECT_EQ(available(Target::avxvnni), avx2 && has("avx_vnni"));
#endif
}
#endif

}  // namespace
}  // namespace cairn::kernels
