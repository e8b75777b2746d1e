#include "cuda/device.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.hpp"
#include "cuda/raw_bytes.hpp"
#include "kernels/grids.hpp"

namespace cairn::cuda {
namespace {

constexpr size_t kPinnedBytes = 1 << 20, kStagingBytes = 32 << 20;

int code(ErrorCode error) {
  return static_cast<int>(error);
}

}  // namespace

Failure failure(cudaError_t error, const std::string& what) {
  (void)cudaGetLastError();  // else the next call would report it again
  int status = CudaPlugin::kOther;
  switch (error) {
    case cudaErrorMemoryAllocation:
      status = code(ErrorCode::out_of_memory);
      break;
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorStubLibrary:
      status = code(ErrorCode::unsupported);
      break;
    // These end the use of the device by this process (the runtime's manual).
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorExternalDevice:
    case cudaErrorMpsClientTerminated:
      status = CudaPlugin::kLost;
      break;
    default:
      break;
  }
  return {status, "GPU: " + what + ": " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) + ")"};
}

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw failure(error, what);
}

Device::Device(int index) : index_(index) {
  int count = 0;
  check(cudaGetDeviceCount(&count), "counting devices");
  if (index < 0 || index >= count) {
    throw Failure{code(ErrorCode::not_found), "there is no GPU " + std::to_string(index) +
                                                  ": this machine has " + std::to_string(count) +
                                                  ", counted from 0"};
  }
  int major = 0, minor = 0, processors = 0, shared = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, index), "reading its capability");
  check(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, index), "reading its capability");
  check(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, index), "counting processors");
  check(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, index),
        "reading its limits");
  if (10 * major + minor < 75) {
    throw Failure{code(ErrorCode::unsupported), "GPU " + std::to_string(index) + " has compute capability " +
                                                    std::to_string(major) + "." + std::to_string(minor) +
                                                    "; 7.5 (Turing) is the least that is supported"};
  }
  use();
  check(cudaStreamCreateWithFlags(&stream_.stream, cudaStreamNonBlocking), "making a stream");
  stream_.dependent = major >= 9;
  const char* share = std::getenv("CAIRN_CUDA_SHARE");
  stream_.share = share != nullptr ? std::atoi(share) : 100;
  stream_.plain = std::getenv("CAIRN_CUDA_PLAIN") != nullptr;
  stream_.processors = static_cast<uint32_t>(processors);
  stream_.shared = static_cast<uint32_t>(shared) - 1024;
  try {
    std::string table(raw_bytes::kGrid, '\0');
    const auto put = [&](size_t at, const auto& grid) {
      std::memcpy(&table[at], grid.points, sizeof(grid.points));
    };
    put(raw_bytes::kIq2Xxs, kernels::kGridIq2Xxs);
    put(raw_bytes::kIq2Xs, kernels::kGridIq2Xs);
    put(raw_bytes::kIq2S, kernels::kGridIq2S);
    put(raw_bytes::kIq3Xxs, kernels::kGridIq3Xxs);
    put(raw_bytes::kIq3S, kernels::kGridIq3S);
    put(raw_bytes::kIq1, kernels::kGridIq1);
    grow(grids_, table.size());
    stream_.grids = static_cast<const uint8_t*>(grids_.at);
    check(cudaHostAlloc(&pinned_, kPinnedBytes, cudaHostAllocDefault), "allocating memory of the host's");
    upload(grids_.at, table.data(), table.size());
    wait();
  } catch (...) {
    close();
    throw;
  }
}

Device::~Device() {
  close();
}

void Device::close() {
  if (cudaSetDevice(index_) != cudaSuccess) return;
  (void)cudaStreamSynchronize(stream_.stream);
  for (auto& [key, graph] : graphs_) {
    if (graph.executable != nullptr) (void)cudaGraphExecDestroy(graph.executable);
  }
  for (auto& [key, memory] : scratch_) (void)cudaFree(memory.at);
  (void)cudaFree(grids_.at);
  (void)cudaFree(staging_.at);
  (void)cudaFreeHost(pinned_);
  (void)cudaFreeHost(room_);
  (void)cudaStreamDestroy(stream_.stream);
  (void)cudaGetLastError();
}

void Device::use() const {
  check(cudaSetDevice(index_), "choosing it");
}

void Device::grow(Memory& memory, size_t bytes) {
  if (bytes <= memory.bytes) return;
  if (memory.at != nullptr) {
    // Graphs know the place.
    wait();
    forget(0);
    own_bytes_ -= memory.bytes;
    check(cudaFree(memory.at), "freeing scratch memory");
    memory = {};
  }
  check(cudaMalloc(&memory.at, bytes), "allocating scratch memory");
  memory.bytes = bytes;
  own_bytes_ += bytes;
}

