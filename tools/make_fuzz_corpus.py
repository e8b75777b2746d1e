#!/usr/bin/env python3
"""Writes the seeds of fuzz/corpus: small valid files from which the fuzzers start. Files that a fuzzer found are
kept beside them under names that begin with "regression-".

    pip install gguf
    tools/make_fuzz_corpus.py
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
