// A GPU made of host memory and plain loops.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/cuda_plugin.hpp"

namespace cairn::fake_cuda {

struct Failure {
  int status;
  std::string line;
};

// What is allocated: nothing else may be read or written.
class Memory {
 public:
  void* allocate(uint64_t bytes);
  void release(void* memory);
  // Throws Failure.
  void check(const void* at, uint64_t bytes) const;
  uint64_t used() const { return used_; }
  ~Memory();

 private:
  std::map<uintptr_t, uint64_t> blocks_;
  uint64_t used_ = 0;
};

struct Device {
  Memory memory;
  std::vector<std::byte> staging;
  uint64_t lists = 0;                                  // run so far
  std::map<uint64_t, std::vector<CudaCommand>> known;  // lists by key
};

// Carries out one command. Throws Failure.
void run(const Memory& memory, const CudaStep& step, const CudaCommand& command);

}  // namespace cairn::fake_cuda
