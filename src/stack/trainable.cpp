#include "stack/trainable.hpp"

#include <fmt/format.h>

#include "base/error.hpp"

namespace cairn::stack {
namespace {

using graph::OpKind;

enum class Place : uint8_t { embedding, layer, head, logits };

bool is_known(const graph::Op& op, Place place) {
  const bool inside = place == Place::layer || place == Place::head;
  switch (op.kind) {
    case OpKind::embed:
      return place == Place::embedding;
    case OpKind::scale:
      return true;
    case OpKind::softcap:
      return place == Place::logits;
    case OpKind::quantize:  // float here
      return true;
    case OpKind::norm_rms:
    case OpKind::norm_layer:
    case OpKind::linear:
    case OpKind::add:
      return inside;
    case OpKind::rope:
      return place == Place::layer;
    case OpKind::attention:
      return place == Place::layer && op.weight.empty() && op.causal && op.shared == 0 && op.head_size == 0;
    case OpKind::gate:
    case OpKind::activate:
      return inside && op.activation != graph::Activation::none &&
             op.activation != graph::Activation::sigmoid && op.activation != graph::Activation::relu_squared;
    case OpKind::add_position:
    case OpKind::add_row:
    case OpKind::rotate:
    case OpKind::route:
    case OpKind::expert_linear:
    case OpKind::head_linear:
    case OpKind::combine:
    case OpKind::weigh:
    case OpKind::join:
    case OpKind::part:
    case OpKind::convolve:
    case OpKind::delta_rule:
    case OpKind::selective_scan:
      return false;
  }
  return false;
}

void check(const graph::Op& op, Place place, const std::string& where) {
  if (is_known(op, place)) return;
  fail(ErrorCode::unsupported, "op '{}' of {} is not known to the tuner {}", graph::name(op.kind),
       graph::name(op.input), where);
}

}  // namespace

void check_trainable(const graph::Model& model) {
  for (const graph::Op& op : model.embed) check(op, Place::embedding, "behind the embedding");
  for (size_t layer = 0; layer < model.layers.size(); ++layer) {
    for (const graph::OpList& list : model.layers[layer])
      for (const graph::Op& op : list) check(op, Place::layer, fmt::format("in layer {}", layer));
  }
  Place place = Place::head;
  for (const graph::Op& op : model.head) {
    check(op, place, place == Place::head ? "in the head" : "behind the output product");
    if (op.kind == OpKind::linear) place = Place::logits;
  }
}

}  // namespace cairn::stack
