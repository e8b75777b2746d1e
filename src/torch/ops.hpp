// A model's op lists on libtorch: activations are [tokens][features], some windows of one length at once.
#pragma once

#include <torch/types.h>

#include <array>
#include <functional>
#include <string>
#include <unordered_map>

#include "stack/torch_job.hpp"

namespace cairn::torch_part {

using Slots = std::array<at::Tensor, static_cast<size_t>(graph::Slot::count)>;

inline at::Tensor& slot(Slots& slots, graph::Slot s) {
  return slots[static_cast<size_t>(s)];
}

class Ops {
 public:
  // x · Wᵀ of a linear's rows, without bias.
  using Product = std::function<at::Tensor(const graph::Op& op, const at::Tensor& x)>;

  Ops(const stack::TorchJob& job, at::Device device);

  // All but embed; linears by `product`.
  void run(const graph::Op& op, Slots& slots, const Product& product);
  at::Tensor upload(const std::vector<float>& values) const;
  // A vector of the source, kept on the device. Undefined for an empty name.
  at::Tensor vector(const std::string& name);

 private:
  at::Tensor normed(const graph::Op& op, const at::Tensor& x);
  at::Tensor roped(const graph::Op& op, const at::Tensor& x);
  at::Tensor attention(const graph::Op& op, Slots& slots) const;

  const stack::TorchJob& job_;
  const at::Device device_;
  const int64_t window_;
  std::unordered_map<std::string, at::Tensor> vectors_;
  std::unordered_map<const graph::Op*, at::Tensor> ropes_;  // [2][window][dims / 2]
};

}  // namespace cairn::torch_part
