#pragma once

#include <string>

#include "base/thread_pool.hpp"
#include "kernels/kernels.hpp"

namespace cairn::measure {

// What this machine can do at best, measured with all the pool's threads at once.
struct MachinePeaks {
  kernels::Target target;
  size_t threads;
  double int8_gops;         // a multiply-add counts two operations
  double int8_codes4_gops;  // 4-bit codes summed in 16 bits where there is no VNNI, else the same
  double fp32_gflops;
  double bf16_gflops;  // 0: the instruction set has no bf16 product
  double read_gb_s;    // from memory, 10^9 bytes a second
  std::string int8_instructions, int8_codes4_instructions, fp32_instructions, bf16_instructions;
};

// Takes about `seconds` for each figure; each is the median of several runs. target must be available.
MachinePeaks measure_peaks(ThreadPool& pool, kernels::Target target, double seconds = 0.3);

// Memory that `measure_peaks` reads through, kept between calls so that benchmarks can repeat the figure.
class BandwidthProbe {
 public:
  BandwidthProbe();
  ~BandwidthProbe();
  BandwidthProbe(const BandwidthProbe&) = delete;
  BandwidthProbe& operator=(const BandwidthProbe&) = delete;
  double read_gb_s(ThreadPool& pool, kernels::Target target) const;  // one pass

 private:
  void* data_;
};

// One short run of int8 products on all threads, GOP/s.
double int8_gops(ThreadPool& pool, kernels::Target target, bool codes4, double seconds);

}  // namespace cairn::measure
