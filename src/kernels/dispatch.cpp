// Which instruction sets the processor has, and the tables compiled for them.
#include <array>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "kernels/arm_targets.hpp"
#include "kernels/target_list.hpp"

#if defined(__x86_64__) && !defined(CAIRN_PORTABLE_KERNELS)
#include <cpuid.h>
#elif defined(__aarch64__) && !defined(CAIRN_PORTABLE_KERNELS)
#include <sys/auxv.h>
#endif

namespace cairn::kernels {
namespace {

constexpr std::array<const char*, static_cast<size_t>(Target::count)> kNames = {
    "portable", "avx2", "avxvnni", "avx512", "avx512vnni", "neon", "neon_dotprod", "neon_i8mm"};

#if defined(__x86_64__) && !defined(CAIRN_PORTABLE_KERNELS)
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

using Find = const EncodingKernels* (*)(Encoding);

// What the IQ encodings have kernels of their own for: AVX512_VBMI and GFNI (Ice Lake, Zen 4 and newer).
const EncodingKernels* find_with_vbmi(Encoding encoding) {
  const EncodingKernels* kernels = avx512vbmi::iq_encoding_kernels(encoding);
  return kernels != nullptr ? kernels : avx512vnni::encoding_kernels(encoding);
}

Find find_of(Target target, Find find) {
  return target == Target::avx512vnni && all(cpuid(7, 0).ecx, {1, 8}) ? find_with_vbmi : find;
}
#else
#if defined(__aarch64__) && !defined(CAIRN_PORTABLE_KERNELS)
std::vector<Target> detect() {
  return arm_targets(getauxval(AT_HWCAP), getauxval(AT_HWCAP2));
}
#else
std::vector<Target> detect() {
  return {Target::portable};
}
#endif
auto find_of(Target, const EncodingKernels* (*find)(Encoding)) {
  return find;
}
#endif

}  // namespace

const EncodingKernels& KernelSet::encoding(Encoding encoding) const {
  const EncodingKernels* kernels = find(encoding);
  if (kernels == nullptr) {
    fail(ErrorCode::unsupported, "no kernels for encoding {}", static_cast<uint32_t>(encoding));
  }
  return *kernels;
}

const KernelSet& kernel_set(Target target) {
#define CAIRN_SET(name)                           \
  {Target::name,                                  \
   find_of(Target::name, name::encoding_kernels), \
   name::vector_table(),                          \
   name::gemm_table(),                            \
   name::attention_table(),                       \
   name::plane_table(),                           \
   name::static_table(),                          \
   name::encode_table(),                          \
   name::conv_table(),                            \
   name::train_table(),                           \
   name::peak_table()},
  static const KernelSet sets[] = {CAIRN_FOR_EACH_TARGET(CAIRN_SET)};
#undef CAIRN_SET
  for (const KernelSet& set : sets) {
    if (set.target == target) return set;
  }
  fail(ErrorCode::unsupported, "this build has no kernels for instruction set {}", name(target));
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

const char* lacking() {
#if defined(__aarch64__)
  return arm_lacks(available_targets().back());
#else
  return "";
#endif
}

const char* name(Target target) {
  const size_t index = static_cast<size_t>(target);
  return index < kNames.size() ? kNames[index] : "unknown";
}

}  // namespace cairn::kernels
