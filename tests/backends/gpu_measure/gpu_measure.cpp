// For tools/cuda_models.sh: stacks of random planes, which are as fast as any others of their shape and are
// made in seconds; how soon a GPU's memory is free that one gives back; where a step's time goes.
//   gpu_measure stack MODEL STACK   writes one of the model's shape
//   gpu_measure shrink STACK        prints the milliseconds until 1 GB is free
//   gpu_measure steps MODEL         prints what a step of so many sequences takes, without and with logits
#include <fmt/format.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

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

void steps(const std::string& path) {
  constexpr uint32_t kPrompt = 64, kSteps = 64;
  const auto engine = cuda::make_device_engine(gguf::File(path), {.context = 512, .device = "cuda"});
  const size_t vocabulary = engine->model().parameters.vocabulary;
  const std::vector<int32_t> prompt(kPrompt, 7);
  for (const size_t count : {1, 2, 4, 8, 16, 32, 64}) {
    std::vector<std::unique_ptr<engine::Sequence>> sequences;
    std::vector<float> logits(count * vocabulary);
    for (size_t s = 0; s < count; ++s) {
      sequences.push_back(engine->make_sequence());
      engine->step({sequences.back().get(), prompt});
    }
    std::array<double, 2> milliseconds{};
    for (const bool wanted : {false, true}) {
      std::vector<engine::Slice> slices;
      for (size_t s = 0; s < count; ++s) {
        slices.push_back({sequences[s].get(), std::span(prompt).first(1),
                          wanted ? engine::Logits::last : engine::Logits::none,
                          logits.data() + s * vocabulary});
      }
      for (int warm = 0; warm < 3; ++warm) engine->step(slices);
      const Stopwatch watch;
      for (uint32_t i = 0; i < kSteps; ++i) engine->step(slices);
      milliseconds[wanted ? 1 : 0] = watch.seconds() * 1e3 / kSteps;
    }
    fmt::print("{:2} sequences: {:.3f} ms without logits, {:.3f} with\n", count, milliseconds[0],
               milliseconds[1]);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 3 && arguments[0] == "stack") {
    resident::write_plain_stack(arguments[1], arguments[2], {.rows_per_group = 512, .random = true});
  } else if (arguments.size() == 2 && arguments[0] == "shrink") {
    shrink(arguments[1]);
  } else if (arguments.size() == 2 && arguments[0] == "steps") {
    steps(arguments[1]);
  } else {
    return 2;
  }
  return 0;
} catch (const std::exception& error) {
  fmt::print(stderr, "gpu_measure: {}\n", error.what());
  return 1;
}
