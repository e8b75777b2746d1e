#!/usr/bin/env python3
"""Makes tests/data/golden_models: tiny random models of each family as GGUF, and their logits by transformers.

For each model two files are written:
  NAME.gguf         the model, as llama.cpp's converter would lay it out (names, q/k order, gemma's 1 + weight)
  NAME.golden.gguf  metadata golden.tokens (the input), golden.positions (the rows kept); tensor "logits"
                    [positions, vocabulary], float32

Needs torch, transformers, gguf, numpy.
"""
import argparse
import math
import pathlib

import gguf
import numpy as np
import torch
import transformers as tf

import golden_embedders
import golden_gemma4
import golden_latent
import golden_mamba
import golden_mixtures
import golden_recurrent

TOKENS = 40
POSITIONS = [0, 1, 2, 3, 5, 7, 8, 9, 12, 16, 20, 25, 30, 35, 38, 39]
VOCABULARY = 128


def randomise(model, seed, spread):
    """Weights large enough that attention, norms and biases all show in the logits; exact in float16."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if (special := golden_recurrent.random_values(model, name, values, spread)) is not None:
                values = special
            elif name.endswith("embed_tokens.weight"):
                values *= 0.5
            elif name.endswith("bias"):
                values *= 0.3
            elif name.endswith("sinks"):
                pass
            elif parameter.dim() == 3:  # experts
                values = golden_mixtures.alike(values, generator) * spread / math.sqrt(parameter.shape[golden_mixtures.expert_inputs(model)])
                if model.config.model_type == "gpt_oss" and "gate_up" in name:
                    values *= 2.5  # some reach the clamp
            elif parameter.dim() == 2:
                values *= spread / math.sqrt(parameter.shape[1])
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
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.gate": "ffn_gate_inp", "mlp.router": "ffn_gate_inp", "block_sparse_moe.router": "ffn_gate_inp",
    "mlp.down_proj": "ffn_down", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down", "mlp.gate_up_proj": "ffn_up",
}
# What follows the attention: some have a norm on the branch there, the others the ffn's input norm.
PLAIN_NORMS = {"post_attention_layernorm": "ffn_norm"}
SANDWICH_NORMS = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                  "post_feedforward_layernorm": "post_ffw_norm"}
GLM_NORMS = PLAIN_NORMS | {"post_self_attn_layernorm": "post_attention_norm", "post_mlp_layernorm": "post_ffw_norm"}
NORMS = {"gpt-oss": {"post_attention_layernorm": "post_attention_norm"}, "gemma3": SANDWICH_NORMS, "olmo2": SANDWICH_NORMS, "exaone4": SANDWICH_NORMS, "glm4": GLM_NORMS}
NAMES |= golden_recurrent.NAMES
NORMS |= {family: golden_recurrent.NORMS for family in ("qwen35", "qwen35moe")}
# Whose converter permutes q and k.
PERMUTED = ("llama", "mistral3", "smollm3", "granite", "granitemoe")


def gguf_name(name, architecture):
    stem, kind = name.rsplit(".", 1)
    names = NAMES | NORMS.get(architecture, PLAIN_NORMS)
    if stem.startswith("model.layers."):
        layer, part = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{layer}.{names[part]}.{kind}"
    return f"{names[stem]}.{kind}"


def converted(model, architecture, fuse):
    config = model.config
    tensors = {}
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        if of_experts := golden_mixtures.expert_tensors(model, name, values):
            tensors |= of_experts
            continue
        target = None
        if architecture in golden_recurrent.ARCHITECTURES:
            values, target = golden_recurrent.converted(config, name, values)
        if target is not None:
            layer = name.removeprefix("model.layers.").split(".", 1)[0]
            tensors[f"blk.{layer}.{target}"] = values
            continue
        target = gguf_name(name, architecture)
        if architecture in PERMUTED and ".attn_q." in target:
            values = side_by_side(values, config.num_attention_heads)
        if architecture in PERMUTED and ".attn_k." in target:
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
    for kind in ("long", "short"):
        if rope.get("rope_type") == "longrope":
            tensors[f"rope_factors_{kind}.weight"] = np.array(rope[f"{kind}_factor"], np.float32)
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
    local, rope = rope.get("sliding_attention"), rope.get("full_attention") or rope
    writer.add_block_count(len(getattr(config, "layer_types", None) or range(config.num_hidden_layers)))
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    if architecture != "qwen35moe":
        writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(golden_recurrent.kv_heads(config))
    writer.add_rope_freq_base(rope["rope_theta"])
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if head_size * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head_size)
        writer.add_value_length(head_size)
    if architecture == "phi2":
        writer.add_layer_norm_eps(config.layer_norm_eps)
        writer.add_rope_dimension_count(int(head_size * rope["partial_rotary_factor"]))
    else:
        writer.add_layer_norm_rms_eps(config.norm_eps if architecture == "lfm2" else config.rms_norm_eps)
    if architecture in ("exaone4", "granite", "granitemoe", "mistral3", "smollm3"):
        writer.add_vocab_size(config.vocab_size)
    if architecture in PERMUTED:
        writer.add_rope_dimension_count(head_size)
    if architecture in ("phi3", "glm4"):
        writer.add_rope_dimension_count(int(head_size * rope.get("partial_rotary_factor", 1)))
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        add_yarn(writer, rope)
    if architecture == "phi3":  # whose files do not name the scaling
        original = config.original_max_position_embeddings
        writer.add_rope_scaling_orig_ctx_len(original)
        scale = config.max_position_embeddings / original
        if rope["rope_type"] == "longrope":
            writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0)
        writer.add_sliding_window(config.sliding_window or 0)
    elif getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
        if architecture == "olmo2":
            writer.add_rope_freq_base_swa(local["rope_theta"])
        if architecture in ("olmo2", "exaone4"):
            writer.add_sliding_window_pattern([kind == "sliding_attention" for kind in config.layer_types])
    if architecture in golden_recurrent.ARCHITECTURES:
        golden_recurrent.add_metadata(writer, config, architecture)
    if hasattr(config, "num_experts_per_tok"):
        golden_mixtures.add_metadata(writer, config, architecture)
    if architecture in ("granite", "granitemoe"):
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)


def add_yarn(writer, rope):
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(rope["factor"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope.get("attention_factor") is not None:
        writer.add_rope_scaling_yarn_attn_factor(rope["attention_factor"])
    if rope.get("beta_fast") is not None:
        writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    if "llama_4_scaling_beta" in rope:
        writer.add_rope_scaling_yarn_log_mul(rope["mscale_all_dim"])
        writer.add_attn_temperature_scale(rope["llama_4_scaling_beta"])


def write(folder, name, architecture, model, seed, fuse=False, half=True, tokenizer=False, spread=1.5, mxfp4=False):
    randomise(model, seed, spread)
    if mxfp4:
        golden_mixtures.round_experts(model)
    model.eval()
    config = model.config
    generator = torch.Generator().manual_seed(seed + 1000)
    tokens = torch.randint(3, config.vocab_size, (1, TOKENS), generator=generator)
    with torch.no_grad():
        logits = model(tokens).logits[0].float().numpy()
        drafts = golden_recurrent.draft_logits(model, tokens) if architecture in golden_recurrent.ARCHITECTURES else None

    writer = gguf.GGUFWriter(folder / f"{name}.gguf", architecture)
    add_metadata(writer, config, architecture)
    if tokenizer:
        add_byte_tokenizer(writer, config.vocab_size)
    for target, values in converted(model, architecture, fuse).items():
        matrix = (values.ndim >= 2 and not target.endswith("bias")
                  and not any(part in target for part in ("ffn_gate_inp", "conv1d", "shortconv.conv.")))
        if mxfp4 and target.endswith("_exps.weight"):
            blocks = gguf.quants.quantize(np.ascontiguousarray(values, np.float32), gguf.GGMLQuantizationType.MXFP4)
            writer.add_tensor(target, blocks, raw_dtype=gguf.GGMLQuantizationType.MXFP4)
            continue
        writer.add_tensor(target, np.ascontiguousarray(values, np.float16 if matrix and half else np.float32))
    finish(writer)

    writer = gguf.GGUFWriter(folder / f"{name}.golden.gguf", "golden")
    writer.add_array("golden.tokens", tokens[0].tolist())
    writer.add_array("golden.positions", POSITIONS)
    writer.add_tensor("logits", np.ascontiguousarray(logits[POSITIONS], np.float32))
    for name_of, values in zip(("draft", "draft.next"), drafts or ()):
        writer.add_tensor(name_of, np.ascontiguousarray(values, np.float32))
    finish(writer)
    print(f"{name}: logits {logits.min():.2f} to {logits.max():.2f}, deviation {logits.std():.2f}")


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def small(**changes):
    """A configuration's arguments."""
    return dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
                attn_implementation="eager", dtype=torch.float32) | changes


