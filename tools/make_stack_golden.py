#!/usr/bin/env python3
"""Golden data for tests/stack/golden_test.cpp: the stack's codecs, once more in numpy from docs/stack.md.

Writes tests/data/stack_golden.json: nested Lloyd-Max tables; blocks of bit planes and the weights that each
number of levels stands for; BitStack's decomposition of a matrix (arXiv 2410.23918, algorithm 1) by full SVDs,
its blocks, what they restore and what each level loses.

Needs: numpy.   Usage: tools/make_stack_golden.py
"""
import base64
import json
import math
import pathlib

import numpy as np

PLANES, RANK, FIRST_CUT = 7, 16, 1.02


def text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def density(x: float) -> float:
    return 0.0 if math.isinf(x) else math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def centroid(a: float, b: float) -> float:
    mass = (math.erf(b / math.sqrt(2)) - math.erf(a / math.sqrt(2))) / 2
    return (density(a) - density(b)) / mass


def best_cut(a: float, b: float) -> float:
    """Lloyd's condition by fixed-point iteration."""
    cut = max(a, -5.0) / 2 + min(b, 5.0) / 2
    for _ in range(2000):
        cut = (centroid(a, cut) + centroid(cut, b)) / 2
    return cut


def tables() -> list[list[int]]:
    bounds, result = [-math.inf, math.inf], []
    for level in range(1, PLANES + 1):
        inner = []
        for a, b in zip(bounds, bounds[1:]):
            if level == 1:
                inner.append(0.0)
            elif level == 2:
                inner.append(-FIRST_CUT if a < 0 else FIRST_CUT)
            else:
                inner.append(best_cut(a, b))
        bounds = sorted(bounds + inner)
        values = np.array([centroid(a, b) for a, b in zip(bounds, bounds[1:])])
        result.append([int(v) for v in np.rint(values / values.max() * 127)])
    return result


def plane_block(codes: np.ndarray, scales: np.ndarray, level: int) -> np.ndarray:
    rows, columns = codes.shape
    padded = -(-rows * 2 // 64) * 64
    tiled = -(-rows // 16) * 16
    out = np.zeros(padded + tiled * columns // 8, np.uint8)
    out[: rows * 2] = scales.view(np.uint8)
    for row in range(rows):
        for column in range(columns):
            step = row // 16 * (columns // 32) + column // 32
            at = padded + step * 64 + row % 16 * 4 + column % 4
            out[at] |= (codes[row, column] >> (PLANES - level) & 1) << (column % 32 // 4)
    return out


def planes(all_tables: list[list[int]], random: np.random.Generator) -> dict:
    rows, columns = 20, 64
    codes = random.integers(0, 1 << PLANES, (rows, columns), dtype=np.uint8)
    blocks, values = [], []
    for level in range(1, PLANES + 1):
        scales = random.uniform(1e-4, 3e-3, rows).astype(np.float16)
        table = np.array(all_tables[level - 1], np.float32)
        blocks.append(text(plane_block(codes, scales, level)))
        values.append(text(table[codes >> (PLANES - level)] * scales.astype(np.float32)[:, None]))
    return {"rows": rows, "columns": columns, "blocks": blocks, "values": values}


def avd(random: np.random.Generator) -> dict:
    rows, columns, levels = 48, 64, 3
    weights = (random.standard_normal((rows, columns)) * random.uniform(0.3, 2, (rows, 1))).astype(np.float32)
    scales = random.uniform(0.5, 1.5, columns).astype(np.float16)
    rest = weights.astype(np.float64) * scales.astype(np.float64)
    blocks, losses, restored = [], [float((rest**2).sum())], np.zeros_like(rest)
    for level in range(levels):
        positive = rest >= 0
        u, s, v = np.linalg.svd(np.abs(rest), full_matrices=False)
        left = (u[:, :RANK] * np.sqrt(s[:RANK])).astype(np.float16)
        right = np.ascontiguousarray((v[:RANK].T * np.sqrt(s[:RANK])).astype(np.float16))
        product = left.astype(np.float64) @ right.astype(np.float64).T
        part = np.where(positive, product, -product)
        rest -= part
        restored += part
        losses.append(float((rest**2).sum()))
        pieces = [np.packbits(positive.ravel(), bitorder="little"), left.view(np.uint8).ravel(),
                  right.view(np.uint8).ravel()]
        if level == 0:
            pieces.append(scales.view(np.uint8))
        blocks.append(text(np.concatenate(pieces)))
    return {"rows": rows, "columns": columns, "weights": text(weights), "scales": text(scales.astype(np.float32)),
            "blocks": blocks, "losses": losses,
            "restored": text((restored / scales.astype(np.float64)).astype(np.float32))}


def main() -> None:
    random = np.random.default_rng(1)
    all_tables = tables()
    golden = {"tables": all_tables, "planes": planes(all_tables, random), "avd": avd(random)}
    path = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "stack_golden.json"
    path.write_text(json.dumps(golden, indent=0) + "\n")
    print(path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
