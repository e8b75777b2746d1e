#!/usr/bin/env python3
"""Makes fuzz/corpus/checkpoint: a config.json, a zero byte and a safetensors file each, as small as they get.

    tools/make_fuzz_checkpoints.py

Needs nothing but Python.
"""
import json
import pathlib

SIZE = dict(vocab_size=3, hidden_size=4, intermediate_size=6, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
            max_position_embeddings=16, rms_norm_eps=1e-6, rope_theta=1e4)
BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "U8": 1}
LAYER = "model.layers.0."


def safetensors(tensors):
    header, offset = {}, 0
    for name, (kind, shape) in sorted(tensors.items()):
        size = BYTES[kind]
        for length in shape:
            size *= length
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(i * 37 % 120 for i in range(offset))


def block(kind="BF16", head=2, **more):
    """A model's tensors without its feed-forward part."""
    tensors = {"model.embed_tokens.weight": (kind, [3, 4]), "model.norm.weight": (kind, [4]),
               LAYER + "input_layernorm.weight": (kind, [4]), LAYER + "post_attention_layernorm.weight": (kind, [4])}
    for name, shape in (("q", [2 * head, 4]), ("k", [head, 4]), ("v", [head, 4]), ("o", [4, 2 * head])):
        tensors[LAYER + f"self_attn.{name}_proj.weight"] = (kind, shape)
    return tensors | {LAYER + name: value for name, value in more.items()}


def dense(kind="BF16"):
    return {f"mlp.{name}_proj.weight": (kind, [4, 6] if name == "down" else [6, 4]) for name in ("gate", "up", "down")}


