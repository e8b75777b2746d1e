#!/usr/bin/env python3
"""Writes the seeds of fuzz/corpus: small valid files from which the fuzzers start. Files that a fuzzer found are
kept beside them under names that begin with "regression-".

    pip install gguf
    tools/make_fuzz_corpus.py
    cairn stack fuzz/corpus/model/llama-bpe.gguf --text TEXT --windows 2 -o fuzz/corpus/model/stack.gguf
"""
import pathlib
import sys

import gguf
import numpy as np

EMBEDDING, FFN, HEADS, HEAD_SIZE = 32, 32, 2, 16
ROOT = pathlib.Path(__file__).resolve().parent.parent / "fuzz" / "corpus"


def byte_tokens():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(b if b in printable else next(rest)) for b in range(256)]


def add_bpe(writer, pre):
    words = ["th", "the", "Ġt", "in", "er"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(byte_tokens() + words + ["<|im_start|>", "<|im_end|>"])
    writer.add_token_types([1] * (256 + len(words)) + [3, 3])
    writer.add_token_merges(["t h", "th e", "Ġ t", "i n", "e r"])
    writer.add_bos_token_id(261)
    writer.add_eos_token_id(262)
    return 263


def add_sentencepiece(writer):
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["▁", "t", "h", "e", "th", "▁the"]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-1.0, -2.0, -2.0, -2.0, -0.5, -0.25])
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * 6)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(True)
    return len(tokens)


