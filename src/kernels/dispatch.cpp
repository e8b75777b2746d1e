// Which instruction sets the processor has, and the tables compiled for them.
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "kernels/kernels.hpp"
#include "kernels/target_list.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace cairn::kernels {
namespace {

constexpr std::array<const char*, static_cast<size_t>(Target::count)> kNames = {"portable", "avx2", "avxvnni",
                                                                                "avx512", "avx512vnni"};

#if defined(__x86_64__)
struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);  // leaves zeros beyond the last leaf
  return r;
}

bool all(uint32_t value, std::initializer_list<int> bits) {
  for (const int bit : bits) {
    if ((value >> bit & 1) == 0) return false;
  }
  return true;
}

// Bit numbers: Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E.
std::vector<Target> detect() {
  std::vector<Target> found = {Target::portable};
  const Registers basic = cpuid(1, 0), extended = cpuid(7, 0), extended1 = cpuid(7, 1),
                  amd = cpuid(0x80000001u, 0);
  if (!all(basic.ecx, {27, 28})) return found;  // OSXSAVE, AVX
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));  // what the system saves at a context switch
  const bool ymm = all(low, {1, 2}), zmm = all(low, {5, 6, 7});
  // x86-64-v3: SSSE3, FMA, SSE4.1, SSE4.2, MOVBE, POPCNT, F16C; BMI1, AVX2, BMI2; LZCNT.
  if (!ymm || !all(basic.ecx, {9, 12, 19, 20, 22, 23, 29}) || !all(extended.ebx, {3, 5, 8}) ||
      !all(amd.ecx, {5})) {
    return found;
  }
  found.push_back(Target::avx2);
  if (all(extended1.eax, {4})) found.push_back(Target::avxvnni);
  if (!zmm || !all(extended.ebx, {16, 17, 28, 30, 31})) return found;  // x86-64-v4: F, DQ, CD, BW, VL
  found.push_back(Target::avx512);
  if (all(extended.ecx, {11})) found.push_back(Target::avx512vnni);
  return found;
}
#else
std::vector<Target> detect() {
  return {Target::portable};
}
#endif

}  // namespace

const EncodingKernels& encoding_kernels(Encoding encoding, Target target) {
  const EncodingKernels* kernels = nullptr;
  switch (target) {
#define CAIRN_CASE(name)                        \
  case Target::name:                            \
    kernels = name::encoding_kernels(encoding); \
    break;
    CAIRN_FOR_EACH_TARGET(CAIRN_CASE)
#undef CAIRN_CASE
    default:
      fail(ErrorCode::unsupported, "this build has no kernels for instruction set {}", name(target));
  }
  if (kernels == nullptr) {
    fail(ErrorCode::unsupported, "no kernels for encoding {}", static_cast<uint32_t>(encoding));
  }
  return *kernels;
}

#define CAIRN_CASE_TABLE(name) \
  case Target::name:           \
    return name::CAIRN_TABLE();
#define CAIRN_TABLE_SWITCH(target)            \
  switch (target) {                           \
    CAIRN_FOR_EACH_TARGET(CAIRN_CASE_TABLE)   \
    default:                                  \
      fail(ErrorCode::unsupported, "this build has no kernels for instruction set {}", name(target)); \
  }

const EncodeKernels& encode_kernels(Target target) {
#define CAIRN_TABLE encode_table
  CAIRN_TABLE_SWITCH(target)
#undef CAIRN_TABLE
}

const ConvKernels& conv_kernels(Target target) {
#define CAIRN_TABLE conv_table
  CAIRN_TABLE_SWITCH(target)
#undef CAIRN_TABLE
}

const GemmKernels& gemm_kernels(Target target) {
#define CAIRN_TABLE gemm_table
  CAIRN_TABLE_SWITCH(target)
#undef CAIRN_TABLE
}

const VectorKernels& vector_kernels(Target target) {
#define CAIRN_TABLE vector_table
  CAIRN_TABLE_SWITCH(target)
#undef CAIRN_TABLE
}

const AttentionKernels& attention_kernels(Target target) {
#define CAIRN_TABLE attention_table
  CAIRN_TABLE_SWITCH(target)
#undef CAIRN_TABLE
}

const PeakKernels& peak_kernels(Target target) {
#define CAIRN_TABLE peak_table
  CAIRN_TABLE_SWITCH(target)
#undef CAIRN_TABLE
}

const StaticKernels& static_kernels(Target target) {
#define CAIRN_TABLE static_table
  CAIRN_TABLE_SWITCH(target)
#undef CAIRN_TABLE
}

const PlaneKernels& plane_kernels(Target target) {
#define CAIRN_TABLE plane_table
  CAIRN_TABLE_SWITCH(target)
#undef CAIRN_TABLE
}

const TrainKernels& train_kernels(Target target) {
#define CAIRN_TABLE train_table
  CAIRN_TABLE_SWITCH(target)
#undef CAIRN_TABLE
}

std::span<const Target> available_targets() {
  static const std::vector<Target> targets = detect();
  return targets;
}

Target default_target() {
  const std::span<const Target> targets = available_targets();
  const char* wanted = std::getenv("CAIRN_TARGET");
  if (wanted == nullptr || *wanted == '\0') return targets.back();
  for (const Target target : targets) {
    if (std::string_view(wanted) == name(target)) return target;
  }
  std::string have;
  for (const Target target : targets) have.append(have.empty() ? "" : ", ").append(name(target));
  fail(ErrorCode::invalid_argument,
       "CAIRN_TARGET: \"{}\" is not an instruction set of this processor (it has {})", wanted, have);
}

const char* name(Target target) {
  const size_t index = static_cast<size_t>(target);
  return index < kNames.size() ? kNames[index] : "unknown";
}

}  // namespace cairn::kernels
