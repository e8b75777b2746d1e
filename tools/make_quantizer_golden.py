#!/usr/bin/env python3
"""Makes tests/data/quantizers.json: what the published quantisers make of numbers that the test makes as well.

"gguf": SHA-256 of the blocks that the `gguf` Python package (0.19) writes, for each encoding that it quantises to.
"ggml": the relative squared error Σ w (x' − x)² / Σ w x² of ggml's own quantisers, without importance (w = 1) and with
(w the importance of a column): ggml_quantize_chunk of the revision in llama-cpp-python 0.3.36.

The numbers are 64 rows of 1,024: number i is the sum of the four 16-bit pieces of SplitMix64's word i (seed 1) less
131,070, times 2^-22; every 61st is eight times that. The importance of column c is (1 + b²) / 64, b the top byte of word
c of seed 2.

usage: make_quantizer_golden.py LIBGGML_BASE OUTPUT.json    (needs gguf, numpy; a shared libggml-base)
"""
import ctypes
import hashlib
import json
import sys

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize, quantize

ROWS, COLUMNS = 64, 1024
OURS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4",
        "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S"]
NEED_IMPORTANCE = ["IQ1_S", "IQ2_XXS", "IQ2_XS"]  # given ones where there is none


def words(seed: int, count: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def numbers() -> np.ndarray:
    pieces = words(1, ROWS * COLUMNS).astype("<u8").view("<u2").reshape(-1, 4).astype(np.int64)
    x = (pieces.sum(axis=1) - 131070).astype(np.float32) * np.float32(2.0**-22)
    x[::61] *= np.float32(8)
    return x.reshape(ROWS, COLUMNS)


def main() -> None:
    x = numbers()
    importance = (1 + (words(2, COLUMNS) >> np.uint64(56)).astype(np.float32) ** 2) / np.float32(64)
    hashes = {}
    for name in ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4", "TQ1_0", "TQ2_0"]:
        blocks = quantize(x, GGMLQuantizationType[name])
        hashes[name.lower()] = hashlib.sha256(np.ascontiguousarray(blocks).tobytes()).hexdigest()
    ggml = ctypes.CDLL(sys.argv[1])
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    pointer = ctypes.c_void_p
    errors = {}
    for name in OURS:
        kind = GGMLQuantizationType[name]
        elements, size = GGML_QUANT_SIZES[kind]
        pair = []
        for weights in (np.ones_like(importance) if name in NEED_IMPORTANCE else None, importance):
            blocks = np.zeros((ROWS, COLUMNS // elements * size), dtype=np.uint8)
            ggml.ggml_quantize_chunk(
                ctypes.c_int(int(kind)), pointer(x.ctypes.data), pointer(blocks.ctypes.data), ctypes.c_int64(0),
                ctypes.c_int64(ROWS), ctypes.c_int64(COLUMNS), pointer(None if weights is None else weights.ctypes.data))
            w = np.ones(COLUMNS) if weights is None else weights.astype(np.float64)
            rest = dequantize(blocks, kind).astype(np.float64) - x
            pair.append(float((w * rest**2).sum() / (w * x.astype(np.float64) ** 2).sum()))
        errors[name.lower()] = pair
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        json.dump({"gguf": hashes, "ggml": errors}, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