def cases():
    tied = SIZE | {"tie_word_embeddings": True}
    yield "llama", {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "rope_scaling": {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8}} | tied, block("F16", **dense("F16"))
    biases = {f"self_attn.{n}_proj.bias": ("F32", [4 if n == "q" else 2]) for n in "qkv"}
    yield "qwen2", {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"} | tied, block("F32", **dense("F32"), **biases)
    norms = {f"self_attn.{n}_norm.weight": ("BF16", [2]) for n in "qk"}
    fp8 = dense("F8_E4M3") | {name + "_scale_inv": ("F32", [2, 2] if "down" not in name else [1, 2]) for name in dense()}
    yield "qwen3-fp8", {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "head_dim": 2, "quantization_config": {
        "quant_method": "fp8", "weight_block_size": [4, 3]}} | tied, block(**norms, **fp8)
    yield "mistral3", {"architectures": ["Mistral3ForConditionalGeneration"], "model_type": "mistral3", "text_config": {
        "model_type": "mistral", "head_dim": 2} | tied}, {
        "language_model." + k: v for k, v in block(**dense()).items()} | {"vision_tower.a": ("F32", [2])}
    experts = {f"mlp.experts.{i}.{n}_proj.weight": ("BF16", [4, 3] if n == "down" else [3, 4])
               for i in range(2) for n in ("gate", "up", "down")}
    yield "qwen3moe", {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "head_dim": 2, "num_experts": 2,
                       "num_experts_per_tok": 1, "moe_intermediate_size": 3} | tied, block(
        **norms, **experts, **{"mlp.gate.weight": ("BF16", [2, 4])})
    oss = SIZE | {"hidden_size": 32, "intermediate_size": 32, "tie_word_embeddings": True}
    wide = {name: (kind, [32 if n == 4 else n for n in shape]) for name, (kind, shape) in block().items()}
    wide |= {LAYER + f"self_attn.{n}_proj.weight": ("BF16", s) for n, s in (("q", [4, 32]), ("k", [2, 32]), ("v", [2, 32]), ("o", [32, 4]))}
    wide |= {LAYER + f"self_attn.{n}_proj.bias": ("BF16", [s]) for n, s in (("q", 4), ("k", 2), ("v", 2), ("o", 32))}
    wide |= {LAYER + "self_attn.sinks": ("BF16", [2]), LAYER + "mlp.router.weight": ("BF16", [1, 32]),
             LAYER + "mlp.router.bias": ("BF16", [1])}
    for name, rows in (("gate_up", 64), ("down", 32)):
        wide |= {LAYER + f"mlp.experts.{name}_proj_blocks": ("U8", [1, rows, 1, 16]),
                 LAYER + f"mlp.experts.{name}_proj_scales": ("U8", [1, rows, 1]),
                 LAYER + f"mlp.experts.{name}_proj_bias": ("BF16", [1, rows])}
    yield "gpt-oss", {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "head_dim": 2, "num_local_experts": 1,
                      "num_experts_per_tok": 1, "quantization_config": {"quant_method": "mxfp4"}} | oss, wide
    yield "granite4", {"architectures": ["GraniteMoeHybridForCausalLM"], "model_type": "granitemoehybrid", "num_local_experts": 2,
                       "num_experts_per_tok": 1, "shared_intermediate_size": 5, "layer_types": ["attention"], "mamba_d_conv": 4,
                       "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_expand": 2, "mamba_n_heads": 4} | tied, block(**{
        "block_sparse_moe.input_linear.weight": ("BF16", [2, 12, 4]), "block_sparse_moe.output_linear.weight": ("BF16", [2, 4, 6]),
        "block_sparse_moe.router.layer.weight": ("BF16", [2, 4]), "shared_mlp.input_linear.weight": ("BF16", [10, 4]),
        "shared_mlp.output_linear.weight": ("BF16", [4, 5])})
    yield "qwen3-model", {"architectures": ["Qwen3Model"], "model_type": "qwen3", "head_dim": 2} | tied, {
        name.removeprefix("model."): value for name, value in block(**norms, **dense()).items()}
    plain = {name: value for name, value in block(**dense()).items() if "self_attn" not in name}
    attention = {"q_a_proj": [3, 4], "q_a_layernorm": [3], "q_b_proj": [10, 3], "kv_a_proj_with_mqa": [5, 4], "kv_a_layernorm": [3],
                 "kv_b_proj": [10, 3], "o_proj": [4, 4]}
    latent = {LAYER + f"self_attn.{name}.weight": ("F16", shape) for name, shape in attention.items()}
    few = {f"mlp.experts.{i}.{n}_proj.weight": ("BF16", [4, 3] if n == "down" else [3, 4])
           for i in range(2) for n in ("gate", "up", "down")}
    few |= {f"mlp.shared_experts.{n}_proj.weight": ("BF16", [4, 3] if n == "down" else [3, 4]) for n in ("gate", "up", "down")}
    few |= {"mlp.gate.weight": ("BF16", [2, 4]), "mlp.gate.e_score_correction_bias": ("F32", [2])}
    sizes = {"kv_lora_rank": 3, "q_lora_rank": 3, "qk_nope_head_dim": 3, "qk_rope_head_dim": 2, "v_head_dim": 2, "n_routed_experts": 2,
             "num_experts_per_tok": 1, "moe_intermediate_size": 3, "n_shared_experts": 1, "n_group": 1, "topk_group": 1}
    yield "deepseek-v3", {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "first_k_dense_replace": 0,
                          "topk_method": "noaux_tc", "scoring_func": "sigmoid"} | tied | sizes, {
        k: v for k, v in (plain | latent | {LAYER + n: v for n, v in few.items()}).items()
        if not any(k.startswith(LAYER + f"mlp.{n}_proj") for n in ("gate", "up", "down"))}
    conv = {"operator_norm.weight": [4], "ffn_norm.weight": [4], "feed_forward.w1.weight": [6, 4], "feed_forward.w2.weight": [4, 6],
            "feed_forward.w3.weight": [6, 4], "conv.in_proj.weight": [12, 4], "conv.out_proj.weight": [4, 4], "conv.conv.weight": [4, 1, 3]}
    yield "lfm2", {"architectures": ["Lfm2ForCausalLM"], "model_type": "lfm2", "layer_types": ["conv"], "conv_L_cache": 3,
                   "norm_eps": 1e-5, "block_auto_adjust_ff_dim": False} | tied, {
        "model.embed_tokens.weight": ("BF16", [3, 4]), "model.embedding_norm.weight": ("BF16", [4])} | {
        LAYER + name: ("BF16", shape) for name, shape in conv.items()}
    delta = {"in_proj_qkv.weight": [8, 4], "in_proj_z.weight": [4, 4], "in_proj_a.weight": [2, 4], "in_proj_b.weight": [2, 4],
             "conv1d.weight": [8, 1, 4], "A_log": [2], "dt_bias": [2], "norm.weight": [2], "out_proj.weight": [4, 4]}
    yield "qwen35", {"architectures": ["Qwen3_5ForCausalLM"], "model_type": "qwen3_5_text", "layer_types": ["linear_attention"],
                     "head_dim": 4, "linear_num_key_heads": 1, "linear_num_value_heads": 2, "linear_key_head_dim": 2,
                     "linear_value_head_dim": 2, "linear_conv_kernel_dim": 4} | tied, {
        k: v for k, v in block(**dense(), **{f"linear_attn.{n}": ("BF16", s) for n, s in delta.items()}).items() if "self_attn" not in k}
    rope = {"full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.5, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}
    local = {f"self_attn.{n}_norm.weight": ("BF16", [2]) for n in "qk"} | dense() | {
        f"{n}.weight": ("BF16", [4]) for n in ("pre_feedforward_layernorm", "post_feedforward_layernorm", "post_feedforward_layernorm_1",
                                               "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2")}
    local |= {"layer_scalar": ("BF16", [1]), "router.proj.weight": ("BF16", [2, 4]), "router.scale": ("BF16", [4]),
              "router.per_expert_scale": ("BF16", [2]), "experts.gate_up_proj": ("BF16", [2, 6, 4]),
              "experts.down_proj": ("BF16", [2, 4, 3])}
    yield "gemma4", {"architectures": ["Gemma4ForCausalLM"], "model_type": "gemma4_text", "head_dim": 2, "global_head_dim": 4,
                     "layer_types": ["sliding_attention"], "sliding_window": 4, "hidden_size_per_layer_input": 0,
                     "rope_parameters": rope, "enable_moe_block": True, "num_experts": 2, "top_k_experts": 1,
                     "moe_intermediate_size": 3} | tied, block(**local)


def main():
    folder = pathlib.Path(__file__).parent.parent / "fuzz" / "corpus" / "checkpoint"
    folder.mkdir(parents=True, exist_ok=True)
    for name, config, tensors in cases():
        (folder / name).write_bytes(json.dumps(config, separators=(",", ":")).encode() + b"\0" + safetensors(tensors))


if __name__ == "__main__":
    main()
