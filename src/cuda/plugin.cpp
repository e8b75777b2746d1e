// The table that cairn opens.
#include <cstdio>
#include <new>

#include "base/error.hpp"
#include "cuda/device.hpp"

namespace cairn::cuda {
namespace {

int tell(const Failure& failure, char* message, size_t size) {
  if (size > 0) std::snprintf(message, size, "%s", failure.text.c_str());
  return failure.status;
}

// Nothing may be thrown across the border.
template <class Body>
int guarded(char* message, size_t size, const Body& body) {
  try {
    body();
    return 0;
  } catch (const Failure& failure) {
    return tell(failure, message, size);
  } catch (const std::bad_alloc&) {
    return tell({static_cast<int>(ErrorCode::out_of_memory), "memory ran out"}, message, size);
  } catch (const std::exception& error) {
    return tell({CudaPlugin::kOther, error.what()}, message, size);
  }
}

template <class Body>
int on(void* device, char* message, size_t size, const Body& body) {
  return guarded(message, size, [&] {
    auto& it = *static_cast<Device*>(device);
    it.use();
    body(it);
  });
}

std::string version(int number) {
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

int count(int32_t* count, char* message, size_t size) {
  return guarded(message, size, [&] {
    *count = 0;
    int driver = 0, found = 0;
    const int unsupported = static_cast<int>(ErrorCode::unsupported);
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
      throw Failure{unsupported, "there is no NVIDIA driver on this machine"};
    }
    const cudaError_t error = cudaGetDeviceCount(&found);
    if (error == cudaErrorInsufficientDriver || driver / 1000 < CUDART_VERSION / 1000) {
      throw Failure{unsupported, "the NVIDIA driver is too old: it is for CUDA " + version(driver) +
                                     ", and this libcairn_cuda.so needs one for " +
                                     version(CUDART_VERSION / 1000 * 1000)};
    }
    if (error == cudaErrorNoDevice) throw Failure{unsupported, "the NVIDIA driver finds no GPU"};
    check(error, "counting devices");
    *count = found;
  });
}

int describe(int32_t index, CudaDeviceInfo* info, char* message, size_t size) {
  return guarded(message, size, [&] {
    *info = {};
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "describing it");
    std::snprintf(info->name, sizeof(info->name), "%.127s", properties.name);
    info->capability = 10 * properties.major + properties.minor;
    info->processors = properties.multiProcessorCount;
    check(cudaDriverGetVersion(&info->driver), "asking the driver");
    info->memory = info->free = properties.totalGlobalMem;
    size_t free = 0, all = 0;
    check(cudaSetDevice(index), "choosing it");
    check(cudaMemGetInfo(&free, &all), "asking for its free memory");
    info->free = free;
    info->memory = all;
  });
}

int open(int32_t index, void** device, char* message, size_t size) {
  return guarded(message, size, [&] { *device = new Device(index); });
}

void close(void* device) {
  delete static_cast<Device*>(device);
}

int allocate(void* device, uint64_t bytes, void** memory, char* message, size_t size) {
  return on(device, message, size, [&](Device&) { check(cudaMalloc(memory, bytes), "allocating memory"); });
}

int release(void* device, void* memory, char* message, size_t size) {
  return on(device, message, size, [&](Device& it) {
    it.wait();
    check(cudaFree(memory), "freeing memory");
  });
}

int free_memory(void* device, uint64_t* free, uint64_t* all, char* message, size_t size) {
  return on(device, message, size, [&](Device&) {
    size_t some = 0, whole = 0;
    check(cudaMemGetInfo(&some, &whole), "asking for its free memory");
    *free = some, *all = whole;
  });
}

int upload(void* device, void* to, const void* from, uint64_t bytes, char* message, size_t size) {
  return on(device, message, size, [&](Device& it) { it.upload(to, from, bytes); });
}

int download(void* device, void* to, const void* from, uint64_t bytes, char* message, size_t size) {
  return on(device, message, size, [&](Device& it) { it.download(to, from, bytes); });
}

int copy(void* device, void* to, const void* from, uint64_t bytes, char* message, size_t size) {
  return on(device, message, size, [&](Device& it) { it.copy(to, from, bytes); });
}

int bytes_of_matrix(uint32_t encoding, uint64_t rows, uint64_t k, uint64_t* bytes, char* message,
                    size_t size) {
  return guarded(message, size, [&] {
    *bytes = matrix_bytes(encoding, rows, k);
    if (*bytes == 0) {
      throw Failure{static_cast<int>(ErrorCode::unsupported), "GPU: no matrix of " + std::to_string(rows) +
                                                                  " rows of " + std::to_string(k) +
                                                                  " in encoding " + std::to_string(encoding)};
    }
  });
}

int upload_matrix(void* device, uint32_t encoding, uint64_t rows, uint64_t k, const void* from, void* to,
                  char* message, size_t size) {
  return on(device, message, size, [&](Device& it) { it.upload_matrix(encoding, rows, k, from, to); });
}

int run(void* device, const CudaStep* step, const CudaCommand* commands, size_t count, uint64_t key,
        char* message, size_t size) {
  return on(device, message, size, [&](Device& it) { it.run(*step, commands, count, key); });
}

int forget(void* device, uint64_t key, char* message, size_t size) {
  return on(device, message, size, [&](Device& it) {
    it.wait();
    it.forget(key);
  });
}

int wait(void* device, char* message, size_t size) {
  return on(device, message, size, [&](Device& it) { it.wait(); });
}

int staging(void* device, uint64_t bytes, void** memory, char* message, size_t size) {
  return on(device, message, size, [&](Device& it) { *memory = it.staging(bytes); });
}

uint64_t own_bytes(const void* device) {
  return static_cast<const Device*>(device)->own_bytes();
}

}  // namespace
}  // namespace cairn::cuda

extern "C" __attribute__((visibility("default"))) const cairn::CudaPlugin cairn_cuda;
const cairn::CudaPlugin cairn_cuda = {
    {sizeof(cairn::CudaPlugin), cairn::kPluginBuild},
    cairn::cuda::count,
    cairn::cuda::describe,
    cairn::cuda::open,
    cairn::cuda::close,
    cairn::cuda::allocate,
    cairn::cuda::release,
    cairn::cuda::free_memory,
    cairn::cuda::upload,
    cairn::cuda::download,
    cairn::cuda::copy,
    cairn::cuda::bytes_of_matrix,
    cairn::cuda::upload_matrix,
    cairn::cuda::run,
    cairn::cuda::forget,
    cairn::cuda::wait,
    cairn::cuda::own_bytes,
    cairn::cuda::staging,
};
