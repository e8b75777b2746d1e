// Stands in for libcairn_cuda.so where there is no GPU. In the environment, read when a GPU is looked for:
//   CAIRN_FAKE_CUDA=no-driver|old-driver|old-gpu|none
//   CAIRN_FAKE_CUDA_COUNT=N    GPUs, 2 if not given
//   CAIRN_FAKE_CUDA_MEMORY=N   bytes that each has, 1 GiB if not given; read at each allocation
//   CAIRN_FAKE_CUDA_VANISH=N   a GPU that has been given N lists is gone; read at each call
#include "fake_cuda.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/error.hpp"
#include "formats/encoding.hpp"

namespace cairn::fake_cuda {
namespace {

constexpr uint64_t kAlignment = 256;

std::string_view setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}
uint64_t number(const char* name, uint64_t otherwise) {
  const std::string_view value = setting(name);
  return value.empty() ? otherwise : std::strtoull(value.data(), nullptr, 10);
}
[[noreturn]] void fail(ErrorCode code, std::string line) {
  throw Failure{static_cast<int>(code), std::move(line)};
}

// What a function of the plug-in answers with.
template <class Body>
int answer(char* message, size_t size, const Body& body) {
  try {
    body();
    return 0;
  } catch (const Failure& failure) {
    std::snprintf(message, size, "%s", failure.line.c_str());
    return failure.status;
  } catch (const Error& error) {
    std::snprintf(message, size, "%s", error.what());
    return static_cast<int>(error.code());
  }
}

Device& of(void* device) {
  auto& found = *static_cast<Device*>(device);
  const uint64_t last = number("CAIRN_FAKE_CUDA_VANISH", 0);
  if (last != 0 && found.lists >= last) throw Failure{CudaPlugin::kLost, "the fake GPU is gone"};
  return found;
}

int count(int32_t* found, char* message, size_t size) {
  return answer(message, size, [&] {
    const std::string_view set = setting("CAIRN_FAKE_CUDA");
    if (set == "no-driver") fail(ErrorCode::not_found, "no NVIDIA driver is installed");
    if (set == "old-driver")
      fail(ErrorCode::unsupported, "the NVIDIA driver knows CUDA 11.4, 12.0 is needed");
    *found = set == "none" ? 0 : static_cast<int32_t>(number("CAIRN_FAKE_CUDA_COUNT", 2));
  });
}

int describe(int32_t index, CudaDeviceInfo* to, char* message, size_t size) {
  return answer(message, size, [&] {
    *to = {};
    std::snprintf(to->name, sizeof to->name, "Fake %d", static_cast<int>(index));
    to->memory = to->free = number("CAIRN_FAKE_CUDA_MEMORY", uint64_t{1} << 30);
    to->capability = setting("CAIRN_FAKE_CUDA") == "old-gpu" ? 61 : 90;
    to->processors = 4;
    to->driver = 13000;
  });
}

int open(int32_t index, void** device, char* message, size_t size) {
  return answer(message, size, [&] {
    if (setting("CAIRN_FAKE_CUDA") == "old-gpu")
      fail(ErrorCode::unsupported,
           "GPU " + std::to_string(index) + " (Fake) is of capability 6.1, 7.5 is needed");
    *device = new Device;
  });
}

void close(void* device) {
  delete static_cast<Device*>(device);
}

int allocate(void* device, uint64_t bytes, void** memory, char* message, size_t size) {
  return answer(message, size, [&] {
    Device& d = of(device);
    if (d.memory.used() + bytes > number("CAIRN_FAKE_CUDA_MEMORY", uint64_t{1} << 30))
      fail(ErrorCode::out_of_memory,
           "no " + std::to_string(bytes) + " bytes of the fake GPU's memory are free");
    *memory = d.memory.allocate(bytes);
  });
}

int release(void* device, void* memory, char* message, size_t size) {
  return answer(message, size, [&] { static_cast<Device*>(device)->memory.release(memory); });
}

int free_memory(void* device, uint64_t* free, uint64_t* all, char* message, size_t size) {
  return answer(message, size, [&] {
    *all = number("CAIRN_FAKE_CUDA_MEMORY", uint64_t{1} << 30);
    *free = *all - std::min(*all, of(device).memory.used());
  });
}

int move(void* device, void* to, const void* from, uint64_t bytes, bool in, bool out, char* message,
         size_t size) {
  return answer(message, size, [&] {
    const Device& d = of(device);
    if (in) d.memory.check(to, bytes);
    if (out) d.memory.check(from, bytes);
    std::memcpy(to, from, bytes);
  });
}
int upload(void* device, void* to, const void* from, uint64_t bytes, char* message, size_t size) {
  return move(device, to, from, bytes, true, false, message, size);
}
int download(void* device, void* to, const void* from, uint64_t bytes, char* message, size_t size) {
  return move(device, to, from, bytes, false, true, message, size);
}
int copy(void* device, void* to, const void* from, uint64_t bytes, char* message, size_t size) {
  return move(device, to, from, bytes, true, true, message, size);
}

uint64_t bytes_of(uint32_t encoding, uint64_t rows, uint64_t k) {
  const EncodingInfo& found = info(static_cast<Encoding>(encoding));
  if (k % found.block_elements != 0) fail(ErrorCode::unsupported, "a row that is not of whole blocks");
  return rows * (k / found.block_elements) * found.block_bytes;
}
int matrix_bytes(uint32_t encoding, uint64_t rows, uint64_t k, uint64_t* bytes, char* message, size_t size) {
  return answer(message, size, [&] { *bytes = bytes_of(encoding, rows, k); });
}
int upload_matrix(void* device, uint32_t encoding, uint64_t rows, uint64_t k, const void* from, void* to,
                  char* message, size_t size) {
  return answer(message, size, [&] {
    const uint64_t bytes = bytes_of(encoding, rows, k);
    of(device).memory.check(to, bytes);
    std::memcpy(to, from, bytes);
  });
}

int run_list(void* device, const CudaStep* step, const CudaCommand* commands, size_t number_of, uint64_t key,
             char* message, size_t size) {
  return answer(message, size, [&] {
    ++static_cast<Device*>(device)->lists;
    Device& d = of(device);
    if (key != 0) {
      const auto [known, added] = d.known.try_emplace(key, commands, commands + number_of);
      if (!added && (known->second.size() != number_of ||
                     std::memcmp(known->second.data(), commands, number_of * sizeof *commands) != 0))
        throw Failure{CudaPlugin::kOther, "two lists of one key differ"};
    }
    for (size_t i = 0; i < number_of; ++i) run(d.memory, *step, commands[i]);
  });
}

int forget(void* device, uint64_t key, char* message, size_t size) {
  return answer(message, size, [&] {
    Device& d = of(device);
    if (key == 0) d.known.clear();
    d.known.erase(key);
  });
}

int wait(void* device, char* message, size_t size) {
  return answer(message, size, [&] { of(device); });
}

uint64_t own_bytes(const void*) {
  return 0;
}

int staging(void* device, uint64_t bytes, void** memory, char* message, size_t size) {
  return answer(message, size, [&] {
    Device& d = of(device);
    d.staging.assign(bytes, std::byte{0xff});
    *memory = d.staging.data();
  });
}

}  // namespace