def older_models(folder, write):
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    write(folder, "llama", "llama", lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**small(
        vocab_size=288, num_hidden_layers=3, head_dim=8, rope_parameters=plain, tie_word_embeddings=False))),
        seed=1, tokenizer=True)
    write(folder, "llama3_rope", "llama", lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**small(
        num_attention_heads=8, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 64}))), seed=2)
    write(folder, "llama_linear_bias", "llama", lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**small(
        head_dim=16, attention_bias=True, mlp_bias=True, tie_word_embeddings=False,
        rope_parameters={"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0}))), seed=3)
    write(folder, "mistral_window", "llama", lambda: tf.MistralForCausalLM(tf.MistralConfig(**small(
        head_dim=32, sliding_window=8, num_key_value_heads=1, rope_parameters=plain,
        tie_word_embeddings=False))), seed=4)
    write(folder, "qwen2", "qwen2", lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**small(
        use_sliding_window=False, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}))), seed=5)
    write(folder, "gemma", "gemma", lambda: tf.GemmaForCausalLM(tf.GemmaConfig(**small(
        head_dim=32, num_key_value_heads=1, rope_parameters=plain))), seed=6)
    # Seven layers: the sixth is global (the pattern that files leave unsaid), the seventh local again.
    write(folder, "gemma3", "gemma3", lambda: tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**small(
        num_hidden_layers=7, head_dim=16, num_key_value_heads=1, query_pre_attn_scalar=16, sliding_window=8,
        rope_parameters={"full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
                         "sliding_attention": plain}))), seed=7)
    for name, fuse in (("phi2", True), ("phi2_split", False)):
        write(folder, name, "phi2", lambda: tf.PhiForCausalLM(tf.PhiConfig(**small(
            num_attention_heads=2, num_key_value_heads=2, intermediate_size=96, num_hidden_layers=1 + fuse,
            rope_parameters=plain | {"partial_rotary_factor": 0.5}, tie_word_embeddings=False))),
            seed=8, fuse=fuse, half=fuse)


