#!/usr/bin/env python3
"""Writes tests/data/tokenizer/word_piece.json and all-minilm-l6-v2.json: token ids by `tokenizers`' BERT tokenizer.

    tools/make_bert_golden.py --minilm FOLDER --wikitext wikitext2-test.raw

FOLDER holds all-MiniLM-L6-v2's tokenizer.json. Needs the package tokenizers.
"""
import argparse
import hashlib
import json
import pathlib
import struct

from tokenizer_cases import cases
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "tokenizer"
BLANK = "\u2581"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = [b.decode("utf-8", errors="replace") for b in cases()]
MORE = [  # what BERT alone does
    "a" * 100, "a" * 101, "\u00e9" * 100, "\u00e9" * 101, "e\u0301" * 100, "stone" * 20, "stone" * 20 + "s",
    "[MASK] [CLS]x[SEP] [mask] [UNK] [PAD]", "\u0130stanbul I\u0307 \u0131 \u1e9e \u03a3\u03a3", "x\u4e2dy\u4e2d\u6587z \u3042\u4e2d\u30a2 \uac00\ub098 \U00020000x",
    "a\u0300\u0301\u0302b \u1e69 s\u0323\u0307 \u0958 \u212b \ufb01 \uff21\uff22 \u1734 \u0303", "don't (stop), 3.14% a_b $5 #x @y ~z^w `q` <r> |s",
    "\u00abquoted\u00bb \u2014dash\u2026 \u201cx\u201d \u00a1hola! \u00bfqu\u00e9? \u3002\u3001\u300c\u300d \u061f \u0964", "a\u200bb\u00adc\u2060d\ufeffe\x00f\ufffdg\x7fh\u0085i",
    "a\u00a0b\u3000c\u2028d\u202fe\tf\ng\rh\x0bi\x0cj", "##ing ## # ##a", BLANK + "stone " + BLANK,
    "\u061d \u09fd \u0a76 \u2e43 \u2e52 \U00011b00 \u166d \U000111c9 \u0898 \u08e2 \U000110cd \U00013430",
]


def build(vocabulary, user, lowercase, strip_accents):
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in user])
    return tokenizer


def encode_all(tokenizer, texts, special):
    tokenizer.encode_special_tokens = not special
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def small(wikitext):
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=1800, special_tokens=SPECIAL, show_progress=False)
    lower = normalizers.BertNormalizer(lowercase=True)
    trained.train_from_iterator([wikitext[:60000]] + (TEXTS + MORE) * 2 + [lower.normalize_str(t) for t in TEXTS + MORE], trainer)
    vocabulary, user = trained.get_vocab(), ["<table>"]
    tokenizers = {name: build(vocabulary, user, *flags) for name, flags in
                  {"uncased": (True, None), "cased": (False, None), "lower": (True, False), "stripped": (False, True)}.items()}
    tokens = sorted(vocabulary, key=vocabulary.get) + user
    types = [3 if t in SPECIAL else 4 if t in user else 1 for t in tokens]
    spelt = [t if kind == 3 else t[2:] if t.startswith("##") else BLANK + t for t, kind in zip(tokens, types)]
    ids = {name: encode_all(t, TEXTS + MORE, True) for name, t in tokenizers.items()}
    ids["plain"] = encode_all(tokenizers["uncased"], TEXTS + MORE, False)
    base = ids.pop("uncased")
    changed = {name: {str(i): a for i, (a, b) in enumerate(zip(other, base)) if a != b} for name, other in ids.items()}
    save("word_piece.json", {"tokens": spelt, "types": types, "more": MORE, "uncased": base, **changed})


def real(folder, wikitext):
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    special, plain = (encode_all(tokenizer, TEXTS + MORE, flag) for flag in (True, False))
    tokenizer.encode_special_tokens = False
    ids = [i for line in wikitext.splitlines() for i in tokenizer.encode(line).ids]
    digest = {"tokens": len(ids), "sha256": hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).hexdigest()}
    differences = {str(i): a for i, (a, b) in enumerate(zip(plain, special)) if a != b}
    save("all-minilm-l6-v2.json", {"wikitext2": digest, "special": special, "plain": differences})


def save(name, data):
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    (OUT / name).write_text(text.replace("],[", "],\n[").replace("],\"", "],\n\"") + "\n")
    print(f"{name}: {len(text)} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minilm", type=pathlib.Path, required=True)
    parser.add_argument("--wikitext", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    wikitext = arguments.wikitext.read_bytes().decode("utf-8")
    small(wikitext)
    real(arguments.minilm, wikitext)


if __name__ == "__main__":
    main()
