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


def main():
    folder = pathlib.Path(__file__).parent.parent / "fuzz" / "corpus" / "checkpoint"
    folder.mkdir(parents=True, exist_ok=True)
    for name, config, tensors in cases():
        (folder / name).write_bytes(json.dumps(config, separators=(",", ":")).encode() + b"\0" + safetensors(tensors))


if __name__ == "__main__":
    main()
