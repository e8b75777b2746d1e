#!/usr/bin/env python3
"""What instructions (bench/instructions.py, bench/instructions_peer.py) mean on processors that are not at hand.

  bench/instructions.py --json >cairn.json
  bench/instructions_peer.py --llama FOLDER --kleidiai FOLDER --json >peer.json
  bench/cores.py cairn.json peer.json

A core does no more in a cycle than it is wide, no more vector arithmetic than it has vector units (SMMLA: its own number), no
more loads than it has ways to memory: the least time of these is a bound. Real kernels reach a part of it, the same for all
here: REACHED, the geometric mean over public measurements of llama.cpp's kernels, whose instructions are counted as well.
Decode is also bound by memory: REACHED_MEMORY of the bandwidth of its chips. Attention, norms and sampling are left out.
"""
import argparse
import json
import math
import sys

# Instructions dispatched a cycle, 128-bit vector units, SMMLA a cycle, loads a cycle: Arm's software optimisation guides
# of Cortex-A72, A76, A78, A720, X4 and Neoverse N1, N2. Oryon has none: Chips and Cheese's measurements, and for its products
# github.com/pigirons/cpufp/pull/30 (12 cores at 3.4 GHz: SDOT 5.16, SMMLA 4.29 Tops: 4 and 1.6 a cycle).
CORES = {"A76": (4, 2, 0, 2), "N1": (4, 2, 0, 2), "A78": (6, 2, 0, 3), "N2": (5, 2, 2, 3), "A720": (5, 2, 2, 3),
         "X4": (10, 4, 4, 3), "Oryon": (8, 4, 1.6, 4)}

# Name: ([(how many, core, GHz)], GB/s of the memory's chips, instruction set).
MACHINES = {
    "Raspberry Pi 5": ([(4, "A76", 2.4)], 17.1, "neon_dotprod"),
    "Ampere A1, 4 cores": ([(4, "N1", 3.0)], 40, "neon_dotprod"),
    "Graviton2, 64 cores": ([(64, "N1", 2.5)], 204.8, "neon_dotprod"),
    "Yitian 710, 64 cores": ([(64, "N2", 2.75)], 281.6, "neon_i8mm"),
    "Dimensity 8100 (4 A78)": ([(4, "A78", 2.85)], 51.2, "neon_dotprod"),
    "Snapdragon 8 Gen 3 (X4, 5 A720)": ([(1, "X4", 3.3), (3, "A720", 3.15), (2, "A720", 2.96)], 76.8, "neon_i8mm"),
    "Snapdragon X Elite": ([(12, "Oryon", 3.4)], 135, "neon_i8mm"),
}

# Weights of a model (with its head), of its layers alone (prefill), bytes a weight in Q4_0.
MODELS = {"Qwen2.5-1.5B": (1.54e9, 1.31e9), "Llama-3.2-1B": (1.24e9, 0.97e9), "Llama-3.1-8B": (8.03e9, 6.98e9)}
Q4_0 = 18 / 32

# Public measurements of llama.cpp's unpacked kernels: machine, {kernel: share of the weights}, weights of the layers,
# prefill tok/s, bytes of the model, decode tok/s, where.
K = {"dot_q4_k": 0.8, "dot_q6_k": 0.2}
PUBLIC = [
    ("Raspberry Pi 5", "neon_dotprod", {"dot_q6_k": 1}, 287e6, 86.2, 290e6, 39.5, "LFM2-350M Q6_K, llama.cpp PR 19360"),
    ("Raspberry Pi 5", "neon_dotprod", {"dot_q6_k": 1}, 642e6, 39.9, 609e6, 19.1, "LFM2-700M Q6_K, llama.cpp PR 19360"),
    ("Raspberry Pi 5", "neon_dotprod", {"dot_q8_0": 1}, 1034e6, 35, 1.17e9, 9, "TinyLlama-1.1B Q8_0, llamafile 0.7's article"),
    ("Ampere A1, 4 cores", "neon_dotprod", K, 2.77e9, 14.9, 1.93e9, 10.6, "Qwen2.5-3B Q4_K_M, prompt of 2,571, a blog's llama-server"),
    ("Yitian 710, 64 cores", "neon_dotprod", K, 6.98e9, 131, 4.92e9, 24.3, "Llama-3-8B Q4_K_M, llama.cpp PR 13886, before"),
    ("Yitian 710, 64 cores", "neon_i8mm", {k.replace("dot", "dots"): s for k, s in K.items()}, 6.98e9, 197, None, None,
     "the same, after"),
]


def cycles(core, counts):
    """The least that a unit of work takes on a core."""
    width, vectors, matrices, loads = CORES[core]
    least = max(counts["instructions"] / width, counts["vector"] / vectors, counts["loads"] / loads)
    if counts["matrix"] > 0:
        if not matrices:
            raise ValueError(f"{core} has no SMMLA")
        least = max(least, counts["matrix"] / matrices)
    return least


def rate(machine, counts):
    """Units of work a second, at most, on all cores, each working as fast as it can."""
    return sum(n * ghz * 1e9 / cycles(core, counts) for n, core, ghz in MACHINES[machine][0])


def mixed(found, prefix, shares):
    classes = ("instructions", "vector", "loads", "matrix")
    return {c: sum(share * found[f"{prefix} {kernel}"][c] for kernel, share in shares.items()) for c in classes}


def geometric(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("peer")
    options = parser.parse_args()
    try:
        cairn, peer = ({**json.load(open(path, encoding="utf-8"))} for path in (options.cairn, options.peer))
    except (OSError, ValueError) as error:
        sys.exit(f"cores.py: {error}")

    print("| public measurement | prefill tok/s | of the bound | decode tok/s | of the memory's GB/s |\n|---|---|---|---|---|")
    shares, memory = [], []
    for machine, target, kernels, weights, prefill, size, decode, where in PUBLIC:
        shares.append(prefill / (rate(machine, mixed(peer, f"llama.cpp {target}", kernels)) / weights))
        row = f"| {machine}: {where} | {prefill} | {shares[-1]:.2f} |"
        if size:
            memory.append(decode * size / (MACHINES[machine][1] * 1e9))
            row += f" {decode} | {memory[-1]:.2f} |"
        print(row if size else row + " | |")
    reached, reached_memory = geometric(shares), geometric(memory)
    worst = max(max(s / reached, reached / s) for s in shares)
    worst_memory = max(max(s / reached_memory, reached_memory / s) for s in memory)
    print(f"\nReached: {reached:.2f} of the bound, within a factor of {worst:.2f}; {reached_memory:.2f} of the memory, within "
          f"{worst_memory:.2f}\n")

    print("| machine | " + " | ".join(f"{m} Q4_0: prefill, decode" for m in MODELS) + " | decode bound by |")
    print("|---" * (2 + len(MODELS)) + "|")
    for machine, (_, bandwidth, target) in MACHINES.items():
        multiply, weigh = cairn[f"{target} gemm q4_0"], cairn[f"{target} gemv q4_0"]
        cells = []
        for all_weights, layers in MODELS.values():
            compute = reached * rate(machine, weigh) / all_weights
            read = reached_memory * bandwidth * 1e9 / (all_weights * Q4_0)
            cells.append(f"{reached * rate(machine, multiply) / layers:,.0f}, {min(compute, read):,.0f}")
            by = "memory" if read < compute else "products"
        print(f"| {machine} | {' | '.join(cells)} | {by} ({max(compute, read) / min(compute, read):.1f}×) |")


if __name__ == "__main__":
    main()
