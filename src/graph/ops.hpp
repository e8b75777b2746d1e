// Short names for the ops that families put into their lists, and the blocks that several families share.
#pragma once

#include <string>

#include "graph/graph.hpp"

namespace cairn::graph {

// "blk.<layer>.<part>", as GGUF files name a layer's tensors.
std::string layer_tensor(uint32_t layer, const char* part);

Op embed_op(std::string weight);
Op add_position_op(Slot slot, std::string weight, uint32_t rows);
Op add_row_op(Slot slot, std::string weight, uint32_t rows, uint32_t row);
Op scale_op(Slot slot, float factor);
Op copy_op(Slot input, Slot output);  // a scale by 1
Op norm_rms_op(Slot input, Slot output, std::string weight, float epsilon, uint32_t heads = 0);
Op norm_layer_op(Slot input, Slot output, std::string weight, std::string bias, float epsilon);
Op quantize_op(Slot slot);
Op linear_op(Slot input, Slot output, std::string weight, std::string bias, uint32_t rows,
             uint32_t row_begin = 0);
Op rope_op(Slot slot, uint32_t heads, const Rope& rope);
// gate = activation(gate) * up
Op gate_op(Activation activation, Slot gate = Slot::gate, Slot up = Slot::up);
// values = activation(gate) * values
Op gate_values_op(Activation activation, Slot gate, Slot values);
Op activate_op(Slot slot, Activation activation);
Op add_op(Slot branch);  // hidden += branch

// An op on the slots gate and up: of these what the layer's ffn is wide, where layers differ.
Op narrow_op(Op op, const HyperParameters& parameters, uint32_t layer);

OpList& subgraph(Layer& layer, SubgraphKind kind);

// The bias's tensor name when the model has it, else empty.
std::string bias_if(bool present, uint32_t layer, const char* part);

// normed → query, key, value; one tensor or three.
void add_qkv(OpList& ops, const HyperParameters& parameters, uint32_t layer);
// q/k norms, RoPE, attention; the context is marked for the output projection.
void add_attention(OpList& ops, const HyperParameters& parameters, uint32_t layer);
// A layer with a recurrent state: normed → branch by a short convolution between two gates, as
// shortconv.in_proj and shortconv.out_proj have them (lfm2).
void add_short_convolution(Layer& layer, const HyperParameters& parameters, uint32_t index);
// normed → branch by a short convolution and the gated delta rule behind it (qwen35).
void add_delta_net(Layer& layer, const HyperParameters& parameters, uint32_t index);
// normed → branch by a short convolution and a selective scan behind it, gated and normed group by group
// (Mamba-2).
void add_mamba2(Layer& layer, const HyperParameters& parameters, uint32_t index);
// normed → router: the experts' scores, then their weights. `of`: an OpKind::route with what is not in the
// parameters; its weight and bias are parts of the layer's tensors' names.
void add_router(OpList& ops, const HyperParameters& parameters, uint32_t layer, const Op& of = {});
// normed, router → branch or branch2 by the experts of each token.
void add_expert_products(OpList& ops, const HyperParameters& parameters, uint32_t layer,
                         Activation activation, Slot branch);
// normed → branch by the experts of each token, and → branch2 by the one that all share, where there is one.
void add_experts(OpList& ops, const HyperParameters& parameters, uint32_t layer, Activation activation);
// normed → context_heads by multi-head latent attention, its keys and values compressed in the cache; and →
// branch.
void add_latent_attention(Layer& layer, const HyperParameters& parameters, uint32_t index);
// context → branch
void add_attention_output(OpList& ops, const HyperParameters& parameters, uint32_t layer);
// normed → branch or branch2, without a gate
void add_plain_ffn(OpList& ops, const HyperParameters& parameters, uint32_t layer, Activation activation,
                   Slot branch);
// hidden → logits after the last branches are added: linear and, where the model has one, the soft cap.
void add_output(OpList& ops, const HyperParameters& parameters);

// The usual ffn: normed → branch.
void add_ffn(OpList& ops, const HyperParameters& parameters, uint32_t layer, Activation activation);

// What distinguishes the families whose attention and ffn come one after the other.
struct SequentialStyle {
  Activation activation = Activation::silu;
  bool scale_embedding = false;              // hidden *= sqrt(embedding) after the look-up
  bool input_norms = true;                   // a norm on what attention and ffn read
  bool post_norms = false;                   // a norm on each branch before it is added
  const char* ffn_norm = "ffn_norm.weight";  // the one on what the ffn reads
  const char* output_norm = "output_norm.weight";
  // Of layers with a recurrent state: what stands in place of attention.
  void (*recurrent)(Layer& layer, const HyperParameters& parameters, uint32_t index) = nullptr;
  // … and of all others, where it is not the usual one.
  void (*attention)(Layer& layer, const HyperParameters& parameters, uint32_t index) = nullptr;
};

// RMS norm → attention → add → RMS norm → gated ffn → add.
Model build_sequential(const HyperParameters& parameters, const SequentialStyle& style);
// Its layer that drafts, of a block as build_sequential() makes with attention.
Draft build_draft(const HyperParameters& parameters, const SequentialStyle& style);

}  // namespace cairn::graph
