#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kernels/train.hpp"
#include "video/train/parameters.hpp"
#include "video/train/training_set.hpp"

namespace cairn::video {

// A crop's way through a network and back, with the memory it needs; one for each crop of a step, so that
// they run beside one another and their sums come out the same in any order.
class CropPass {
 public:
  // A crop of width × height small pixels.
  CropPass(const Network& network, uint32_t width, uint32_t height, kernels::Target target);

  // Cuts the crop and what the bicubic lacks to its original.
  void load(const TrainingSet& set, const CropSampler& sampler, const CropPlace& place);
  // Cuts the crop of planes (as many as the network has frames) that begins at (y, x) and may reach beyond
  // their edges, with nothing to compare it with: after forward(), value() is the restored one.
  void load(std::span<const PlaneView> small, uint32_t peak, int64_t y, int64_t x);
  // Of phase dy · scale + dx, at a small pixel of the crop; after load() of planes and forward(), in units of
  // the peak.
  const float* row(uint32_t phase, uint32_t y) const {
    return difference_.view.data + phase * difference_.view.plane + y * difference_.view.stride;
  }
  // The mean squared error (samples / peak), over all of the crop's output samples, those that don't count
  // taken as right.
  double forward(const PassWeights& weights);
  // After forward(): adds the gradient of the mean squared error by the effective weights.
  void backward(const PassWeights& weights, std::span<float> gradient);
  // After forward(): the largest output of layer i.
  float largest(size_t layer) const;

 private:
  struct Planes {
    std::vector<float> memory;
    kernels::TrainPlanes view{};  // at the planes' first valid sample
    uint32_t channels = 0;
    size_t rows = 0, columns = 0;  // valid ones
  };
  // Rows and columns of zeros on all sides: `border`.
  static Planes make_planes(uint32_t channels, size_t rows, size_t columns, size_t border);
  kernels::TrainShape shape(size_t layer) const;
  const Planes& input(size_t layer) const { return layer == 0 ? head_ : outputs_[layer - 1]; }
  void clear_garbage(Planes& planes) const;
  void cut(const PlaneView& plane, float to_unit, int64_t top, int64_t left, uint32_t around, float offset,
           float* to, size_t stride) const;
  void apply_bicubic();
  void upscale(const PlaneView& plane, float to_unit, int64_t top, int64_t left, uint32_t c);
  template <class Body>
  void for_phases(const Body& body);
  void make_errors();

  Network network_;  // its shape
  uint32_t width_, height_;
  const kernels::TrainKernels& kernels_;
  uint32_t margin_ = 0;          // small (or upscaled) pixels around the crop that the layers see
  Planes small_;                 // frame 0 with two pixels around the crop, samples / peak
  Planes head_;                  // the layers' input
  Planes target_;                // [scale²] original less bicubic, on the small grid
  Planes surroundings_;          // on_upscaled: the small pixels of the head's input, with two around them
  Planes upscaled_;              // … and [scale²] their bicubic, negative
  Planes counts_;                // [1] 1 or 0; empty when all count
  std::vector<Planes> outputs_;  // of each layer
  std::vector<Planes> errors_;   // by each layer's output
  Planes difference_;            // [scale²]
  std::vector<float> turned_;    // a layer's weights for the way back
  std::vector<float> bicubic_;   // [25][scale²], negative
};

}  // namespace cairn::video
