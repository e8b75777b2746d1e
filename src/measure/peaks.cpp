#include "measure/peaks.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "kernels/gemm.hpp"
#include "kernels/kernel_set.hpp"
#include "measure/median.hpp"

namespace cairn::measure {
namespace {

constexpr size_t kProbeBytes = size_t{512} << 20;  // far beyond any cache that a person's device has
constexpr int kRounds = 5;

// Operations a second of all threads together: each runs the same sequence, the slowest ends the clock.
double rate(ThreadPool& pool, const kernels::PeakKernels& kernels, kernels::Peak peak, size_t iterations) {
  throw_if_interrupted();
  std::vector<double> operations(pool.threads());
  const Stopwatch watch;
  pool.run(pool.threads(), [&](size_t, size_t i) { operations[i] = kernels.run(peak, iterations); });
  const double seconds = watch.seconds();
  double total = 0;
  for (const double each : operations) total += each;
  return total / seconds;
}

double sustained(ThreadPool& pool, const kernels::PeakKernels& kernels, kernels::Peak peak, double seconds) {
  constexpr size_t kTrial = 100'000;
  if (kernels.run(peak, 1) == 0) return 0;
  rate(pool, kernels, peak, kTrial);  // wakes threads and clocks
  const double operations = kernels.run(peak, 1) * static_cast<double>(pool.threads());
  const double trial = rate(pool, kernels, peak, kTrial);
  const auto iterations = static_cast<size_t>(std::max(1.0, trial / operations * seconds));
  return rate(pool, kernels, peak, iterations);
}

double median_rate(ThreadPool& pool, const kernels::PeakKernels& kernels, kernels::Peak peak,
                   double seconds) {
  std::vector<double> rates;
  for (int round = 0; round < kRounds; ++round) {
    rates.push_back(sustained(pool, kernels, peak, seconds / kRounds));
  }
  return median(rates) * 1e-9;
}

const char* text(const char* instructions) {
  return instructions == nullptr ? "" : instructions;
}

}  // namespace

BandwidthProbe::BandwidthProbe()
    : data_(mmap(nullptr, kProbeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
  if (data_ == MAP_FAILED)
    fail(ErrorCode::out_of_memory, "cannot get {} MiB to measure memory with", kProbeBytes >> 20);
  // Huge pages where the system gives them: the limit should be the memory's, not the page walker's.
  madvise(data_, kProbeBytes, MADV_HUGEPAGE);
  std::memset(data_, 1, kProbeBytes);
}

BandwidthProbe::~BandwidthProbe() {
  munmap(data_, kProbeBytes);
}

double BandwidthProbe::read_gb_s(ThreadPool& pool, kernels::Target target) const {
  throw_if_interrupted();
  const kernels::PeakKernels& kernels = kernels::kernel_set(target).peak;
  const size_t share = kProbeBytes / pool.threads() / 4096 * 4096;
  std::atomic<uint64_t> sink{0};
  const Stopwatch watch;
  pool.run(pool.threads(), [&](size_t, size_t i) {
    sink.fetch_add(kernels.read(static_cast<const char*>(data_) + i * share, share),
                   std::memory_order_relaxed);
  });
  return static_cast<double>(share * pool.threads()) / watch.seconds() * 1e-9;
}

double int8_gops(ThreadPool& pool, kernels::Target target, bool codes4, double seconds) {
  return sustained(pool, kernels::kernel_set(target).peak,
                   codes4 ? kernels::Peak::int8_codes4 : kernels::Peak::int8, seconds) *
         1e-9;
}

MachinePeaks measure_peaks(ThreadPool& pool, kernels::Target target, double seconds) {
  const kernels::PeakKernels& kernels = kernels::kernel_set(target).peak;
  MachinePeaks peaks{};
  peaks.target = target;
  peaks.threads = pool.threads();
  peaks.int8_gops = median_rate(pool, kernels, kernels::Peak::int8, seconds);
  peaks.int8_codes4_gops = median_rate(pool, kernels, kernels::Peak::int8_codes4, seconds);
  peaks.fp32_gflops = median_rate(pool, kernels, kernels::Peak::fp32, seconds);
  peaks.bf16_gflops = median_rate(pool, kernels, kernels::Peak::bf16, seconds);
  const BandwidthProbe probe;
  std::vector<double> reads;
  for (int round = 0; round < 2 * kRounds; ++round) reads.push_back(probe.read_gb_s(pool, target));
  peaks.read_gb_s = median(reads);
  peaks.int8_instructions = text(kernels.instructions[0]);
  peaks.int8_codes4_instructions = text(kernels.instructions[1]);
  peaks.fp32_instructions = text(kernels.instructions[2]);
  peaks.bf16_instructions = peaks.bf16_gflops == 0 ? "" : text(kernels.instructions[3]);
  return peaks;
}

}  // namespace cairn::measure
