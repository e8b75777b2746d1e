#include "backends/cuda/device.hpp"

#include <array>
#include <charconv>
#include <utility>

namespace cairn::cuda {
namespace {

// Calls a function of the library, whose last arguments are the message's place and size.
template <class Function, class... Arguments>
void checked(const Function& function, Arguments... arguments) {
  std::array<char, 4096> message{};
  const int status = function(arguments..., message.data(), message.size());
  if (status == CudaPlugin::kLost) throw DeviceLost(message.data());
  check_plugin_call(status, message.data());
}

const CudaPlugin& plugin() {
  return open_plugin<CudaPlugin>(
      own_library(CudaPlugin::kLibrary, "it belongs beside cairn, where cairn was built with CUDA"));
}

}  // namespace

std::string capability_text(const DeviceSummary& device) {
  return fmt::format("{}.{}", device.capability / 10, device.capability % 10);
}

std::string driver_text(const DeviceSummary& device) {
  return fmt::format("{}.{}", device.driver / 1000, device.driver % 1000 / 10);
}

DeviceList list_devices() {
  DeviceList list;
  try {
    const CudaPlugin& found = plugin();
    int32_t count = 0;
    checked(found.count, &count);
    for (int32_t i = 0; i < count; ++i) {
      CudaDeviceInfo info{};
      checked(found.describe, i, &info);
      list.devices.push_back(
          {info.name, info.memory, info.free, info.capability, info.processors, info.driver});
    }
    if (count == 0) list.reason = "there is no NVIDIA GPU";
  } catch (const Error& error) {
    list.devices.clear();
    list.reason = error.what();
  }
  return list;
}

uint32_t device_index(std::string_view name) {
  uint32_t index = 0;
  const auto refuse = [&] {
    fail(ErrorCode::invalid_argument, "device '{}': cpu, auto, cuda or cuda:N with the number of a GPU",
         name);
  };
  if (!name.starts_with("cuda")) refuse();
  const std::string_view rest = name.substr(4);
  if (rest.empty()) return 0;
  const auto [end, status] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), index);
  if (rest[0] != ':' || rest.size() == 1 || status != std::errc() || end != rest.data() + rest.size())
    refuse();
  return index;
}

Memory::Memory(std::shared_ptr<Device> device, uint64_t bytes)
    : device_(std::move(device)), data_(device_->allocate(bytes)), bytes_(bytes) {}

Memory::Memory(Memory&& other) noexcept
    : device_(std::move(other.device_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(device_, other.device_);
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Memory::~Memory() {
  if (data_ != nullptr) device_->release(data_);
}

std::shared_ptr<Device> Device::open(uint32_t index) {
  const CudaPlugin& found = plugin();
  int32_t count = 0;
  checked(found.count, &count);
  if (count <= 0) fail(ErrorCode::not_found, "there is no NVIDIA GPU");
  if (index >= static_cast<uint32_t>(count))
    fail(ErrorCode::not_found, "there is no GPU cuda:{}: the last is cuda:{}", index, count - 1);
  return std::shared_ptr<Device>(new Device(found, index));
}

Device::Device(const CudaPlugin& plugin, uint32_t index) : plugin_(plugin) {
  checked(plugin_.describe, static_cast<int32_t>(index), &info_);
  name_ = fmt::format("cuda:{} ({})", index, info_.name);
  checked(plugin_.open, static_cast<int32_t>(index), &device_);
}

Device::~Device() {
  plugin_.close(device_);
}

template <class Function, class... Arguments>
void Device::call(const Function& function, Arguments... arguments) const {
  checked(function, device_, arguments...);
}

uint64_t Device::free_memory() const {
  uint64_t free = 0, all = 0;
  call(plugin_.free_memory, &free, &all);
  return free;
}

uint64_t Device::own_bytes() const {
  return plugin_.own_bytes(device_);
}

std::byte* Device::allocate(uint64_t bytes) const {
  void* memory = nullptr;
  call(plugin_.allocate, bytes, &memory);
  return static_cast<std::byte*>(memory);
}

void Device::release(std::byte* memory) const noexcept {
  std::array<char, 4096> message{};
  plugin_.release(device_, memory, message.data(), message.size());  // of a lost device it is gone anyway
}

void Device::upload(void* to, const void* from, uint64_t bytes) const {
  call(plugin_.upload, to, from, bytes);
}

void Device::download(void* to, const void* from, uint64_t bytes) const {
  call(plugin_.download, to, from, bytes);
}

void Device::copy(void* to, const void* from, uint64_t bytes) const {
  call(plugin_.copy, to, from, bytes);
}

uint64_t Device::matrix_bytes(Encoding encoding, uint64_t rows, uint64_t k) const {
  uint64_t bytes = 0;
  checked(plugin_.matrix_bytes, static_cast<uint32_t>(encoding), rows, k, &bytes);
  return bytes;
}

void Device::upload_matrix(Encoding encoding, uint64_t rows, uint64_t k, const void* from, void* to) const {
  call(plugin_.upload_matrix, static_cast<uint32_t>(encoding), rows, k, from, to);
}

void Device::run(const CudaStep& step, std::span<const CudaCommand> commands, uint64_t key) const {
  call(plugin_.run, &step, commands.data(), commands.size(), key);
}

void Device::forget(uint64_t key) const {
  call(plugin_.forget, key);
}

float* Device::staging(uint64_t floats) const {
  void* memory = nullptr;
  if (plugin_.staging != nullptr) call(plugin_.staging, floats * sizeof(float), &memory);
  return static_cast<float*>(memory);
}

void Device::wait() const {
  call(plugin_.wait);
}

}  // namespace cairn::cuda
