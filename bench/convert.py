#!/usr/bin/env python3
"""Times `cairn convert` on a checkpoint of random weights in the shape of Qwen2.5-0.5B (988 MB of bf16).

    bench/convert.py build/release/cairn FOLDER [--runs 3] [--type auto]

FOLDER is made where it is not there; it takes 1 GB, and the output beside it another. The vocabulary has as many
tokens and merges as Qwen's, of random words. Needs nothing but Python.
"""
import argparse
import json
import pathlib
import random
import resource
import subprocess
import time

HIDDEN, FFN, LAYERS, HEADS, KV, VOCABULARY, TOKENS = 896, 4864, 24, 14, 2, 151936, 151643
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def shapes():
    yield "model.embed_tokens.weight", [VOCABULARY, HIDDEN]
    yield "model.norm.weight", [HIDDEN]
    for i in range(LAYERS):
        layer, key = f"model.layers.{i}.", HIDDEN // HEADS * KV
        for norm in ("input_layernorm", "post_attention_layernorm"):
            yield f"{layer}{norm}.weight", [HIDDEN]
        for name, rows in (("q", HIDDEN), ("k", key), ("v", key)):
            yield f"{layer}self_attn.{name}_proj.weight", [rows, HIDDEN]
            yield f"{layer}self_attn.{name}_proj.bias", [rows]
        yield f"{layer}self_attn.o_proj.weight", [HIDDEN, HIDDEN]
        for name in ("gate", "up"):
            yield f"{layer}mlp.{name}_proj.weight", [FFN, HIDDEN]
        yield f"{layer}mlp.down_proj.weight", [HIDDEN, FFN]


def byte_alphabet():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def make_tokenizer(folder, generator):
    alphabet = byte_alphabet()
    tokens, merges = list(alphabet), []
    known = set(tokens)
    while len(tokens) < TOKENS:
        left, right = tokens[generator.randrange(len(tokens))], tokens[generator.randrange(len(tokens))]
        if left + right not in known and len(left + right) < 24:
            known.add(left + right)
            tokens.append(left + right)
            merges.append(f"{left} {right}")
    added = [{"id": TOKENS + i, "content": f"<|special_{i}|>", "special": True, "normalized": False} for i in range(22)]
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    tokenizer = {"added_tokens": added, "normalizer": {"type": "NFC"},
                 "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
                 "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def make(folder):
    generator = random.Random(1)
    folder.mkdir(parents=True)
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": HIDDEN, "intermediate_size": FFN,
              "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV,
              "vocab_size": VOCABULARY, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
              "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps(config))
    make_tokenizer(folder, generator)
    header, at = {}, 0
    for name, shape in shapes():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # as the safetensors library does, so that numbers are aligned
    # Numbers of about 1/64: the upper byte says so, with either sign.
    block = bytes(b for _ in range(1 << 19) for b in (generator.getrandbits(8), 0x3C | generator.getrandbits(1) << 7))
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        while at > 0:
            file.write(block[:at])
            at -= min(at, len(block))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cairn")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--type", default="auto")
    options = parser.parse_args()
    if not options.folder.exists():
        make(options.folder)
    output = options.folder.parent / (options.folder.name + ".gguf")
    for _ in range(options.runs):
        begin = time.monotonic()
        subprocess.run([options.cairn, "convert", options.folder, "-o", output, "--type", options.type, "--force"], check=True)
        seconds = time.monotonic() - begin
        print(f"{seconds:.2f} s, {output.stat().st_size / seconds / 1e6:.0f} MB/s")
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"processor: {(usage.ru_utime + usage.ru_stime) / options.runs:.2f} s a run; "
          f"most memory, the checkpoint's mapped pages with it: {usage.ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
