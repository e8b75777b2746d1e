#include "backends/cuda/weights.hpp"

#include <algorithm>
#include <utility>

#include "backends/cpu/executor.hpp"
#include "kernels/kernel_set.hpp"

namespace cairn::cuda {
namespace {

constexpr uint64_t kAlignment = 256;

}  // namespace

Weights::Weights(const Device& device, const gguf::File& file, const graph::Model& model, uint32_t context,
                 const std::set<std::string>& stacked)
    : file_(file), context_(context), stacked_(stacked) {
  each_op(model, [&](const graph::Op& op) { add(device, op); });
}

uint64_t Weights::place(uint64_t bytes) {
  return std::exchange(bytes_, bytes_ + (bytes + kAlignment - 1) / kAlignment * kAlignment);
}

void Weights::add(const Device& device, const graph::Op& op) {
  switch (op.kind) {
    case graph::OpKind::embed:
    case graph::OpKind::linear:
      add_matrix(device, op.weight);
      add_vector(op.bias);
      break;
    case graph::OpKind::norm_rms:
    case graph::OpKind::norm_layer:
    case graph::OpKind::scale:
      add_vector(op.weight);
      add_vector(op.bias);
      break;
    case graph::OpKind::rope: {
      const auto same = [&](const Rope& known) { return known.rope == op.rope; };
      if (std::any_of(ropes_.begin(), ropes_.end(), same)) break;
      if (!op.rope.factors.empty()) add_vector(op.rope.factors);
      ropes_.push_back({op.rope, place(uint64_t{context_} * op.rope.dims * sizeof(float))});
      break;
    }
    default:
      break;
  }
}

void Weights::add_matrix(const Device& device, const std::string& name) {
  if (stacked_.contains(name) || matrices_.contains(name)) return;
  const gguf::Tensor& tensor = file_.tensor(name);
  const uint64_t rows = tensor.rows(), k = tensor.row_elements();
  const uint64_t bytes = device.matrix_bytes(tensor.encoding, rows, k);
  matrices_[name] = {place(bytes), bytes, tensor.encoding, static_cast<uint32_t>(rows),
                     static_cast<uint32_t>(k)};
}

void Weights::add_vector(const std::string& name) {
  if (name.empty() || vectors_.contains(name)) return;
  const gguf::Tensor& tensor = file_.tensor(name);
  Vector& vector = vectors_[name];
  vector.values.resize(tensor.elements());
  kernels::kernel_set(kernels::default_target())
      .encoding(tensor.encoding)
      .dequantize(tensor.data.data(), tensor.elements(), vector.values.data());
  vector.offset = place(vector.values.size() * sizeof(float));
}

void Weights::upload(const std::shared_ptr<Device>& device) {
  memory_ = Memory(device, bytes_);
  for (const auto& [name, placed] : matrices_) {
    device->upload_matrix(placed.encoding, placed.rows, placed.k, file_.tensor(name).data.data(),
                          memory_.data() + placed.offset);
  }
  for (const auto& [name, vector] : vectors_)
    device->upload(memory_.data() + vector.offset, vector.values.data(),
                   vector.values.size() * sizeof(float));
  for (const auto& [rope, offset] : ropes_) {
    const uint32_t half = rope.dims / 2;
    const std::vector<float>* factors = rope.factors.empty() ? nullptr : &vectors_.at(rope.factors).values;
    std::vector<float> table(size_t{context_} * rope.dims);
    for (uint32_t position = 0; position < context_; ++position) {
      float* row = table.data() + size_t{position} * rope.dims;
      cpu::rope_table(rope, factors, position, 1, row, row + half);
    }
    device->upload(memory_.data() + offset, table.data(), table.size() * sizeof(float));
  }
  device->wait();
}

Weights::Matrix Weights::matrix(const std::string& name) const {
  const Placed& placed = matrices_.at(name);
  return {memory_.data() + placed.offset, placed.encoding, placed.rows, placed.k};
}

const float* Weights::rope(const graph::Rope& rope) const {
  const auto found =
      std::find_if(ropes_.begin(), ropes_.end(), [&](const Rope& known) { return known.rope == rope; });
  return memory_.as<float>(found->offset);
}

void require_supported(const graph::Model& model, const std::string& path) {
  const auto refuse = [&](const std::string& what) {
    fail(ErrorCode::unsupported, "{}: cairn has no CUDA kernel for {}: architecture '{}' runs on the CPU",
         path, what, model.parameters.architecture);
  };
  if (!model.parameters.causal) refuse("attention to what lies behind");
  if (!model.draft.empty()) refuse("a layer that drafts");
  each_op(model, [&](const graph::Op& op) {
    using graph::OpKind;
    switch (op.kind) {
      case OpKind::attention:
        if (!op.weight.empty()) refuse("attention sinks");
        break;
      case OpKind::gate:
        if (op.activation == graph::Activation::silu_clamped) refuse("a clamped gate");
        break;
      case OpKind::embed:
      case OpKind::scale:
      case OpKind::norm_rms:
      case OpKind::norm_layer:
      case OpKind::rotate:
      case OpKind::quantize:
      case OpKind::linear:
      case OpKind::rope:
      case OpKind::activate:
      case OpKind::add:
      case OpKind::softcap:
        break;
      default:
        refuse(fmt::format("the op '{}'", graph::name(op.kind)));
    }
  });
}

}  // namespace cairn::cuda