def newer_models(folder, write):
    plain = {"rope_type": "default", "rope_theta": 10000.0}
    # The 40 tokens reach beyond the original context; with these turns all of the ramp is seen.
    yarn = {"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 24}
    write(folder, "qwen3", "qwen3", lambda: tf.Qwen3ForCausalLM(tf.Qwen3Config(**small(
        head_dim=16, use_sliding_window=False, tie_word_embeddings=True, rope_parameters=plain))), seed=9)
    write(folder, "qwen3_yarn", "qwen3", lambda: tf.Qwen3ForCausalLM(tf.Qwen3Config(**small(
        head_dim=16, use_sliding_window=False, attention_bias=True, tie_word_embeddings=False,
        rope_parameters=yarn))), seed=10)
    write(folder, "phi3", "phi3", lambda: tf.Phi3ForCausalLM(tf.Phi3Config(**small(
        sliding_window=8, tie_word_embeddings=False, pad_token_id=0, rope_parameters=plain))), seed=11)
    # Of one the 40 tokens lie within the original context, of the other they do not.
    for name, original, seed in (("phi3_short", 64, 12), ("phi3_long", 32, 13)):
        write(folder, name, "phi3", lambda: tf.Phi3ForCausalLM(tf.Phi3Config(**small(
            num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, sliding_window=None,
            tie_word_embeddings=True, pad_token_id=0, original_max_position_embeddings=original,
            rope_parameters={"rope_type": "longrope", "rope_theta": 100.0, "partial_rotary_factor": 0.75,
                             "short_factor": [1.0, 1.05, 1.1, 1.2, 1.4, 1.7],
                             "long_factor": [1.0, 1.3, 1.9, 2.8, 3.6, 5.0],
                             "original_max_position_embeddings": original}))), seed=seed)
    write(folder, "mistral3", "mistral3", lambda: tf.Ministral3ForCausalLM(tf.Ministral3Config(**small(
        head_dim=16, sliding_window=None, tie_word_embeddings=False, pad_token_id=0,
        rope_parameters=yarn | {"original_max_position_embeddings": 8, "beta_fast": 4.0, "beta_slow": 0.5,
                                "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.3}))), seed=14)
    # Four layers: the fourth has no RoPE. Smaller weights, for nothing else tames what four layers add up of
    # 8-bit noise.
    write(folder, "smollm3", "smollm3", lambda: tf.SmolLM3ForCausalLM(tf.SmolLM3Config(**small(
        num_hidden_layers=4, use_sliding_window=False, no_rope_layer_interval=4, tie_word_embeddings=True,
        pad_token_id=0, rope_parameters=plain))), seed=24, spread=1.0)
    write(folder, "olmo2", "olmo2", lambda: tf.Olmo2ForCausalLM(tf.Olmo2Config(**small(
        tie_word_embeddings=False, rope_parameters=plain))), seed=16)
    # Five layers: the fourth is global, and stretched.
    write(folder, "olmo2_window", "olmo2", lambda: tf.Olmo3ForCausalLM(tf.Olmo3Config(**small(
        num_hidden_layers=5, num_attention_heads=2, num_key_value_heads=1, sliding_window=8,
        tie_word_embeddings=False,
        rope_parameters={"full_attention": yarn | {"attention_factor": 1.25},
                         "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}}))), seed=17)
    for name, bias, seed in (("glm4", True, 18), ("glm4_plain", False, 19)):
        write(folder, name, "glm4", lambda: tf.Glm4ForCausalLM(tf.Glm4Config(**small(
            num_hidden_layers=1 + bias, head_dim=16, attention_bias=bias, tie_word_embeddings=not bias,
            pad_token_id=0, rms_norm_eps=1e-5, rope_parameters=plain | {"partial_rotary_factor": 0.5}))), seed=seed)
    write(folder, "exaone4", "exaone4", lambda: tf.Exaone4ForCausalLM(tf.Exaone4Config(**small(
        head_dim=16, sliding_window=None, layer_types=["full_attention"] * 2, tie_word_embeddings=True,
        rope_parameters={"rope_type": "llama3", "rope_theta": 500.0, "factor": 16.0, "low_freq_factor": 1.0,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 64}))), seed=20)
    # Five layers: the fourth is global, and has no RoPE.
    write(folder, "exaone4_window", "exaone4", lambda: tf.Exaone4ForCausalLM(tf.Exaone4Config(**small(
        num_hidden_layers=5, num_attention_heads=2, num_key_value_heads=1, head_dim=16, sliding_window=8,
        sliding_window_pattern=4, tie_word_embeddings=False, rope_parameters=plain))), seed=21)
    for name, bias, seed in (("granite", False, 22), ("granite_bias", True, 23)):
        write(folder, name, "granite", lambda: tf.GraniteForCausalLM(tf.GraniteConfig(**small(
            attention_bias=bias, mlp_bias=bias, tie_word_embeddings=not bias, rope_parameters=plain,
            embedding_multiplier=6.0, residual_multiplier=0.6, attention_multiplier=0.2, logits_scaling=4.0))), seed=seed)


def main():
    default = pathlib.Path(__file__).parent.parent / "tests" / "data" / "golden_models"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=pathlib.Path, default=default, metavar="FOLDER")
    parser.add_argument("names", nargs="*", help="which models; all without")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    def wanted(folder, name, architecture, make, **more):
        if not options.names or name in options.names:
            write(folder, name, architecture, make(), **more)

    older_models(options.output, wanted)
    newer_models(options.output, wanted)
    golden_mixtures.models(options.output, wanted, small)
    golden_recurrent.models(options.output, wanted, small)
    named = lambda name: not options.names or name in options.names  # noqa: E731
    golden_embedders.models(options.output, named, finish)
    golden_gemma4.models(options.output, named, POSITIONS, finish)
    golden_mamba.models(options.output, named, POSITIONS, finish)
    golden_latent.models(options.output, named, POSITIONS, finish, small)


if __name__ == "__main__":
    main()
