#!/usr/bin/env python3
"""Makes tests/data/encodings/: what the `gguf` Python package (0.19) dequantises blocks of each encoding to.

For each encoding: NAME.blocks, a few raw blocks (random ones, and ones with extreme scales); NAME.values, their
float32 values; and in hashes.json the SHA-256 of the values of 4,096 blocks more, whose bytes the test makes itself
with the same generator (SplitMix64, little-endian, seeded with the encoding's number), and each encoding's block: its
elements, its bytes, GGUF's number. Of Q1_0 the package knows the block alone; its values are computed here, as llama.cpp's
dequantize_row_q1_0 documents them: d where a bit is set, else -d, lowest bits first.

usage: make_encoding_golden.py OUTPUT_FOLDER    (needs gguf, numpy)
"""
import hashlib
import json
import pathlib
import sys

import numpy as np
from gguf.constants import GGMLQuantizationType, GGML_QUANT_SIZES
from gguf.quants import dequantize

# Encoding: where its blocks hold 16-bit floats.
HALVES = {
    "F32": [], "F16": [0], "BF16": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ2_XXS": [0], "IQ2_XS": [0], "IQ3_XXS": [0], "IQ1_S": [0], "IQ4_NL": [0], "IQ3_S": [0], "IQ2_S": [0],
    "IQ4_XS": [0], "IQ1_M": [], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [], "NVFP4": [], "Q1_0": [0],
}
# Those of IQ1_M's one: the upper four bits of each byte, lowest first.
NIBBLES = [49, 51, 53, 55]
# Zero of both signs, the subnormals' ends, one, the largest.
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF]
BLOCKS = 4096


def random_bytes(seed: int, count: int) -> np.ndarray:
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, (count + 7) // 8 + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return z.astype("<u8").view(np.uint8)[:count]


def make_finite(blocks: np.ndarray, halves: list[int]) -> None:
    """Infinities and NaN lose an exponent bit: NaN have no one answer."""
    for at in halves:
        high = blocks[:, at + 1]
        blocks[:, at + 1] = np.where((high & 0x7C) == 0x7C, high & 0xBF, high)


def make_nibbles_finite(blocks: np.ndarray) -> None:
    low, high = blocks[:, NIBBLES[2]], blocks[:, NIBBLES[3]]
    blocks[:, NIBBLES[3]] = np.where(((high & 0x70) == 0x70) & ((low & 0xC0) == 0xC0), high & 0xBF, high)


def values_of(blocks: np.ndarray, kind: GGMLQuantizationType) -> np.ndarray:
    if kind == GGMLQuantizationType.BF16:  # the package's code expects shorts
        return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if kind == GGMLQuantizationType.Q1_0:  # of which the package knows no more than the size
        d = blocks[:, :2].copy().view("<f2").astype(np.float32)
        bits = np.unpackbits(blocks[:, 2:], axis=1, bitorder="little").astype(bool)
        return np.where(bits, d, -d)
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(dequantize(blocks, kind), dtype="<f4")


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    hashes, sizes = {}, {}
    for name, halves in HALVES.items():
        kind = GGMLQuantizationType[name]
        elements, size = GGML_QUANT_SIZES[kind]
        sizes[name.lower()] = f"{elements} {size} {kind.value}"
        count = {1: 512, 32: 48, 64: 24, 128: 16, 256: 12}[elements]
        blocks = random_bytes(1000 + kind.value, count * size).reshape(count, size).copy()
        make_finite(blocks, halves)
        for i, bits in enumerate(EXTREMES):
            for n, at in enumerate(halves):
                blocks[i, at : at + 2] = np.array([EXTREMES[i - n]], dtype="<u2").view(np.uint8)
        if name == "IQ1_M":
            make_nibbles_finite(blocks)
            for i, bits in enumerate(EXTREMES):
                for n, at in enumerate(NIBBLES):
                    blocks[i, at] = blocks[i, at] & 0x0F | bits >> 4 * n << 4 & 0xF0
        if name == "NVFP4":
            blocks[:8, :4] = np.array([0, 1, 7, 8, 0x7E, 0x7F, 0x80, 0xFF], dtype=np.uint8)[:, None]
        if name == "MXFP4":
            blocks[:8, 0] = [0, 1, 2, 3, 126, 127, 254, 255]
        (folder / f"{name.lower()}.blocks").write_bytes(blocks.tobytes())
        (folder / f"{name.lower()}.values").write_bytes(values_of(blocks, kind).tobytes())
        more = random_bytes(kind.value, BLOCKS * size).reshape(BLOCKS, size).copy()
        make_finite(more, halves)
        if name == "IQ1_M":
            make_nibbles_finite(more)
        hashes[name.lower()] = hashlib.sha256(values_of(more, kind).tobytes()).hexdigest()
    (folder / "hashes.json").write_text(json.dumps({"blocks": BLOCKS, "sha256": hashes, "sizes": sizes}, indent=1) + "\n")


main()