void* Device::scratch(const void* of, int kind, size_t bytes) {
  Memory& memory = scratch_[{of, kind}];
  if (bytes > memory.bytes && recording_)
    throw Failure{CudaPlugin::kOther, "GPU: a list of one key has changed"};
  grow(memory, (bytes + 255) / 256 * 256);
  return memory.at;
}

void Device::upload(void* to, const void* from, size_t bytes) {
  // From memory that is not pinned: it has been read when this returns.
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_.stream), "copying to it");
}

void* Device::staging(size_t bytes) {
  if (bytes > room_bytes_) {
    wait();
    (void)cudaFreeHost(std::exchange(room_, nullptr));
    room_bytes_ = 0;
    check(cudaHostAlloc(&room_, bytes, cudaHostAllocDefault), "allocating memory of the host's");
    room_bytes_ = bytes;
  }
  return room_;
}

void Device::download(void* to, const void* from, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(to), room = reinterpret_cast<uintptr_t>(room_);
  if (begin >= room && begin + bytes <= room + room_bytes_) {
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_.stream), "copying from it");
    return wait();
  }
  for (size_t at = 0; at < bytes; at += kPinnedBytes) {
    const size_t some = std::min(bytes - at, kPinnedBytes);
    check(cudaMemcpyAsync(pinned_, static_cast<const char*>(from) + at, some, cudaMemcpyDeviceToHost,
                          stream_.stream),
          "copying from it");
    wait();
    std::memcpy(static_cast<char*>(to) + at, pinned_, some);
  }
}

void Device::copy(void* to, const void* from, size_t bytes) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_.stream), "copying on it");
}

void Device::upload_matrix(uint32_t encoding, uint64_t rows, uint64_t k, const void* from, void* to) {
  if (!has_form(encoding) && !is_float(encoding)) return upload(to, from, rows * file_row_bytes(encoding, k));
  const uint64_t row_bytes = file_row_bytes(encoding, k);
  const uint64_t slab = std::clamp<uint64_t>(kStagingBytes / row_bytes / 16 * 16, 16, 65535 * 16);
  grow(staging_, std::min(slab, rows) * row_bytes);
  for (uint64_t first = 0; first < rows; first += slab) {
    const uint64_t count = std::min(slab, rows - first);
    upload(staging_.at, static_cast<const uint8_t*>(from) + first * row_bytes, count * row_bytes);
    launch_pack(stream_, encoding, first, count, k, static_cast<const uint8_t*>(staging_.at),
                static_cast<uint8_t*>(to));
    check(std::exchange(stream_.error, cudaSuccess), "packing a matrix");
  }
}

void Device::issue(const CudaStep& step, const CudaCommand* commands, size_t count) {
  stream_.error = cudaSuccess;
  issue_commands(*this, stream_, step, commands, count);
  check(std::exchange(stream_.error, cudaSuccess), "starting kernels");
}

cudaGraphExec_t Device::record(const CudaStep& step, const CudaCommand* commands, size_t count) {
  check(cudaStreamBeginCapture(stream_.stream, cudaStreamCaptureModeThreadLocal), "recording a graph");
  cudaGraph_t graph = nullptr;
  recording_ = true;
  try {
    issue(step, commands, count);
  } catch (...) {
    recording_ = false;
    (void)cudaStreamEndCapture(stream_.stream, &graph);
    if (graph != nullptr) (void)cudaGraphDestroy(graph);
    (void)cudaGetLastError();
    throw;
  }
  recording_ = false;
  check(cudaStreamEndCapture(stream_.stream, &graph), "recording a graph");
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  (void)cudaGraphDestroy(graph);
  check(error, "making a graph");
  return executable;
}

void Device::run(const CudaStep& step, const CudaCommand* commands, size_t count, uint64_t key) {
  if (key == 0) return issue(step, commands, count);
  const auto found = graphs_.find(key);
  if (found == graphs_.end()) {
    issue(step, commands, count);
    graphs_[key] = {};
    return;
  }
  if (found->second.executable == nullptr) found->second.executable = record(step, commands, count);
  check(cudaGraphLaunch(found->second.executable, stream_.stream), "starting a graph");
}

void Device::forget(uint64_t key) {
  for (auto i = graphs_.begin(); i != graphs_.end();) {
    if (key != 0 && i->first != key) {
      ++i;
      continue;
    }
    if (i->second.executable != nullptr) (void)cudaGraphExecDestroy(i->second.executable);
    i = graphs_.erase(i);
  }
}

void Device::wait() {
  check(cudaStreamSynchronize(stream_.stream), "waiting for it");
}

}  // namespace cairn::cuda