def write_model(name, architecture, tokenizer, kv_heads=HEADS, heads=HEADS, head_size=HEAD_SIZE):
    writer = gguf.GGUFWriter(ROOT / "model" / f"{name}.gguf", architecture)
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(EMBEDDING)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(head_size)
    phi = architecture == "phi2"
    (writer.add_layer_norm_eps if phi else writer.add_layer_norm_rms_eps)(1e-5)
    if architecture.startswith("gemma") or heads * head_size != EMBEDDING:
        writer.add_key_length(head_size)
        writer.add_value_length(head_size)
    if architecture == "gemma3":
        writer.add_sliding_window(8)
        writer.add_rope_freq_base(1e6)
    vocabulary = tokenizer(writer)

    def vector(tensor, length):
        writer.add_tensor(tensor, np.ones(length, dtype=np.float32))

    def matrix(tensor, rows, columns):
        data = np.zeros((rows, columns // 32 * 18), dtype=np.uint8)
        writer.add_tensor(tensor, data, raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    query, kv = heads * head_size, kv_heads * head_size
    matrix("token_embd.weight", vocabulary, EMBEDDING)
    vector("blk.0.attn_norm.weight", EMBEDDING)
    if phi:
        vector("blk.0.attn_norm.bias", EMBEDDING)
        matrix("blk.0.attn_qkv.weight", query + 2 * kv, EMBEDDING)
        vector("blk.0.attn_qkv.bias", query + 2 * kv)
        for tensor, length in (("attn_output", EMBEDDING), ("ffn_up", FFN), ("ffn_down", EMBEDDING)):
            vector(f"blk.0.{tensor}.bias", length)
        vector("output_norm.bias", EMBEDDING)
        vector("output.bias", vocabulary)
    else:
        for tensor, rows in (("attn_q", query), ("attn_k", kv), ("attn_v", kv)):
            matrix(f"blk.0.{tensor}.weight", rows, EMBEDDING)
            if architecture == "qwen2":
                vector(f"blk.0.{tensor}.bias", rows)
        matrix("blk.0.ffn_gate.weight", FFN, EMBEDDING)
        vector("blk.0.ffn_norm.weight", EMBEDDING)
    if architecture == "gemma3":
        for tensor, length in (("attn_q_norm", head_size), ("attn_k_norm", head_size),
                               ("post_attention_norm", EMBEDDING), ("post_ffw_norm", EMBEDDING)):
            vector(f"blk.0.{tensor}.weight", length)
    matrix("blk.0.attn_output.weight", EMBEDDING, query)
    matrix("blk.0.ffn_up.weight", FFN, EMBEDDING)
    matrix("blk.0.ffn_down.weight", EMBEDDING, FFN)
    vector("output_norm.weight", EMBEDDING)
    if not architecture.startswith("gemma"):
        matrix("output.weight", vocabulary, EMBEDDING)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_word_pieces(writer):
    tokens = ["[UNK]", "[CLS]", "[SEP]", "▁the", "▁in", "ter", "im"] + [chr(c) for c in range(ord("a"), ord("z") + 1)]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("bert-bge")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 3))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_sep_token_id(2)
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", True)
    return len(tokens)


WIDTH, INNER = 8, 12  # of the newer families, in floats


def write_graph(name, architecture, metadata, tensors, tokenizer=lambda w: add_bpe(w, "qwen2")):
    """tensors: names (".weight" but where they say another kind) and shapes, the fastest-running length first."""
    writer = gguf.GGUFWriter(ROOT / "model" / f"{name}.gguf", architecture)
    usual = {"context_length": 16, "embedding_length": WIDTH, "feed_forward_length": INNER, "attention.head_count": 2,
             "attention.head_count_kv": 1, "attention.layer_norm_rms_epsilon": 1e-6, "block_count": 1}
    for key, value in (usual | metadata).items():
        add = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, list: writer.add_array}[type(value)]
        add(f"{architecture}.{key}", value)
    vocabulary = tokenizer(writer)
    for tensor, shape in ({"token_embd": [WIDTH, vocabulary], "output_norm": [WIDTH]} | tensors).items():
        if shape is None:
            continue
        full = tensor if tensor.endswith((".bias", ".scale", "ssm_a", "ssm_d")) else tensor + ".weight"
        writer.add_tensor(full, np.full(shape[::-1], -0.5 if tensor.endswith("ssm_a") else 0.5, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def layer(index, norms, **tensors):
    named = {f"blk.{index}.{norm}": [WIDTH] for norm in norms}
    return named | {f"blk.{index}.{tensor.replace('__', '.')}": shape for tensor, shape in tensors.items()}


FFN_TENSORS = dict(ffn_gate=[WIDTH, INNER], ffn_up=[WIDTH, INNER], ffn_down=[INNER, WIDTH])
SHARED = dict(ffn_gate_shexp=[WIDTH, INNER], ffn_up_shexp=[WIDTH, INNER], ffn_down_shexp=[INNER, WIDTH])
EXPERTS = dict(ffn_gate_inp=[WIDTH, 4], ffn_gate_exps=[WIDTH, 6, 4], ffn_up_exps=[WIDTH, 6, 4], ffn_down_exps=[6, WIDTH, 4])
ATTENTION = dict(attn_q=[WIDTH, WIDTH], attn_k=[WIDTH, 4], attn_v=[WIDTH, 4], attn_output=[WIDTH, WIDTH])
HEAD_NORMS = dict(attn_q_norm=[4], attn_k_norm=[4])


def write_newer_models():
    used = {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 6}
    write_graph("qwen3moe", "qwen3moe", used, layer(0, ("attn_norm", "ffn_norm"), **ATTENTION, **HEAD_NORMS, **EXPERTS))
    write_graph("lfm2", "lfm2", {"block_count": 2, "attention.head_count_kv": [0, 1], "shortconv.l_cache": 3},
                {"output_norm": None, "token_embd_norm": [WIDTH]} | layer(
                    0, ("attn_norm", "ffn_norm"), shortconv__in_proj=[WIDTH, 3 * WIDTH], shortconv__out_proj=[WIDTH, WIDTH],
                    shortconv__conv=[3, WIDTH], **FFN_TENSORS) |
                layer(1, ("attn_norm", "ffn_norm"), **ATTENTION, **HEAD_NORMS, **FFN_TENSORS))
    delta = {"ssm.conv_kernel": 4, "ssm.state_size": 4, "ssm.group_count": 1, "ssm.time_step_rank": 2, "ssm.inner_size": 8,
             "full_attention_interval": 2, "rope.dimension_count": 2, "block_count": 3, "nextn_predict_layers": 1}
    norms = ("attn_norm", "post_attention_norm")
    gated = ATTENTION | dict(attn_q=[WIDTH, 2 * WIDTH])
    write_graph("qwen35", "qwen35", delta, layer(
        0, norms, attn_qkv=[WIDTH, 16], attn_gate=[WIDTH, 8], ssm_alpha=[WIDTH, 2], ssm_beta=[WIDTH, 2], ssm_conv1d=[4, 16], ssm_a=[2],
        ssm_dt__bias=[2], ssm_norm=[4], ssm_out=[8, WIDTH], **FFN_TENSORS) |
        layer(1, norms, **gated, **HEAD_NORMS, **FFN_TENSORS) |
        layer(2, norms + ("nextn.enorm", "nextn.hnorm"), **gated, **HEAD_NORMS, **FFN_TENSORS, nextn__eh_proj=[2 * WIDTH, WIDTH]))
    unequal = {"block_count": 2, "attention.sliding_window": 4, "attention.sliding_window_pattern": [True, False],
               "attention.head_count_kv": [1, 1], "attention.key_length": 8, "attention.value_length": 8,
               "attention.key_length_swa": 4, "attention.value_length_swa": 4, "rope.dimension_count": 8,
               "rope.dimension_count_swa": 4, "feed_forward_length": [INNER, INNER], "embedding_length_per_layer_input": 4}
    norms = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "post_norm")
    own = dict(inp_gate=[WIDTH, 4], proj=[4, WIDTH], layer_output_scale=[1], **FFN_TENSORS)
    local = layer(0, norms, attn_q_norm=[4], attn_k_norm=[4], **ATTENTION, **own)
    whole = layer(1, norms, attn_q_norm=[8], attn_k_norm=[8], attn_q=[WIDTH, 16], attn_k=[WIDTH, 8], attn_output=[16, WIDTH], **own)
    outer = {"rope_freqs": [4], "per_layer_token_embd": [8, 263], "per_layer_model_proj": [WIDTH, 8], "per_layer_proj_norm": [4]}
    write_graph("gemma4", "gemma4", unequal, outer | local | whole)
    mixture = {}
    for i in range(2):
        mixture |= layer(i, ("post_ffw_norm_1", "post_ffw_norm_2", "pre_ffw_norm_2", "ffn_gate_inp.scale"), ffn_gate_inp=[WIDTH, 4],
                         ffn_gate_up_exps=[WIDTH, 12, 4], ffn_down_exps=[6, WIDTH, 4], ffn_down_exps__scale=[4])
    write_graph("gemma4-mixture", "gemma4", unequal | used, outer | local | whole | mixture)
    latent = {"block_count": 2, "attention.kv_lora_rank": 6, "attention.q_lora_rank": 5, "attention.key_length": 10,
              "attention.value_length": 6, "attention.key_length_mla": 7, "attention.value_length_mla": 3, "rope.dimension_count": 4,
              "leading_dense_block_count": 1, "expert_shared_count": 2, "expert_group_count": 2, "expert_group_used_count": 1,
              "expert_gating_func": 2, "expert_weights_norm": True, "expert_weights_scale": 2.5, "rope.scaling.factor": 4.0,
              "rope.scaling.yarn_log_multiplier": 0.1} | used
    compressed = dict(attn_q_a=[WIDTH, 5], attn_q_a_norm=[5], attn_q_b=[5, 14], attn_kv_a_mqa=[WIDTH, 10], attn_kv_a_norm=[6],
                      attn_k_b=[3, 6, 2], attn_v_b=[6, 3, 2], attn_output=[6, WIDTH])
    write_graph("deepseek2", "deepseek2", latent, layer(0, ("attn_norm", "ffn_norm"), **compressed, **FFN_TENSORS) | layer(
        1, ("attn_norm", "ffn_norm"), **compressed, **EXPERTS, **SHARED, exp_probs_b__bias=[4]))
    # Mamba-2, in projections of [gate, x, B, C, steps], beside attention and parts without a gate.
    scan = {"ssm.conv_kernel": 4, "ssm.state_size": 4, "ssm.group_count": 1, "ssm.time_step_rank": 2, "ssm.inner_size": 16}
    mixer = dict(ssm_in=[WIDTH, 42], ssm_conv1d=[4, 24], ssm_conv1d__bias=[24], ssm_dt__bias=[2], ssm_a=[1, 2], ssm_d=[1, 2],
                 ssm_norm=[16, 1], ssm_out=[16, WIDTH])
    write_graph("granitehybrid", "granitehybrid", scan | {
        "block_count": 2, "attention.head_count_kv": [0, 1], "attention.scale": 0.5, "embedding_scale": 6.0, "residual_scale": 0.6,
        "logit_scale": 4.0}, layer(0, ("attn_norm", "ffn_norm"), **mixer, **FFN_TENSORS) |
        layer(1, ("attn_norm", "ffn_norm"), **ATTENTION, **FFN_TENSORS))
    write_graph("nemotron_h", "nemotron_h", scan | {
        "block_count": 3, "attention.head_count_kv": [0, 1, 0], "feed_forward_length": [0, 0, INNER], "attention.key_length": 4,
        "attention.value_length": 4}, {"output": [WIDTH, 263]} | layer(0, ("attn_norm",), **mixer) |
        layer(1, ("attn_norm",), **ATTENTION) | layer(2, ("attn_norm",), ffn_up=[WIDTH, INNER], ffn_down=[INNER, WIDTH]))
    biased = {}
    for name, shape in (ATTENTION | dict(attn_k=[WIDTH, WIDTH], attn_v=[WIDTH, WIDTH], ffn_up=[WIDTH, INNER],
                                         ffn_down=[INNER, WIDTH])).items():
        biased |= {f"blk.0.{name}": shape, f"blk.0.{name}.bias": shape[1:]}
    for name in ("blk.0.attn_output_norm", "blk.0.layer_output_norm", "token_embd_norm"):
        biased |= {name: [WIDTH], f"{name}.bias": [WIDTH]}
    write_graph("bert", "bert", {"attention.causal": False, "attention.head_count_kv": 2, "attention.layer_norm_epsilon": 1e-6,
                                 "pooling_type": 1},
                {"output_norm": None, "position_embd": [WIDTH, 16], "token_types": [WIDTH, 2]} | biased, add_word_pieces)


def write_small_files():
    """A few hundred bytes each, so that mutations hit what matters."""
    one = ROOT / "gguf"
    writer = gguf.GGUFWriter(one / "metadata.gguf", "a")
    writer.add_array("s", ["x", "yz"])
    writer.add_array("i", [1, -1])
    writer.add_array("f", [1.0])
    writer.add_array("b", [True, False])
    writer.add_uint8("u8", 1)
    writer.add_int64("i64", -1)
    writer.add_float64("f64", 0.5)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    for name, kind, columns in (("f32", "F32", 4), ("q8_0", "Q8_0", 34), ("q4_k", "Q4_K", 144)):
        writer = gguf.GGUFWriter(one / f"tensor-{name}.gguf", "a")
        if kind == "F32":
            writer.add_tensor("t", np.ones((2, columns), dtype=np.float32))
        else:
            writer.add_tensor("t", np.zeros((2, columns), dtype=np.uint8),
                              raw_dtype=getattr(gguf.GGMLQuantizationType, kind))
        writer.add_tensor("n", np.ones(1, dtype=np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    golden = ROOT.parent.parent / "tests" / "data" / "gguf"
    for name in ("v2.gguf", "v3.gguf", "split-00002-of-00003.gguf"):
        (one / name).write_bytes((golden / name).read_bytes())


def main():
    for folder in ("gguf", "model"):
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
    write_small_files()
    write_model("llama-bpe", "llama", lambda w: add_bpe(w, "llama-bpe"), kv_heads=1)
    write_model("llama-sentencepiece", "llama", add_sentencepiece)
    write_model("qwen2", "qwen2", lambda w: add_bpe(w, "qwen2"))
    write_model("gemma", "gemma", add_sentencepiece, kv_heads=1)
    write_model("gemma3", "gemma3", add_sentencepiece, kv_heads=1)
    # Longer than any head of today: buffers that think so run over.
    write_model("llama-one-head", "llama", add_sentencepiece, kv_heads=1, heads=1, head_size=1056)
    write_model("phi2", "phi2", lambda w: add_bpe(w, "gpt-2"))
    write_newer_models()
    return 0


if __name__ == "__main__":
    sys.exit(main())