void* Memory::allocate(uint64_t bytes) {
  const uint64_t whole = (std::max<uint64_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, whole);
  std::memset(memory, 0xff, whole);  // NaN: nothing may be read before it is written
  blocks_[reinterpret_cast<uintptr_t>(memory)] = bytes;
  used_ += bytes;
  return memory;
}

void Memory::release(void* memory) {
  const auto found = blocks_.find(reinterpret_cast<uintptr_t>(memory));
  if (found == blocks_.end()) throw Failure{CudaPlugin::kOther, "what is released was not allocated"};
  used_ -= found->second;
  blocks_.erase(found);
  std::free(memory);
}

void Memory::check(const void* at, uint64_t bytes) const {
  const auto begin = reinterpret_cast<uintptr_t>(at);
  auto found = blocks_.upper_bound(begin);
  if (found != blocks_.begin()) {
    --found;
    if (begin + bytes <= found->first + found->second) return;
  }
  throw Failure{CudaPlugin::kOther, "a command touches memory that was not allocated"};
}

Memory::~Memory() {
  for (const auto& [at, bytes] : blocks_) std::free(reinterpret_cast<void*>(at));
}

}  // namespace cairn::fake_cuda

extern "C" {
extern const cairn::CudaPlugin cairn_cuda;
const cairn::CudaPlugin cairn_cuda = {
    .head = {sizeof(cairn::CudaPlugin), cairn::kPluginBuild},
    .count = cairn::fake_cuda::count,
    .describe = cairn::fake_cuda::describe,
    .open = cairn::fake_cuda::open,
    .close = cairn::fake_cuda::close,
    .allocate = cairn::fake_cuda::allocate,
    .release = cairn::fake_cuda::release,
    .free_memory = cairn::fake_cuda::free_memory,
    .upload = cairn::fake_cuda::upload,
    .download = cairn::fake_cuda::download,
    .copy = cairn::fake_cuda::copy,
    .matrix_bytes = cairn::fake_cuda::matrix_bytes,
    .upload_matrix = cairn::fake_cuda::upload_matrix,
    .run = cairn::fake_cuda::run_list,
    .forget = cairn::fake_cuda::forget,
    .wait = cairn::fake_cuda::wait,
    .own_bytes = cairn::fake_cuda::own_bytes,
    .staging = cairn::fake_cuda::staging,
};
}
