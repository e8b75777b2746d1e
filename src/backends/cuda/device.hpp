// cuda: an engine on a GPU. It knows models and sequences; libcairn_cuda.so, which is opened at run time,
// knows the GPU (base/cuda_plugin.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "backends/cuda/list_devices.hpp"
#include "base/cuda_plugin.hpp"
#include "base/error.hpp"
#include "formats/encoding.hpp"

namespace cairn::cuda {

// A fault after which the GPU is of no use to this process any more.
class DeviceLost : public Error {
 public:
  explicit DeviceLost(const std::string& line) : Error(ErrorCode::io, line) {}
};

class Device;

// Bytes of a GPU's memory, given back with the object.
class Memory {
 public:
  Memory() = default;
  Memory(std::shared_ptr<Device> device, uint64_t bytes);  // Error out_of_memory
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  std::byte* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  template <class T>
  T* as(uint64_t offset = 0) const {
    return reinterpret_cast<T*>(data_ + offset);
  }

 private:
  std::shared_ptr<Device> device_;
  std::byte* data_ = nullptr;
  uint64_t bytes_ = 0;
};

// A GPU that is in use. One thread at a time, but for what a Memory's end does, which locks nothing either:
// whoever owns it takes turns. Errors of all: what the library says, DeviceLost.
class Device {
 public:
  // Errors: not_found (no libcairn_cuda.so, no driver, no GPU of that number), unsupported (a library of
  // another build, a driver or GPU that is too old).
  static std::shared_ptr<Device> open(uint32_t index);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const CudaDeviceInfo& info() const { return info_; }
  const std::string& name() const { return name_; }  // "cuda:0 (NVIDIA H200)"
  uint64_t free_memory() const;
  uint64_t own_bytes() const;

  void upload(void* to, const void* from, uint64_t bytes) const;
  void download(void* to, const void* from, uint64_t bytes) const;
  void copy(void* to, const void* from, uint64_t bytes) const;
  uint64_t matrix_bytes(Encoding encoding, uint64_t rows, uint64_t k) const;
  void upload_matrix(Encoding encoding, uint64_t rows, uint64_t k, const void* from, void* to) const;
  void run(const CudaStep& step, std::span<const CudaCommand> commands, uint64_t key) const;
  void forget(uint64_t key) const;
  void wait() const;
  // Memory of the host's that downloads are fastest to, until more is asked for; null: there is none such.
  float* staging(uint64_t floats) const;

 private:
  friend class Memory;
  Device(const CudaPlugin& plugin, uint32_t index);
  std::byte* allocate(uint64_t bytes) const;
  void release(std::byte* memory) const noexcept;
  template <class Function, class... Arguments>
  void call(const Function& function, Arguments... arguments) const;

  const CudaPlugin& plugin_;
  CudaDeviceInfo info_{};
  std::string name_;
  void* device_ = nullptr;
};

}  // namespace cairn::cuda
