#!/usr/bin/env python3
"""Makes tests/data/golden_models: tiny random models of each family as GGUF, and their logits by transformers.

For each model two files are written:
  NAME.gguf         the model, as llama.cpp's converter would lay it out (names, q/k order, gemma's 1 + weight)
  NAME.golden.gguf  metadata golden.tokens (the input), golden.positions (the rows kept); tensor "logits"
                    [positions, vocabulary], float32

Needs torch, transformers, gguf, numpy.  Usage: make_golden_logits.py [OUTPUT_FOLDER]
"""
import math
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers as tf

TOKENS = 40
POSITIONS = [0, 1, 2, 3, 5, 7, 8, 9, 12, 16, 20, 25, 30, 35, 38, 39]
VOCABULARY = 128


def randomise(model, seed):
    """Weights large enough that attention, norms and biases all show in the logits; exact in float16."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if name.endswith("embed_tokens.weight"):
                values *= 0.5
            elif parameter.dim() == 2:
                values *= 1.5 / math.sqrt(parameter.shape[1])
            elif name.endswith("bias"):
                values *= 0.3
            else:  # norms; gemma stores weight - 1
                values = values * 0.2 + (0 if "gemma" in type(model).__name__.lower() else 1)
            parameter.copy_(values.half().float())


def side_by_side(weight, heads):
    """Rows of q or k from RoPE's halves (i, i + d/2) to llama.cpp's neighbours (2i, 2i + 1)."""
    rows = weight.shape[0] // heads
    return weight.reshape(heads, 2, rows // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def llama3_divisors(rope, head_size):
    base, factor = rope["rope_theta"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    length = rope["original_max_position_embeddings"]
    divisors = []
    for i in range(0, head_size, 2):
        wavelength = 2 * math.pi * base ** (i / head_size)
        if wavelength < length / high:
            divisors.append(1.0)
        elif wavelength > length / low:
            divisors.append(factor)
        else:
            smooth = (length / wavelength - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(divisors, np.float32)


NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.final_layernorm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.dense": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down",
}
# What follows the attention: gemma3 has a norm on the branch there, the others the ffn's input norm.
PLAIN_NORMS = {"post_attention_layernorm": "ffn_norm"}
SANDWICH_NORMS = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                  "post_feedforward_layernorm": "post_ffw_norm"}


def gguf_name(name, architecture):
    stem, kind = name.rsplit(".", 1)
    names = NAMES | (SANDWICH_NORMS if architecture == "gemma3" else PLAIN_NORMS)
    if stem.startswith("model.layers."):
        layer, part = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{names[part]}.{kind}"
    return f"{names[stem]}.{kind}"


def converted(model, architecture, fuse):
    config = model.config
    tensors = {}
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        target = gguf_name(name, architecture)
        if architecture == "llama" and ".attn_q." in target:
            values = side_by_side(values, config.num_attention_heads)
        if architecture == "llama" and ".attn_k." in target:
            values = side_by_side(values, config.num_key_value_heads)
        if architecture.startswith("gemma") and target.endswith("norm.weight"):
            values = values + 1
        tensors[target] = values
    if fuse:
        for layer in range(config.num_hidden_layers):
            for kind in ("weight", "bias"):
                parts = [tensors.pop(f"blk.{layer}.attn_{x}.{kind}") for x in "qkv"]
                tensors[f"blk.{layer}.attn_qkv.{kind}"] = np.concatenate(parts)
    rope = config.rope_parameters
    if rope.get("rope_type") == "llama3":
        tensors["rope_freqs.weight"] = llama3_divisors(rope, config.head_dim)
    return tensors


def add_byte_tokenizer(writer, vocabulary):
    """A SentencePiece-style vocabulary of the 256 bytes and a few letters: any text can be encoded."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    types = [2, 3, 3] + [6] * 256
    tokens += ["\u2581"] + [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens += ["th", "\u2581t"]
    tokens = tokens[:vocabulary]
    types += [1] * (vocabulary - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(vocabulary)])
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


