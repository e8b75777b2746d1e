#!/usr/bin/env python3
"""Writes tests/data/tokenizer/: token ids by the reference tokenizers.

    tools/make_tokenizer_golden.py --smollm2 FILE.gguf --gemma3 FILE.gguf --wikitext wikitext2-test.raw

Needs the packages tokenizers, transformers, sentencepiece and gguf. Where two references disagree the script
says so, and stops unless the disagreement is one that docs/text.md explains.
"""
import argparse
import hashlib
import json
import re
import struct
import tempfile
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto
from tokenizer_cases import cases
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "tokenizer"
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
BLANK = "\u2581"
BYTES = cases()
TEXTS = [b.decode("utf-8", errors="replace") for b in BYTES]

# The cased letters that deepseek-llm's tokenizer.json lists.
CASED = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376"
    "\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-"
    "\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a"
    "\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
    "\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f"
    "\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b"
    "\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2"
    "\U000118a0-\U000118df\U0001e900-\U0001e943"
)
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
DIGITS = pre_tokenizers.Digits(individual_digits=True)
SPLITS = {
    "deepseek-llm": [r"[\r\n]", rf"\s?[{CASED}]+", "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", CJK, DIGITS],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, DIGITS],
    "deepseek-v3": [
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    ],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "stablelm2": [GGUF_PRE_TOKENIZER_SPLITS["qwen2"]],
    # GLM-4's tokenizer.json has Llama 3's expression, and takes whole words first; its older form does not.
    "glm4": [GGUF_PRE_TOKENIZER_SPLITS["llama-bpe"]],
    "chatglm-bpe": [GGUF_PRE_TOKENIZER_SPLITS["llama-bpe"]],
    **{name: [GGUF_PRE_TOKENIZER_SPLITS[name]] for name in ("llama-bpe", "qwen2", "qwen35", "gpt-4o", "tekken", "dbrx")},
}
BYTE_LEVEL = {"gpt-2": [], "smollm": [DIGITS], "starcoder": [DIGITS], "refact": [DIGITS], "command-r": [DIGITS], "exaone4": []}
WHOLE_WORDS = ("llama-bpe", "tekken", "glm4")
COMPOSED = ("qwen2", "qwen35")


def save(name, data):
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text(text.replace("],[", "],\n[").replace("],\"", "],\n\"") + "\n")
    print(f"{name}: {len(text)} bytes")


def digest(ids):
    return {"tokens": len(ids), "sha256": hashlib.sha256(struct.pack(f"<{len(ids)}i", *ids)).hexdigest()}


def differences(ids, base):
    return {str(i): a for i, (a, b) in enumerate(zip(ids, base)) if a != b}


def byte_level(vocabulary, merges, types, name, **options):
    """A byte-level BPE as the family's tokenizer.json describes it."""
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=name in WHOLE_WORDS))
    if name in COMPOSED:
        tokenizer.normalizer = normalizers.NFC()
    if name in BYTE_LEVEL:
        steps = BYTE_LEVEL[name] + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    else:
        steps = [s if s is DIGITS else pre_tokenizers.Split(Regex(s), "isolated") for s in SPLITS[name]]
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    for token, kind in zip(vocabulary, types):
        if kind == CONTROL:
            tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
        if kind == USER:
            tokenizer.add_tokens([AddedToken(token, normalized=False, special=False)])
    return tokenizer


def encode_all(tokenizer, special):
    tokenizer.encode_special_tokens = not special
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]


def metadata(path):
    import gguf

    fields = gguf.GGUFReader(path).fields
    return {k.split(".")[-1]: f.contents() for k, f in fields.items() if k.startswith("tokenizer.ggml")}


def smollm2(path, wikitext):
    data = metadata(path)
    vocabulary = {token: i for i, token in enumerate(data["tokens"])}
    merges = [tuple(merge.split(" ")) for merge in data["merges"]]
    tokenizer = byte_level(vocabulary, merges, data["token_type"], "smollm")
    special, plain = encode_all(tokenizer, True), encode_all(tokenizer, False)
    ids = tokenizer.encode(wikitext, add_special_tokens=False).ids
    save("smollm2-135m.json", {"wikitext2": digest(ids), "special": special, "plain": differences(plain, special)})


def sentencepiece_model(tokens, scores, types, prefix):
    model = proto.ModelProto()
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type, trainer.byte_fallback = 2, BYTE in types
    normalizer.name = "identity"
    normalizer.add_dummy_prefix, normalizer.remove_extra_whitespaces = prefix, False
    trainer.unk_id = types.index(UNKNOWN)
    trainer.unk_piece = tokens[trainer.unk_id]
    trainer.bos_id = trainer.eos_id = trainer.pad_id = -1
    for token, score, kind in zip(tokens, scores, types):
        model.pieces.add(piece=token.replace(" ", BLANK) if kind == USER else token, score=score, type=kind)
    return sentencepiece.SentencePieceProcessor(model_proto=model.SerializeToString())


