#include "backends/make_engine.hpp"

#include "backends/cpu/engine.hpp"
#include "backends/cuda/engine.hpp"
#include "backends/cuda/list_devices.hpp"
#include "base/error.hpp"
#include "base/log.hpp"

namespace cairn::backends {
namespace {

bool asks_for_the_cpu(const engine::Options& options) {
  return options.precision == engine::Precision::f32 || options.kv != engine::KvType::f16 ||
         options.observer || options.memory != 0 || options.memory_auto;
}

// Null: there is no GPU, or it cannot take the model.
std::unique_ptr<engine::Engine> try_gpu(const gguf::File& file, engine::Options options) {
  const cuda::DeviceList list = cuda::list_devices();
  if (list.devices.empty()) {
    debug("no GPU: {}", list.reason);
    return nullptr;
  }
  options.device = "cuda:0";
  try {
    std::unique_ptr<engine::Engine> made = cuda::make_engine(file, options);
    debug("{}: on {}", file.path(), cuda::device_of(*made));
    return made;
  } catch (const Error& error) {
    const bool of_the_gpu = error.code() == ErrorCode::unsupported ||
                            error.code() == ErrorCode::out_of_memory || error.code() == ErrorCode::io;
    if (!of_the_gpu) throw;
    if (options.warn) options.warn(fmt::format("{}; the CPU computes", error.what()));
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<engine::Engine> make_engine(const gguf::File& file, const engine::Options& options) {
  if (options.device == "auto") {
    std::unique_ptr<engine::Engine> gpu = asks_for_the_cpu(options) ? nullptr : try_gpu(file, options);
    return gpu ? std::move(gpu) : cpu::make_engine(file, options);
  }
  if (options.device.empty() || options.device == "cpu") return cpu::make_engine(file, options);
  return cuda::make_engine(file, options);
}

}  // namespace cairn::backends
