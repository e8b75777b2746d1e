// How far a model of nested codes is from its source, and what each scale has to do with it.
// libcairn_torch.so sees this and no more of cairn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace cairn::stack {

using Levels = std::vector<std::vector<uint8_t>>;  // [matrix][group]

// A matrix of nested codes; its rows as the stack's file has them ("stored").
struct CodedMatrix {
  std::string name;
  uint32_t rows = 0, columns = 0, rows_per_group = 0;
  bool rotated = false;
  std::vector<uint8_t> codes;    // [stored row][columns], of 7 bits
  std::vector<uint32_t> stored;  // of the source's rows
  std::vector<float> scales;     // [level − 1][stored row], before tuning
  size_t first = 0;              // of its parameters, [level − 1][stored row]

  size_t parameter(uint8_t level, size_t row) const { return first + (level - 1) * size_t{rows} + row; }
};

class Distiller {
 public:
  // Called every some tenths of a second; what it throws ends the work.
  using Tick = std::function<void()>;
  struct Work {
    std::span<const size_t> windows;  // some of the distillation's
    const Levels& levels;             // of the prefix; above kPlanes: the source's own rows
    std::span<const float> changes;   // [parameter]: a scale counts as scale · (1 + change)
  };

  virtual ~Distiller() = default;
  // KL(source ‖ coded model), nats a token, the mean over the windows; writes its slopes in the changes.
  virtual double gradients(const Work& work, std::span<float> slopes, const Tick& tick) = 0;
};

// Where the work is done. automatic: cuda where libcairn_torch.so and a GPU are found, else cpu.
enum class TuneOn : uint8_t { automatic, cpu, torch, cuda };

}  // namespace cairn::stack
