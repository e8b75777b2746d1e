// quantize: how a model's linear inputs and weights become int8 for engines that know nothing else:
// calibration, scales, rotations, and the choice between them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graph/graph.hpp"

namespace cairn::kernels {
struct VectorKernels;
struct StaticKernels;
}  // namespace cairn::kernels

namespace cairn::quantize {

// The inputs of a layer's linear products; q, k, v share one, gate and up another.
enum class Input : uint8_t { qkv, attention_output, gate_up, down, count };
constexpr size_t kInputs = static_cast<size_t>(Input::count);
const char* name(Input input);

// x → int8: q = clamp(round(x' / s), −127, 127), x' = rotated or divided x.
enum class ScaleKind : uint8_t {
  fixed,  // one s for the tensor, known beforehand
  token,  // one s a token, largest |x'| / 127: rows are scaled outside the device, whose product stays static
};
enum class Outliers : uint8_t {
  clamp,   // what exceeds ±127 s is lost
  shadow,  // round(x'/s) − clamp(round(x'/s)) is multiplied in float beside the device and added: exact
  mixed,   // LLM.int8() (arXiv 2208.07339): columns with any |x'| ≥ threshold leave the int8 product whole
};

// What happens to one linear input.
struct Treatment {
  bool float_product = false;  // no int8 at all: the CPU's float product; the fields below mean nothing then
  ScaleKind scale_kind = ScaleKind::token;
  float scale = 0;  // fixed: s > 0
  Outliers outliers = Outliers::clamp;
  float threshold = 0;            // mixed: in units of x'
  bool rotate = false;            // x' = x · R (see Rotation), weights likewise, after `divisors`
  std::vector<float> divisors{};  // SmoothQuant (arXiv 2211.10438): x'_k = x_k / divisors[k], weights ·
                                  // divisors[k]; empty: none
  std::vector<uint32_t>
      hot{};  // channels whose weights stay in memory in float for shadow execution, ascending
};

enum class WeightScale : uint8_t { row, tensor };

// Everything that a device needs to run a model's products in int8.
struct Scheme {
  std::string name;  // "shadow 99.7 %, prune 50 %"
  WeightScale weight_scale = WeightScale::row;
  uint32_t float_tokens = 0;  // the prompt's first tokens have all their products in float (attention sinks)
  std::vector<std::array<Treatment, kInputs>> layers;
  uint64_t fingerprint() const;  // of all the fields: blobs compiled for one scheme don't serve another
};

// R = D · (Q ⊗ H): random signs, an orthonormal Hadamard transform of the largest power of two n that divides
// the width, and an orthonormal m × m mixing (m = width / n, odd) of its blocks, so that an outlier spreads
// over the whole width (QuaRot, arXiv 2404.00456). Deterministic in the width alone.
class Rotation {
 public:
  explicit Rotation(uint32_t width);
  uint32_t width() const { return width_; }
  // Floats of scratch that each call below wants: they run in threads that shall not allocate.
  size_t scratch_floats() const;
  // In place on x [width]: x · R. The same call rotates a weight row, since (x R)(W R)ᵀ = x Wᵀ.
  void apply(float* x, float* scratch) const;
  // In place on a tile [width][lanes] (lanes as kernels::GemmKernels::tile_tokens).
  void apply_tile(float* x, size_t lanes, float* scratch) const;
  // The inverse: x · Rᵀ.
  void apply_inverse(float* x, float* scratch) const;

 private:
  const kernels::VectorKernels* vector_;
  const kernels::StaticKernels* static_;
  uint32_t width_, block_, blocks_;
  std::vector<float> signs_;   // [width]
  std::vector<float> mixing_;  // [blocks][blocks]
};

}  // namespace cairn::quantize
