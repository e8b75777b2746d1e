#include "offload/layer_graph.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>

#include "backends/cpu/executor.hpp"
#include "base/error.hpp"
#include "offload/accelerator.hpp"

namespace cairn::offload {
namespace {

using graph::Op;
using graph::OpKind;
using graph::Slot;
using graph::SubgraphKind;

constexpr std::array<const char*, 3> kForms = {"products", "layers-a16", "layers-fp16"};

// Of a list that begins with adding what the layer before it left: how many ops that takes.
size_t finishing(const graph::OpList& ops) {
  size_t count = 0;
  for (size_t i = 0; i < ops.size(); ++i) {
    if (ops[i].kind == OpKind::add && ops[i].output == Slot::hidden) count = i + 1;
  }
  return count;
}

// Why a device does not get the op; null: it does.
const char* reason(const Op& op) {
  switch (op.kind) {
    case OpKind::scale:
    case OpKind::quantize:
    case OpKind::linear:
    case OpKind::add:
    case OpKind::gate:
    case OpKind::activate:
      break;
    case OpKind::norm_rms:
      if (op.own) return "norms of single heads";
      break;
    case OpKind::rope:
      if (op.offset != 0) return "RoPE in the middle of a head";
      if (op.rope.temperature != 0) return "attention with a temperature";
      break;
    case OpKind::attention:
      if (!op.weight.empty()) return "attention with sinks";
      if (!op.causal) return "attention that looks ahead";
      break;
    default:
      return graph::name(op.kind);
  }
  if (op.kind == OpKind::gate || op.kind == OpKind::activate) {
    if (op.activation == graph::Activation::silu_clamped || op.offset != 0) return "this activation";
  }
  return nullptr;
}

// Of a sample of each matrix, and of everything else.
uint64_t hash_of(const std::vector<cpu::BoundOp>& ops) {
  uint64_t hash = 0;
  const auto add = [&](const void* data, size_t bytes) {
    hash = XXH3_64bits_withSeed(data, bytes, hash + 1);
  };
  for (const cpu::BoundOp& bound : ops) {
    const Op& op = bound.op;
    const std::string fields = fmt::format(
        "{} {} {} {} {} {} {} {} {} {} {} {} {}", static_cast<int>(op.kind), static_cast<int>(op.input),
        static_cast<int>(op.input2), static_cast<int>(op.output), op.weight, op.rows, op.epsilon, op.factor,
        op.softcap, op.window, op.heads, static_cast<int>(op.activation), op.rope.neox);
    add(fields.data(), fields.size());
    if (bound.weight != nullptr) add(bound.weight->data(), bound.weight->size() * sizeof(float));
    if (op.kind != OpKind::linear) continue;
    if (bound.bias != nullptr) add(bound.bias, bound.matrix.rows * sizeof(float));
    const size_t step = std::max<size_t>(1, bound.matrix.rows / 16);
    for (size_t r = 0; r < bound.matrix.rows; r += step) add(bound.matrix.row(r), bound.matrix.row_bytes);
  }
  return hash;
}

}  // namespace

const char* name(NpuForm form) {
  return kForms[static_cast<size_t>(form)];
}

NpuForm parse_npu_form(std::string_view name) {
  const auto found = std::ranges::find(kForms, name);
  if (found == kForms.end()) {
    fail(ErrorCode::invalid_argument, "no form is called '{}': there are {}, {}, {}", name, kForms[0],
         kForms[1], kForms[2]);
  }
  return static_cast<NpuForm>(found - kForms.begin());
}

Accelerator::~Accelerator() = default;

std::unique_ptr<AcceleratorLayer> Accelerator::compile_layer(const LayerGraph&) {
  fail(ErrorCode::unsupported, "{} takes products alone: --npu-form products; whole layers are for qnn",
       traits().name);
}

const Op& LayerGraph::attention() const {
  return std::ranges::find(ops, OpKind::attention, [](const cpu::BoundOp& bound) { return bound.op.kind; })
      ->op;
}

uint32_t LayerGraph::kv_heads() const {
  return cpu::kv_heads_of(model->parameters, attention());
}

uint32_t LayerGraph::head_size() const {
  return static_cast<uint32_t>(cpu::attention_shape(model->parameters, attention()).head_size);
}

const cpu::BoundOp* LayerGraph::rope() const {
  const auto found =
      std::ranges::find(ops, OpKind::rope, [](const cpu::BoundOp& bound) { return bound.op.kind; });
  return found == ops.end() ? nullptr : &*found;
}

uint32_t past_of(uint32_t context) {
  constexpr uint32_t kStep = 32;
  return (context + kStep - 1) / kStep * kStep;
}

std::vector<LayerGraph> layer_graphs(cpu::Plan& plan, const graph::Model& model) {
  std::vector<LayerGraph> layers;
  for (uint32_t i = 0; i < model.layers.size(); ++i) {
    graph::OpList list;
    for (const graph::OpList& part : model.layers[i]) {
      const size_t begin = &part == &model.layers[i].front() ? finishing(part) : 0;
      list.insert(list.end(), part.begin() + static_cast<ptrdiff_t>(begin), part.end());
    }
    const graph::OpList& next = i + 1 < model.layers.size() ? model.layers[i + 1].front() : model.head;
    list.insert(list.end(), next.begin(), next.begin() + static_cast<ptrdiff_t>(finishing(next)));
    LayerGraph& layer = layers.emplace_back();
    layer.name = fmt::format("blk.{}", i);
    layer.path = plan.path();
    layer.model = &model;
    size_t attentions = 0;
    for (const Op& op : list) {
      if (const char* why = reason(op)) {
        fail(ErrorCode::unsupported,
             "{}: layer {}: {} is not in whole layers on a device: --npu-form products does", plan.path(), i,
             why);
      }
      attentions += op.kind == OpKind::attention ? 1 : 0;
    }
    if (attentions != 1)
      fail(ErrorCode::unsupported, "{}: layer {} has no attention: --npu-form products does", plan.path(), i);
    for (cpu::Step& step : plan.steps(list, i)) {
      for (cpu::BoundOp& bound : step.ops) {
        if (bound.matrix.stack != nullptr) {
          fail(ErrorCode::unsupported,
               "{}: is a stack, whose planes go to a device as products: --npu-form products", plan.path());
        }
        layer.ops.push_back(std::move(bound));
      }
    }
    layer.key = hash_of(layer.ops);
  }
  return layers;
}

}  // namespace cairn::offload