def add_metadata(writer, config, architecture):
    rope = config.rope_parameters
    local = rope.get("full_attention")
    rope = local or rope
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(rope["rope_theta"])
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if head_size * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head_size)
        writer.add_value_length(head_size)
    if architecture == "phi2":
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_rope_dimension_count(int(head_size * rope["partial_rotary_factor"]))
    else:
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if architecture == "llama":
        writer.add_rope_dimension_count(head_size)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)


def write(folder, name, architecture, model, seed, fuse=False, half=True, tokenizer=False):
    randomise(model, seed)
    model.eval()
    config = model.config
    generator = torch.Generator().manual_seed(seed + 1000)
    tokens = torch.randint(3, config.vocab_size, (1, TOKENS), generator=generator)
    with torch.no_grad():
        logits = model(tokens).logits[0].float().numpy()

    writer = gguf.GGUFWriter(folder / f"{name}.gguf", architecture)
    add_metadata(writer, config, architecture)
    if tokenizer:
        add_byte_tokenizer(writer, config.vocab_size)
    for target, values in converted(model, architecture, fuse).items():
        matrix = values.ndim == 2
        writer.add_tensor(target, np.ascontiguousarray(values, np.float16 if matrix and half else np.float32))
    finish(writer)

    writer = gguf.GGUFWriter(folder / f"{name}.golden.gguf", "golden")
    writer.add_array("golden.tokens", tokens[0].tolist())
    writer.add_array("golden.positions", POSITIONS)
    writer.add_tensor("logits", np.ascontiguousarray(logits[POSITIONS], np.float32))
    finish(writer)
    print(f"{name}: logits {logits.min():.2f} to {logits.max():.2f}, deviation {logits.std():.2f}")


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    default = pathlib.Path(__file__).parent.parent / "tests" / "data" / "golden_models"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    small = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                 num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
                 attn_implementation="eager", dtype=torch.float32)

    write(folder, "llama", "llama", tf.LlamaForCausalLM(tf.LlamaConfig(**small | dict(
        vocab_size=288, num_hidden_layers=3, head_dim=8, rope_parameters=plain, tie_word_embeddings=False))),
        seed=1, tokenizer=True)
    write(folder, "llama3_rope", "llama", tf.LlamaForCausalLM(tf.LlamaConfig(**small | dict(
        num_attention_heads=8, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 64}))), seed=2)
    write(folder, "llama_linear_bias", "llama", tf.LlamaForCausalLM(tf.LlamaConfig(**small | dict(
        head_dim=16, attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
        rope_parameters={"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0}))), seed=3)
    write(folder, "mistral_window", "llama", tf.MistralForCausalLM(tf.MistralConfig(**small | dict(
        head_dim=32, sliding_window=8, num_key_value_heads=1, rope_parameters=plain,
        tie_word_embeddings=False))), seed=4)
    write(folder, "qwen2", "qwen2", tf.Qwen2ForCausalLM(tf.Qwen2Config(**small | dict(
        use_sliding_window=False, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}))), seed=5)
    write(folder, "gemma", "gemma", tf.GemmaForCausalLM(tf.GemmaConfig(**small | dict(
        head_dim=32, num_key_value_heads=1, rope_parameters=plain))), seed=6)
    # Seven layers: the sixth is global (the pattern that files leave unsaid), the seventh local again.
    write(folder, "gemma3", "gemma3", tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**small | dict(
        num_hidden_layers=7, head_dim=16, num_key_value_heads=1, query_pre_attn_scalar=16, sliding_window=8,
        rope_parameters={"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
                         "sliding_attention": plain}))), seed=7)
    for name, fuse in (("phi2", True), ("phi2_split", False)):
        write(folder, name, "phi2", tf.PhiForCausalLM(tf.PhiConfig(**small | dict(
            num_attention_heads=2, num_key_value_heads=2, intermediate_size=96, num_hidden_layers=1 + fuse,
            rope_parameters=plain | {"partial_rotary_factor": 0.5}, tie_word_embeddings=False))),
            seed=8, fuse=fuse, half=fuse)


if __name__ == "__main__":
    main()
