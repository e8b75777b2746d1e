#!/usr/bin/env python3
"""Writes tests/data/tokenizer/gemma4.json: a small tokenizer as Gemma 4's tokenizer.json describes it (BPE over characters
with byte fallback, blanks as U+2581, no words), and its ids.

    tools/make_gemma4_golden.py --wikitext wikitext2-test.raw

Needs the package tokenizers. Published tokenizers are not reachable where cairn is made.
"""
import argparse
import json
import pathlib

from tokenizer_cases import cases
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "tokenizer" / "gemma4.json"
BLANK = "\u2581"
TEXTS = [b.decode("utf-8", errors="replace") for b in cases()]
CONTROL, USER = ["<pad>", "<eos>", "<bos>", "<unk>", "<|im_start|>", "<|im_end|>"], ["<table>", "<|im"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--wikitext", type=pathlib.Path, required=True)
    wikitext = parser.parse_args().wikitext.read_bytes().decode("utf-8")
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", BLANK)
    trained.pre_tokenizer = pre_tokenizers.Split(BLANK, "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=1400, limit_alphabet=300, show_progress=False)
    trained.train_from_iterator([wikitext[:60000]] + TEXTS * 2, trainer)
    state = json.loads(trained.to_str())["model"]
    pieces = sorted(state["vocab"], key=state["vocab"].get)
    tokens = CONTROL + USER + [f"<0x{byte:02X}>" for byte in range(256)] + [p for p in pieces if p not in USER]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in state["merges"]]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", BLANK)
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in CONTROL])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in USER])
    types = [3] * len(CONTROL) + [4] * len(USER) + [6] * 256
    types += [1] * (len(tokens) - len(types))
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    text = json.dumps({"tokens": tokens, "types": types, "merges": [" ".join(m) for m in merges], "ids": ids}, separators=(",", ":"))
    OUT.write_text(text.replace("],[", "],\n[") + "\n")
    print(f"{OUT.name}: {len(text)} bytes, {len(tokens)} tokens")


if __name__ == "__main__":
    main()
