#!/usr/bin/env python3
"""A source that no fixed type has an advantage on. The models at hand were quantised before, and a type whose blocks are those of
back then stores them without a loss; a model as it was trained has no such grid. This moves every weight of an f16 file, in place,
by a random part of the step that its block was rounded with: what rounding took is put back in size, not in place.

    pip install gguf
    cairn quantize smollm2-135m --type f16 -o source.gguf
    bench/blur.py ~/.cache/cairn/models/smollm2-135m.gguf source.gguf
"""
import argparse
import sys

import gguf
import numpy as np

PARTS = {"Q4_K": 32, "Q5_K": 32, "Q2_K": 16, "Q3_K": 16, "Q6_K": 16}  # weights with a step of their own; others: 32


def blur(values, part, random):
    """values: float32. A part's step is the smallest gap between two of its values."""
    parts = values.reshape(-1, part)
    ordered = np.sort(parts, axis=1)
    gaps = np.diff(ordered, axis=1)
    spread = np.abs(parts).max(axis=1, keepdims=True)
    gaps[gaps <= 1e-4 * spread] = np.inf  # equal but for rounding
    step = gaps.min(axis=1, keepdims=True)
    step[~np.isfinite(step)] = 0
    return (parts + step * random.uniform(-0.5, 0.5, parts.shape)).reshape(values.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("quantised")
    parser.add_argument("source", help="its f16 file, which is changed")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    old = {tensor.name: tensor for tensor in gguf.GGUFReader(options.quantised).tensors}
    moved = 0
    for tensor in gguf.GGUFReader(options.source, "r+").tensors:
        kind = old[tensor.name].tensor_type.name
        if tensor.tensor_type.name != "F16" or kind in ("F16", "F32", "BF16"):
            continue
        values = gguf.dequantize(old[tensor.name].data, old[tensor.name].tensor_type)
        tensor.data[...] = blur(values, PARTS.get(kind, 32), random).astype(np.float16).reshape(tensor.data.shape)
        moved += 1
    if moved == 0:
        sys.exit(f"{options.source}: no tensor is f16 that was quantised in {options.quantised}")
    print(f"{moved} tensors")


if __name__ == "__main__":
    main()
