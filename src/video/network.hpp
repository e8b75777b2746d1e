// video: small networks that know one video; encoding it small with them, and restoring it where it is
// watched. This file: what a network is. How it is stored: attachment.hpp; how it is run fast: restore.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::video {

constexpr uint32_t kMaxScale = 4;       // x1 … x4
constexpr uint32_t kMaxChannels = 256;  // of any layer
constexpr uint32_t kMaxLayers = 64;
constexpr uint32_t kMaxKernel = 9;
constexpr uint32_t kSkipSide = 5;
constexpr uint32_t kSkipTaps = kSkipSide * kSkipSide;

// What the user asks for. "C8M4": head 1 → 8, four inner 8 → 8, tail 8 → scale², all 3×3. The paper's
// (arXiv 2303.08331): "ESPCN" (64-64-32, 3×3), "SRCNN" (9-5-5 on the upscaled frame), "VDSR" (20 layers of
// 3×3 on the upscaled frame), "EDSR" (16 residual blocks of 64), "WDSR" (16 blocks of 32, widened four
// times); with
// ":N" after VDSR, EDSR and WDSR the depth is N. "linear": the 5×5 filter alone.
struct Architecture {
  enum class Kind : uint8_t { linear, chain, espcn, srcnn, vdsr, edsr, wdsr };
  Kind kind = Kind::chain;
  uint32_t channels = 8;  // of a chain: 1 … 64
  uint32_t depth = 4;     // a chain's inner layers, or the blocks of the paper's
  uint32_t frames = 1;    // see Network::frames
  std::string name() const;
};
// Error invalid_argument names what is known. "C8M4T2", "C8M4T3": with the previous, and the next, frame.
Architecture parse_architecture(std::string_view name);

// One convolution. Its output: value = Σ weight · input + bias, then + the output of layer `add` (if ≥ 0;
// same channels), then ReLU if `relu`.
struct Layer {
  uint32_t in = 0, out = 0, kernel = 3;  // kernel is odd
  bool relu = false;
  int32_t add = -1;  // an earlier layer's index
  // [out][in][kernel][kernel]. When the network is quantised, weights[i] == codes[i] · scales[o] exactly as a
  // float product, |codes| < 2^(weight_bits - 1), and scales are binary16 values.
  std::vector<float> weights;
  std::vector<int8_t> codes;  // empty when not quantised
  std::vector<float> scales;  // [out]
  std::vector<float> bias;    // [out]; binary16 values when quantised
  float activation_max = 0;   // ReLU layers of quantised networks: outputs are taken as integers in
                              // [0, levels], integer = round(value · levels / activation_max), clamped
};

// A function from planes of the small (decoded) video to a plane `scale` times its size, of samples / peak.
//
// Input channel c at a pixel is sample / peak - 0.5, peak = 255 (8 bit) or 1023 (10 bit); channel 0 is the
// frame itself, 1 the frame before, 2 the frame after (where there is none: the frame itself). Integer
// execution takes 8-bit samples as they are and the upper eight bits, rounded, of deeper ones; the offset of
// 0.5 goes into the head's bias. A frame goes on beyond its edges by repetition of the edge's samples as far
// as the layers reach; layers have no padding of their own. So an output sample depends on its neighbourhood
// of the input alone, and running by tiles equals running on the whole frame.
//
// Output sample (y·s + dy, x·s + dx) = last layer's channel dy·s + dx at (y, x)
//   + Σ_taps (bicubic[dy·s + dx] + skip[dy·s + dx]) · sample / peak over the 5×5 of frame 0 around (y, x),
// clamped to [0, 1] (the whole 0 … peak) and rounded to an integer sample.
//
// `on_upscaled` (SRCNN, VDSR): the layers run on the bicubic upscaled frame (its values clamped to [0, 1],
// less 0.5) and the last layer's one channel is added at its own pixel; `skip` is still per phase of the
// small frame.
struct Network {
  enum class Plane : uint8_t { luma, chroma };  // chroma: run on U and on V, each alone
  Plane plane = Plane::luma;
  uint32_t scale = 2;   // 1 … 4
  uint32_t frames = 1;  // input channels: 1 this frame; 2 and the previous; 3 and the next
  bool on_upscaled = false;
  uint32_t weight_bits = 0;   // 4 … 8; 0: not quantised, float32
  std::vector<Layer> layers;  // may be empty ("linear")
  // [scale²][25], added to the bicubic's; all zero is the plain bicubic. When quantised: skip[p][t] ==
  // skip_codes[p][t] · skip_scales[p], |code| ≤ 127 whatever weight_bits is.
  std::vector<float> skip;
  std::vector<int8_t> skip_codes;
  std::vector<float> skip_scales;  // [scale²]

  // Largest integer of an activation: 255, or 127 at eight weight bits, so that the sum of two neighbouring
  // products stays within ±32,767 for every instruction set.
  uint32_t activation_levels() const noexcept { return weight_bits == 8 ? 127 : 255; }
};

// The 25 taps, row by row, of phase p = dy·scale + dx of Catmull–Rom bicubic (a = -0.5) interpolation with
// pixel centres aligned: small position (X + 0.5) / scale - 0.5. Scale 1 is the identity.
std::vector<float> bicubic_taps(uint32_t scale);  // [scale²][25]

// Layers with zero weights (and the sizes all right).
Network make_network(const Architecture& architecture, uint32_t scale);

uint64_t parameters(const Network& network);
double macs_per_small_pixel(const Network& network);

// Checks all sizes, ranges and finiteness that this file promises, so that whoever runs it need not. Error
// format: "what: reason".
void validate(const Network& network, const std::string& what);

// How far layers reach: pixels of small input on each side that an output pixel depends on (the 5×5
// included).
uint32_t reach(const Network& network);

// One plane of samples.
struct PlaneView {
  const uint16_t* samples = nullptr;
  uint32_t width = 0, height = 0;
  size_t stride = 0;  // in samples
};

// The network in double precision with its weights (quantised or not) and activations that are not quantised:
// slow, for tests and as the meaning of the words above. frames: as many as network.frames. The result is
// [height · scale][width · scale], samples / peak, neither clamped nor rounded.
std::vector<float> run_reference(const Network& network, const std::vector<PlaneView>& frames, uint32_t peak);

}  // namespace cairn::video
