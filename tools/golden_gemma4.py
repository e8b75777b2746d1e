"""Gemma 4 for make_golden_logits.py: names and metadata as llama.cpp's converter has them."""
import gguf
import numpy as np
import torch
import transformers as tf

import golden_mixtures

TOKENS = 40
# Names without ".weight" in both.
BARE = {"layer_scalar": "layer_output_scale.weight", "router.scale": "ffn_gate_inp.scale",
        "router.per_expert_scale": "ffn_down_exps.scale", "experts.gate_up_proj": "ffn_gate_up_exps.weight",
        "experts.down_proj": "ffn_down_exps.weight"}
NAMES = {
    "embed_tokens": "token_embd", "norm": "output_norm", "embed_tokens_per_layer": "per_layer_token_embd",
    "per_layer_model_projection": "per_layer_model_proj", "per_layer_projection_norm": "per_layer_proj_norm",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm_1": "post_ffw_norm_1", "post_feedforward_layernorm_2": "post_ffw_norm_2",
    "pre_feedforward_layernorm_2": "pre_ffw_norm_2", "router.proj": "ffn_gate_inp",
    "per_layer_input_gate": "inp_gate", "per_layer_projection": "proj", "post_per_layer_input_norm": "post_norm",
}


def randomise(model, seed, spread):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in [*model.named_parameters(), *model.named_buffers()]:
            if parameter is model.lm_head.weight and not name.endswith("embed_tokens.weight"):
                continue
            values = torch.randn(parameter.shape, generator=generator)
            if name.endswith("layer_scalar"):
                values = values * 0.1 + 0.9
            elif "embed_tokens" in name and name.endswith("weight"):
                values *= 0.5
            elif "norm" in name and name.endswith("weight") and parameter.dim() == 1 or name.endswith("per_expert_scale"):
                values = values * 0.2 + 1
            elif name.endswith("router.scale"):
                values = values + 8
            elif parameter.dim() == 3:
                values = golden_mixtures.alike(values, generator) * spread / parameter.shape[2] ** 0.5
            elif parameter.dim() == 2:
                values *= spread / parameter.shape[1] ** 0.5
            else:
                continue  # tables
            parameter.copy_(values.half().float())


def tensors(model):
    out = {}
    named = dict(model.named_parameters()) | {n: b for n, b in model.named_buffers() if n.endswith("layer_scalar")}
    for name, parameter in named.items():
        name = name.removeprefix("model.").removesuffix(".weight")
        if name == "lm_head":
            continue
        values = parameter.detach().numpy()
        if name.startswith("layers."):
            layer, part = name.removeprefix("layers.").split(".", 1)
            out[f"blk.{layer}." + (BARE[part] if part in BARE else NAMES[part] + ".weight")] = values
        else:
            out[NAMES[name] + ".weight"] = values
    return out


def add_metadata(writer, config, full, heads):
    rope = config.rope_parameters
    local = [kind == "sliding_attention" for kind in config.layer_types]
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    shared = config.num_kv_shared_layers
    ffn = config.intermediate_size
    writer.add_feed_forward_length([ffn * (1 + (i >= len(local) - shared)) for i in range(len(local))]
                                   if config.use_double_wide_mlp else ffn)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads if heads is None else
                             [config.num_key_value_heads if one else heads for one in local])
    writer.add_rope_freq_base(rope["full_attention"]["rope_theta"])
    writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_sliding_window(config.sliding_window)
    writer.add_shared_kv_layers(shared)
    writer.add_embedding_length_per_layer_input(config.hidden_size_per_layer_input or 0)
    writer.add_sliding_window_pattern(local)
    writer.add_key_length(full)
    writer.add_value_length(full)
    writer.add_key_length_swa(config.head_dim)
    writer.add_value_length_swa(config.head_dim)
    writer.add_rope_dimension_count(full)
    writer.add_rope_dimension_count_swa(config.head_dim)
    if config.enable_moe_block:
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.top_k_experts)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if config.final_logit_softcapping:
        writer.add_final_logit_softcapping(config.final_logit_softcapping)


def write(folder, name, seed, positions, finish, full=32, heads=None, spread=1.0, **changes):
    config = tf.Gemma4TextConfig(**dict(
        vocab_size=128, vocab_size_per_layer_input=128, hidden_size=32, intermediate_size=64, num_attention_heads=4,
        head_dim=16, global_head_dim=full, num_global_key_value_heads=heads, max_position_embeddings=128, sliding_window=8,
        final_logit_softcapping=30.0, pad_token_id=0, attn_implementation="eager", dtype=torch.float32,
        rope_parameters={"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 1000000.0},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}) | changes)
    model = tf.Gemma4ForCausalLM(config).eval()
    randomise(model, seed, spread)
    tokens = torch.randint(3, 128, (1, TOKENS), generator=torch.Generator().manual_seed(seed + 1000))
    with torch.no_grad():
        logits = model(tokens).logits[0].numpy()
    config.allow_global_per_layer_attribute_access = True
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", "gemma4")
    add_metadata(writer, config, full, heads)
    turned = int(full * 0.5 / 2)
    writer.add_tensor("rope_freqs.weight", np.array([1.0] * turned + [1e30] * (full // 2 - turned), np.float32))
    for target, values in tensors(model).items():
        matrix = values.ndim >= 2 and "ffn_gate_inp" not in target
        writer.add_tensor(target, np.ascontiguousarray(values, np.float16 if matrix else np.float32))
    finish(writer)
    writer = gguf.GGUFWriter(folder / f"{name}.golden.gguf", "golden")
    writer.add_array("golden.tokens", tokens[0].tolist())
    writer.add_array("golden.positions", positions)
    writer.add_tensor("logits", np.ascontiguousarray(logits[positions], np.float32))
    finish(writer)
    print(f"{name}: logits {logits.min():.2f} to {logits.max():.2f}, deviation {logits.std():.2f}")


def models(folder, wanted, positions, finish):
    local, whole = "sliding_attention", "full_attention"
    # As E2B: the last layers share keys and values of both kinds and are twice as wide; embeddings of each layer.
    if wanted("gemma4_small"):
        write(folder, "gemma4_small", 50, positions, finish, num_key_value_heads=1, hidden_size_per_layer_input=32,
              num_kv_shared_layers=3, use_double_wide_mlp=True, num_hidden_layers=6,
              layer_types=[local, local, whole, local, local, whole])
    # As 31B: fewer kv heads in global layers, whose keys are their values too.
    if wanted("gemma4_large"):
        write(folder, "gemma4_large", 51, positions, finish, heads=1, num_key_value_heads=2, hidden_size_per_layer_input=0,
              attention_k_eq_v=True, num_hidden_layers=4, layer_types=[local, whole, local, whole])
    # As 26B-A4B: experts beside the ffn.
    if wanted("gemma4_mixture"):
        write(folder, "gemma4_mixture", 54, positions, finish, heads=1, num_key_value_heads=2, hidden_size_per_layer_input=0,
              attention_k_eq_v=True, num_hidden_layers=3, layer_types=[local, whole, local], enable_moe_block=True,
              num_experts=8, top_k_experts=3, moe_intermediate_size=32)
    # As E4B: layers' embeddings, shared keys, all layers of one width.
    if wanted("gemma4_shared"):
        write(folder, "gemma4_shared", 52, positions, finish, num_key_value_heads=2, hidden_size_per_layer_input=16,
              num_kv_shared_layers=1, num_hidden_layers=3, layer_types=[local, whole, whole], final_logit_softcapping=None)