def gemma3(path, wikitext):
    data = metadata(path)
    tokens, scores = data["tokens"], data["scores"]
    types = list(data["token_type"])
    types[data["unknown_token_id"]] = UNKNOWN  # marked control in the file; sentencepiece wants one unknown
    model = sentencepiece_model(tokens, scores, types, False)
    control = {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if kind in (CONTROL, UNKNOWN)}
    cut = re.compile("(" + "|".join(map(re.escape, sorted(control, key=len, reverse=True))) + ")")
    plain = [model.EncodeAsIds(text) for text in TEXTS]
    special = [[i for part in cut.split(text) for i in ([control[part]] if part in control else model.EncodeAsIds(part))] for text in TEXTS]
    ids = model.EncodeAsIds(wikitext)

    # The second reference: transformers' own conversion of the same file.
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name).backend_tokenizer
    if other.encode(wikitext, add_special_tokens=False).ids != ids:
        raise SystemExit("gemma3: sentencepiece and transformers disagree on WikiText-2")
    for flag, mine in ((True, special), (False, plain)):
        for text, a, b in zip(TEXTS, mine, encode_all(other, flag)):
            if a != b:
                print(f"gemma3: sentencepiece and transformers differ on {text[:40]!r}...")
                if " " * 32 not in text:
                    raise SystemExit("gemma3: a disagreement that is not about 32 blanks")
    save("gemma3-270m.json", {"wikitext2": digest(ids), "special": special, "plain": differences(plain, special)})


def small_byte_level(wikitext):
    """One small vocabulary whose merges cross all boundaries, so that ids show where a text was split."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=256 + 700, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    trained.train_from_iterator([wikitext[:60000]] + TEXTS * 4, trainer)
    state = json.loads(trained.to_str())["model"]
    tokens = sorted(state["vocab"], key=state["vocab"].get)
    types = [NORMAL] * len(tokens)
    extra = [("\u0120jumps", NORMAL), ("\u0120Hallucination", NORMAL), ("camelCaseWords", NORMAL), ("<|im_start|>", CONTROL),
             ("<|im_end|>", CONTROL), ("<|im", USER), ("<table>", USER), ("  ", USER)]
    for token, kind in extra:
        if token not in state["vocab"]:
            tokens.append(token)
            types.append(kind)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    merges = [tuple(merge) for merge in state["merges"]]
    save("byte_level.json", {"tokens": tokens, "types": types, "merges": [" ".join(m) for m in merges]})
    ids = {name: encode_all(byte_level(vocabulary, merges, types, name), True) for name in [*BYTE_LEVEL, *SPLITS]}
    base = ids.pop("gpt-2")
    save("pre_tokenizers.json", {"gpt-2": base, **{name: differences(i, base) for name, i in ids.items()}})


def small_sentencepiece(name, wikitext, prefix, unused=0, **options):
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.write_text(wikitext[:40000])
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=folder + "/m", model_type="bpe", normalization_rule_name="identity",
            remove_extra_whitespaces=False, add_dummy_prefix=prefix, minloglevel=2, max_sentence_length=10**6, **options
        )  # fmt: skip
        model = proto.ModelProto.FromString(Path(folder + "/m.model").read_bytes())
    tokens = [p.piece for p in model.pieces]
    types = [p.type for p in model.pieces]
    scores = [p.score for p in model.pieces]
    long = [i for i, t in enumerate(tokens) if types[i] == NORMAL and len(t) > 2]
    for i in long[:: len(long) // unused] if unused else []:
        types[i] = UNUSED
    ids = [sentencepiece_model(tokens, scores, types, prefix).EncodeAsIds(text) for text in TEXTS]
    save(f"{name}.json", {"tokens": tokens, "types": types, "scores": scores, "add_space_prefix": prefix, "ids": ids})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("smollm2", "gemma3", "wikitext"):
        parser.add_argument("--" + name, type=Path, required=True)
    arguments = parser.parse_args()
    wikitext = arguments.wikitext.read_bytes().decode("utf-8")
    hard = [{"hex": b.hex(), "text": t} if b != t.encode() else {"text": t} for b, t in zip(BYTES, TEXTS)]
    save("hard_cases.json", hard)
    small_byte_level(wikitext)
    small_sentencepiece("sentencepiece_bytes", wikitext, True, vocab_size=700, byte_fallback=True)
    small_sentencepiece("sentencepiece_unused", wikitext, True, unused=40, vocab_size=700, byte_fallback=True)
    small_sentencepiece("sentencepiece_phrases", wikitext, False, vocab_size=500, byte_fallback=False,
                        split_by_whitespace=False, user_defined_symbols=["<table>", BLANK * 2, BLANK * 4])  # fmt: skip
    smollm2(arguments.smollm2, wikitext)
    gemma3(arguments.gemma3, wikitext)


if __name__ == "__main__":
    main()
