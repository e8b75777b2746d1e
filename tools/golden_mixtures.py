"""What mixtures of experts have that other models lack, for make_golden_logits.py."""
import gguf
import numpy as np
import torch
import transformers as tf

# Whose checkpoints have a feed-forward part's gate and up in one, gate first or taking turns.
FUSED = ("experts.gate_up_proj", "experts.gate_up_proj_bias", "shared_mlp.input_linear.weight")


def expert_inputs(model):
    """The dimension of an expert's weights that its inputs run along."""
    return 1 if model.config.model_type == "gpt_oss" else 2


def alike(experts, generator):
    """Experts that share most of what they do: 8-bit noise that lets a token choose another one, as it does between
    two of nearly the same score, must not hide what tests look for."""
    common = torch.randn(experts.shape[1:], generator=generator)
    return 0.92 * common + 0.39 * experts


def round_experts(model):
    """Makes the experts' weights what MXFP4 can hold."""
    kind = gguf.GGMLQuantizationType.MXFP4
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 3:
                values = np.ascontiguousarray(parameter.numpy().swapaxes(1, 2))
                rounded = gguf.quants.dequantize(gguf.quants.quantize(values, kind), kind).reshape(values.shape)
                parameter.copy_(torch.from_numpy(np.ascontiguousarray(rounded.swapaxes(1, 2))))


def expert_tensors(model, name, values):
    """Those parameters of a mixture that the converter splits or turns; nothing for others."""
    layer, part = name.removeprefix("model.layers.").split(".", 1) if "layers" in name else ("", name)
    part = part.split(".", 1)[-1] if "experts" in part else part
    kind = "bias" if part.endswith("bias") else "weight"
    if part.startswith("experts.") and kind == "weight" and expert_inputs(model) == 1:
        values = values.swapaxes(1, 2)
    axis = 1 if part.startswith("experts.") else 0
    if part in FUSED:
        turns = model.config.model_type == "gpt_oss"
        gate, up = ((values[:, ::2], values[:, 1::2]) if turns else np.split(values, 2, axis))
        stem = "exps" if axis == 1 else "shexp"
        return {f"blk.{layer}.ffn_gate_{stem}.{kind}": gate, f"blk.{layer}.ffn_up_{stem}.{kind}": up}
    if part.startswith("experts.down_proj"):
        return {f"blk.{layer}.ffn_down_exps.{kind}": values}
    if part == "shared_mlp.output_linear.weight":
        return {f"blk.{layer}.ffn_down_shexp.weight": values}
    return {f"blk.{layer}.attn_sinks.weight": values} if part == "self_attn.sinks" else {}


def add_metadata(writer, config, architecture):
    writer.add_expert_count(getattr(config, "num_local_experts", None) or config.num_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    if architecture in ("qwen3moe", "qwen35moe"):
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    if architecture == "qwen35moe":
        writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)
    if architecture == "qwen3moe":
        if not config.norm_topk_prob:  # which no published model leaves out
            writer.add_expert_weights_norm(False)
    if architecture == "gpt-oss":
        writer.add_expert_feed_forward_length(config.intermediate_size)
    if getattr(config, "shared_intermediate_size", 0):
        writer.add_expert_shared_feed_forward_length(config.shared_intermediate_size)


def models(folder, write, small):
    """Calls write with each; small: a configuration's arguments."""
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    # One's experts are no multiple of 32 wide.
    for name, norm, ffn, seed in (("qwen3moe", True, 32, 30), ("qwen3moe_unnormed", False, 48, 31)):
        write(folder, name, "qwen3moe", lambda: tf.Qwen3MoeForCausalLM(tf.Qwen3MoeConfig(**small(
            head_dim=16, moe_intermediate_size=ffn, num_experts=8, num_experts_per_tok=3, norm_topk_prob=norm,
            use_sliding_window=False, tie_word_embeddings=not norm, rope_parameters=plain))), seed=seed)
    factors = dict(embedding_multiplier=6.0, residual_multiplier=0.6, attention_multiplier=0.2, logits_scaling=4.0,
                   num_local_experts=6, num_experts_per_tok=2, rope_parameters=plain)
    write(folder, "granitemoe", "granitemoe", lambda: tf.GraniteMoeForCausalLM(tf.GraniteMoeConfig(**small(
        tie_word_embeddings=True, **factors))), seed=32)
    write(folder, "granitemoe_shared", "granitemoe", lambda: tf.GraniteMoeSharedForCausalLM(
        tf.GraniteMoeSharedConfig(**small(shared_intermediate_size=96, tie_word_embeddings=False, **factors))),
        seed=33)
    yarn = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 24,
            "beta_fast": 32.0, "beta_slow": 1.0, "truncate": False}
    for name, seed in (("gpt_oss", 34), ("gpt_oss_mxfp4", 35)):
        write(folder, name, "gpt-oss", lambda: tf.GptOssForCausalLM(tf.GptOssConfig(**small(
            head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=8, tie_word_embeddings=False,
            rope_parameters=yarn))), seed=seed, spread=1.2, mxfp4=name.endswith("mxfp4"))
