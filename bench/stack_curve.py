#!/usr/bin/env python3
"""Perplexity of a stack at several sizes, as a table and, with --json FILE, for a script.

    bench/stack_curve.py CAIRN STACK TEXT                     # 2, 2.25, 2.5, 3, 3.5, 4, 5 and 6 bits a weight
    bench/stack_curve.py CAIRN STACK TEXT --every 1 --limit 60   # every 1 % of the blocks: does it ever rise?

Perplexity is llama.cpp's figure: the second half of each window of 512 tokens. Prefixes are run as the engine runs
them; --dequantize writes them as f16 first (avd stacks need it)."""
import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import tempfile


def run(*command: str) -> dict:
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def bits_of_every(stack: dict, percent: float) -> list[float]:
    """Bits a weight of the base and of every so many per cent of what is between it and the whole."""
    low, high = stack["curve"][0]["bits"], stack["curve"][-1]["bits"]
    steps = round(100 / percent)
    return [low + (high - low) * i / steps for i in range(1, steps + 1)]


def measure(options: argparse.Namespace, bits: float) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        model = str(pathlib.Path(folder) / "model.gguf")
        restore = ["--dequantize"] if options.dequantize else []
        trimmed = run(options.cairn, "trim", options.stack, "--bits", f"{bits:.4f}", "--json", "-o", model, *restore)
        found = run(options.cairn, "eval", model, "--perplexity", options.text, "--context", "512", "--limit",
                    str(options.limit), "--threads", str(options.threads), "--json")
    return {"bits": trimmed["bits"], "linear_bytes": trimmed["linear_bytes"],
            "perplexity": found["perplexity_second_half"], "tokens": found["tokens"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("stack")
    parser.add_argument("text")
    parser.add_argument("--bits", type=float, nargs="+", default=[2, 2.25, 2.5, 3, 3.5, 4, 5, 6])
    parser.add_argument("--every", type=float, metavar="PERCENT", help="instead of --bits")
    parser.add_argument("--limit", type=int, default=0, help="windows; 0 is all")
    parser.add_argument("--dequantize", action="store_true")
    parser.add_argument("--jobs", type=int, default=1, help="sizes at a time")
    parser.add_argument("--threads", type=int, default=2, help="of each")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    sizes = options.bits
    if options.every:
        sizes = bits_of_every(run(options.cairn, "inspect", options.stack, "--json")["stack"], options.every)
    points = []
    print("| bits a weight | bytes | perplexity |\n|---|---|---|")
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for point in pool.map(lambda bits: measure(options, bits), sizes):
            points.append(point)
            print(f"| {point['bits']:.3f} | {point['linear_bytes']} | {point['perplexity']:.3f} |", flush=True)
    rises = [(b["perplexity"] / a["perplexity"] - 1, b["bits"]) for a, b in zip(points, points[1:])]
    most, where = max(rises, default=(0, 0))
    print(f"\n{points[-1]['tokens']} tokens; from one size to the next the perplexity rises by {100 * most:.2f} % "
          f"at most (at {where:.2f} bits).")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(points, indent=1))


if __name__ == "__main__":
    main()
