#!/usr/bin/env python3
"""Makes tests/data/golden_real/all-minilm-l6-v2.golden.gguf: what sentence-transformers make of some texts, computed by
transformers as its modules say (the model, the mean over the tokens, length 1).

    tools/make_embedding_golden.py FOLDER

FOLDER is the checkpoint. Holds golden.texts, tensor "embeddings" [texts, 384]. Needs torch, transformers, gguf.
"""
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers as tf

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "golden_real" / "all-minilm-l6-v2.golden.gguf"
LONG = "Whoever passes lays a stone on the cairn where two paths meet; in 1931 there were 240 of them. "
TEXTS = [
    "a pile of stones", "A cairn is a man-made pile of stones raised for a purpose.", "The cat sits on the mat.",
    "Qui passe ici pose une pierre. Übermütige Gämsen; 石の山 \U0001f30d", "x", "def mean(v):\n    return sum(v) / len(v)", "",
    LONG * 12, LONG * 22,  # 266 and 486 tokens
]


def main():
    folder = sys.argv[1]
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    model = tf.AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    vectors = []
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt", truncation=False, padding=False)
        with torch.no_grad():
            mean = model(**ids).last_hidden_state[0].double().mean(0)
        vectors.append((mean / mean.norm()).numpy())
        print(ids["input_ids"].shape[1], "tokens")
    writer = gguf.GGUFWriter(OUT, "golden")
    writer.add_array("golden.texts", TEXTS)
    writer.add_tensor("embeddings", np.ascontiguousarray(np.stack(vectors), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
