"""Granite 4 H and Nemotron-H for make_golden_logits.py: names and metadata as llama.cpp's converter has them."""
import math

import gguf
import numpy as np
import torch
import transformers as tf

import golden_mixtures

TOKENS = 40
NAMES = {
    "embed_tokens": "token_embd", "embeddings": "token_embd", "norm": "output_norm", "norm_f": "output_norm",
    "lm_head": "output", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "layers.norm": "attn_norm",
    "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
    "in_proj": "ssm_in", "conv1d": "ssm_conv1d", "out_proj": "ssm_out", "mixer.norm": "ssm_norm", "mamba.norm": "ssm_norm",
    "up_proj": "ffn_up", "down_proj": "ffn_down", "router": "ffn_gate_inp", "gate": "ffn_gate_inp",
    "experts.down_proj": "ffn_down_exps", "experts.up_proj": "ffn_up_exps", "output_linear": "ffn_down",
    "shared_experts.up_proj": "ffn_up_shexp", "shared_experts.down_proj": "ffn_down_shexp",
}


def randomise(model, seed, spread):
    generator = torch.Generator().manual_seed(seed)
    buffers = [(n, b) for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")]
    with torch.no_grad():
        for name, parameter in [*model.named_parameters(), *buffers]:
            values = torch.randn(parameter.shape, generator=generator)
            if name.endswith("A_log"):  # decays of 0.5 to 0.97 a token: states remember
                values = values * 0.7 - 2
            elif name.endswith("conv1d.weight"):
                values *= spread / parameter.shape[-1] ** 0.5
            elif name.endswith(("embed_tokens.weight", "embeddings.weight", "dt_bias")):
                values *= 0.5
            elif name.endswith("bias"):
                values *= 0.3
            elif parameter.dim() == 3:
                values = golden_mixtures.alike(values, generator) * spread / math.sqrt(parameter.shape[2])
            elif parameter.dim() == 2:
                values *= spread / math.sqrt(parameter.shape[1])
            else:  # norms, D
                values = values * 0.2 + 1
            parameter.copy_(values.half().float())


def tensors(model):
    config, out = model.config, {}
    groups = config.n_groups if config.model_type == "nemotron_h" else config.mamba_n_groups
    experts = config.model_type == "granitemoehybrid" and config.num_local_experts > 0
    buffers = {n: b for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")}
    for name, parameter in (dict(model.named_parameters()) | buffers).items():
        values = parameter.detach().numpy()
        name = name.removeprefix("model.")
        prefix, kind = "", name.rsplit(".", 1)[-1]
        if name.startswith("layers."):
            _, layer, name = name.split(".", 2)
            prefix = f"blk.{layer}."
            if name == "norm.weight":
                name = "layers.norm.weight"
        if name.endswith("A_log"):
            out[prefix + "ssm_a"] = -np.exp(values)[:, None]
        elif name.endswith(".D"):
            out[prefix + "ssm_d"] = values[:, None]
        elif name.endswith("dt_bias"):
            out[prefix + "ssm_dt.bias"] = values
        elif name.endswith("e_score_correction_bias"):
            out[prefix + "exp_probs_b.bias"] = values
        elif name.endswith(("gate_up_proj", "input_linear.weight")):  # gate and up in one
            stem = "_exps" if values.ndim == 3 else "_shexp" if experts else ""
            for part, half in zip(("gate", "up"), np.split(values, 2, values.ndim - 2)):
                out[f"{prefix}ffn_{part}{stem}.weight"] = half
        else:
            stem = name if values.ndim == 3 and "conv1d" not in name else name.rsplit(".", 1)[0]
            kind = "weight" if stem == name else kind
            parts = stem.split(".")
            target = next(NAMES[key] for key in (".".join(parts[-2:]), parts[-1]) if key in NAMES)
            if target == "ssm_conv1d" and kind == "weight":
                values = values.squeeze(1)
            if target == "ssm_norm":
                values = values.reshape(groups, -1)
            if target == "ffn_down" and experts:
                target = "ffn_down_shexp"
            if config.model_type == "granitemoehybrid" and target in ("attn_q", "attn_k"):
                heads = config.num_attention_heads if target == "attn_q" else config.num_key_value_heads
                rows = values.shape[0] // heads
                values = values.reshape(heads, 2, rows // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)
            out[f"{prefix}{target}.{kind}"] = values
    return out


def add_metadata(writer, config, architecture):
    nemotron = config.model_type == "nemotron_h"
    kinds = config.layers_block_type
    attends = [kind in ("attention", "full_attention") for kind in kinds]
    writer.add_block_count(len(kinds))
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv([config.num_key_value_heads if one else 0 for one in attends])
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_scaling_finetuned(False)
    writer.add_layer_norm_rms_eps(config.layer_norm_epsilon if nemotron else config.rms_norm_eps)
    writer.add_ssm_conv_kernel(config.conv_kernel if nemotron else config.mamba_d_conv)
    writer.add_ssm_state_size(config.ssm_state_size if nemotron else config.mamba_d_state)
    writer.add_ssm_group_count(config.n_groups if nemotron else config.mamba_n_groups)
    writer.add_ssm_time_step_rank(config.mamba_num_heads if nemotron else config.mamba_n_heads)
    writer.add_ssm_inner_size(config.mamba_num_heads * config.mamba_head_dim if nemotron
                              else config.mamba_expand * config.hidden_size)
    if nemotron:
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        moe = architecture == "nemotron_h_moe"
        width = config.moe_intermediate_size if moe else config.intermediate_size
        writer.add_feed_forward_length([width if kind in ("mlp", "moe") else 0 for kind in kinds])
        if not moe:
            return
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(width)
        writer.add_expert_shared_feed_forward_length(config.moe_shared_expert_intermediate_size)
        writer.add_expert_count(config.n_routed_experts)
        writer.add_expert_shared_count(config.n_shared_experts)
        writer.add_expert_weights_norm(config.norm_topk_prob)
        writer.add_expert_weights_scale(config.routed_scaling_factor)
        writer.add_expert_group_count(config.n_group)
        return
    writer.add_attention_scale(config.attention_multiplier)
    writer.add_embedding_scale(config.embedding_multiplier)
    writer.add_residual_scale(config.residual_multiplier)
    writer.add_logit_scale(config.logits_scaling)
    moe = config.num_local_experts > 0
    writer.add_feed_forward_length(config.intermediate_size if moe else config.shared_intermediate_size)
    if moe:
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_shared_feed_forward_length(config.shared_intermediate_size)


def write(folder, name, architecture, config, seed, positions, finish, spread=1.0):
    kind = tf.NemotronHForCausalLM if config.model_type == "nemotron_h" else tf.GraniteMoeHybridForCausalLM
    model = kind(config).eval().float()
    randomise(model, seed, spread)
    tokens = torch.randint(3, 128, (1, TOKENS), generator=torch.Generator().manual_seed(seed + 1000))
    with torch.no_grad():
        logits = model(tokens).logits[0].numpy()
    writer = gguf.GGUFWriter(folder / f"{name}.gguf", architecture)
    add_metadata(writer, config, architecture)
    for target, values in tensors(model).items():
        if target == "output.weight" and config.tie_word_embeddings:
            continue
        half = values.ndim >= 2 and not any(part in target for part in ("conv1d", "ssm_a", "ssm_d", "norm", "gate_inp"))
        writer.add_tensor(target, np.ascontiguousarray(values, np.float16 if half else np.float32))
    finish(writer)
    writer = gguf.GGUFWriter(folder / f"{name}.golden.gguf", "golden")
    writer.add_array("golden.tokens", tokens[0].tolist())
    writer.add_array("golden.positions", positions)
    writer.add_tensor("logits", np.ascontiguousarray(logits[positions], np.float32))
    finish(writer)
    print(f"{name}: logits {logits.min():.2f} to {logits.max():.2f}, deviation {logits.std():.2f}")


def granite(**changes):
    return tf.GraniteMoeHybridConfig(**dict(
        vocab_size=128, hidden_size=32, intermediate_size=64, shared_intermediate_size=64, num_attention_heads=4,
        num_key_value_heads=2, embedding_multiplier=6.0, residual_multiplier=0.6, attention_multiplier=0.2,
        logits_scaling=4.0, num_local_experts=0, num_experts_per_tok=0, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=16,
        mamba_chunk_size=16, pad_token_id=0, attn_implementation="eager", dtype=torch.float32) | changes)


def nemotron(**changes):
    # transformers clamps steps from below, in chunks alone; files do not say so, and llama.cpp does not.
    return tf.NemotronHConfig(**dict(
        vocab_size=128, hidden_size=32, intermediate_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        mamba_num_heads=4, mamba_head_dim=16, ssm_state_size=16, n_groups=2, chunk_size=16, time_step_min=1e-12,
        max_position_embeddings=128, attn_implementation="eager", dtype=torch.float32) | changes)


def models(folder, wanted, positions, finish):
    mamba, attention, moe = "linear_attention", "full_attention", "moe"
    # Dense, as the 1B and the 3B.
    if wanted("granitehybrid"):
        write(folder, "granitehybrid", "granitehybrid", granite(
            num_hidden_layers=3, layer_types=[mamba, mamba, attention], tie_word_embeddings=True), 60, positions, finish)
    # Experts, as the 7B and the 32B; groups, biases where the others have none, sizes that fit no vector.
    if wanted("granitehybrid_moe"):
        write(folder, "granitehybrid_moe", "granitehybrid", granite(
            num_hidden_layers=3, layer_types=[mamba, attention, mamba], tie_word_embeddings=False, num_local_experts=5,
            num_experts_per_tok=2, intermediate_size=32, mamba_n_heads=8, mamba_d_head=8, mamba_d_state=22, mamba_n_groups=2,
            mamba_conv_bias=False, mamba_proj_bias=True, mamba_d_conv=3, attention_bias=True), 61, positions, finish)
    mlp = "mlp"
    if wanted("nemotron_h"):
        write(folder, "nemotron_h", "nemotron_h", nemotron(
            layers_block_type=[mamba, mlp, mamba, attention, mlp], tie_word_embeddings=False), 62, positions, finish)
    # Attention first, biases, a head of one group each that fits no vector.
    if wanted("nemotron_h_bias"):
        write(folder, "nemotron_h_bias", "nemotron_h", nemotron(
            layers_block_type=[attention, mamba, mamba, mlp], tie_word_embeddings=False, mlp_bias=True, use_bias=True,
            mamba_num_heads=4, mamba_head_dim=20, n_groups=4, use_conv_bias=False), 66, positions, finish)
    if wanted("nemotron_h_moe"):
        write(folder, "nemotron_h_moe", "nemotron_h_moe", nemotron(
            layers_block_type=[mamba, moe, attention, moe, mamba, moe], tie_word_embeddings=False, n_routed_experts=8,
            num_experts_per_tok=3, moe_intermediate_size=32, moe_shared_expert_intermediate_size=64,
            routed_scaling_factor=2.5), 64, positions, finish)
