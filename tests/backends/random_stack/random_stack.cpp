// For tools/cuda_models.sh: a stack of random planes, which is as fast as any other of its shape and is made
// in seconds; and how soon a GPU's memory is free that such a stack gives back.
//   random_stack MODEL STACK        writes one of the model's shape
//   random_stack --shrink STACK     prints the milliseconds until 1 GB is free
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "backends/cuda/engine.hpp"
#include "backends/cuda/list_devices.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "resident/plain_stack.hpp"

namespace {

using namespace cairn;

void shrink(const std::string& path) {
  constexpr uint64_t kBytes = 1'000'000'000;
  const auto engine = cuda::make_device_engine(gguf::File(path), {.context = 256, .device = "cuda"});
  const auto sequence = engine->make_sequence();
  engine->step({sequence.get(), std::vector<int32_t>{1, 2, 3}});
  const engine::MemoryStatus before = engine->memory();
  const uint64_t free = cuda::list_devices().devices.front().free;
  const Stopwatch watch;
  engine->set_memory(before.device - kBytes);
  const double seconds = watch.seconds();
  const uint64_t now = cuda::list_devices().devices.front().free;
  fmt::print("{:.1f} ms until {:.2f} GB are free: from {:.2f} to {:.2f} bits a weight\n", seconds * 1e3,
             static_cast<double>(now - free) * 1e-9, before.bits, engine->memory().bits);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) return 2;
  if (std::string_view(argv[1]) == "--shrink") {
    shrink(argv[2]);
  } else {
    resident::write_plain_stack(argv[1], argv[2], {.rows_per_group = 512, .random = true});
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "random_stack: {}\n", error.what());
  return 1;
}
