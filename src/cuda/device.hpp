// A GPU that is in use: its stream, scratch memory and graphs.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cuda/launch.hpp"

namespace cairn::cuda {

// What a function of the plug-in returns, and tells.
struct Failure {
  int status;
  std::string text;
};

// An error of CUDA's as the contract has it; `what` was being done.
Failure failure(cudaError_t error, const std::string& what);
void check(cudaError_t error, const char* what);  // throws Failure

class Device {
 public:
  explicit Device(int index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  void use() const;  // by this thread
  void upload(void* to, const void* from, size_t bytes);
  void* staging(size_t bytes);  // pinned memory of the host's, one piece
  void download(void* to, const void* from, size_t bytes);
  void copy(void* to, const void* from, size_t bytes);
  void upload_matrix(uint32_t encoding, uint64_t rows, uint64_t k, const void* from, void* to);
  void run(const CudaStep& step, const CudaCommand* commands, size_t count, uint64_t key);
  void forget(uint64_t key);
  void wait();
  uint64_t own_bytes() const { return own_bytes_; }

  // Memory of its own that keeps its place until more is asked for under the same key.
  void* scratch(const void* of, int kind, size_t bytes);

 private:
  struct Graph {
    cudaGraphExec_t executable = nullptr;
  };
  struct Memory {
    void* at = nullptr;
    size_t bytes = 0;
  };
  void close();
  void issue(const CudaStep& step, const CudaCommand* commands, size_t count);
  cudaGraphExec_t record(const CudaStep& step, const CudaCommand* commands, size_t count);
  void grow(Memory& memory, size_t bytes);

  int index_;
  Stream stream_{};
  std::unordered_map<uint64_t, Graph> graphs_;
  std::map<std::pair<const void*, int>, Memory> scratch_;
  Memory grids_, staging_;
  void* pinned_ = nullptr;
  void* room_ = nullptr;  // staging()'s
  size_t room_bytes_ = 0;
  uint64_t own_bytes_ = 0;
  bool recording_ = false;
};

// Makes a list's launches. Throws Failure.
void issue_commands(Device& device, Stream& stream, const CudaStep& step, const CudaCommand* commands,
                    size_t count);

}  // namespace cairn::cuda
