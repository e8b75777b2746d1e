#!/usr/bin/env python3
"""Tokens a second from Python against the program's: bench/python_speed.py CAIRN MODEL [--tokens N] [--rounds N]
Needs the package (pip install ., or PYTHONPATH=build/release/python). Answers at temperature 0, the program and three ways
of Python in turn; rates without the prompt, from the first token to the last; medians."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time

import cairn

PROMPT = "Once upon a time there was a stone"


def program(args: argparse.Namespace) -> float:
    done = subprocess.run(
        [args.cairn, "run", args.model, "--raw", "-p", PROMPT, "-n", str(args.tokens), "--temperature", "0", "--ignore-end",
         "--threads", str(args.threads), "--json"],
        check=True, capture_output=True, text=True,
    )
    return float(json.loads(done.stdout)["decode_tok_s"])


def whole(model: cairn.Model, options: dict) -> float:
    return model.session().complete(PROMPT, **options).decode_rate


def pieces(model: cairn.Model, options: dict) -> float:
    times = []
    for _ in model.session().generate(PROMPT, **options).tokens():
        times.append(time.perf_counter())
    return (len(times) - 1) / (times[-1] - times[0])


def tasks(model: cairn.Model, options: dict) -> float:
    async def read() -> float:
        stream = model.generate(PROMPT, **options)
        begun = None
        async for _ in stream:
            begun = begun or time.perf_counter()
        return (len(stream.result().tokens) - 1) / (time.perf_counter() - begun)

    return asyncio.run(read())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    model = cairn.Model(args.model, threads=args.threads)
    options = {"max_tokens": args.tokens, "temperature": 0, "ignore_end": True}
    whole(model, options)  # weights into memory
    rates: dict[str, list[float]] = {"program": [], "complete()": [], "for piece in": [], "async for piece in": []}
    for _ in range(args.rounds):
        rates["program"].append(program(args))
        for name, way in ("complete()", whole), ("for piece in", pieces), ("async for piece in", tasks):
            rates[name].append(way(model, options))
        print("  ".join(f"{name} {its[-1]:.1f}" for name, its in rates.items()), file=sys.stderr)
    base = statistics.median(rates["program"])
    for name, its in rates.items():
        ratio = statistics.median([a / b for a, b in zip(its, rates["program"])])
        print(f"{name:20} {statistics.median(its):7.1f} tok/s  {ratio:5.3f}x   {' '.join(f'{r:.1f}' for r in its)}")
    print(f"(medians; ratios: of each round; program {base:.1f})")


main()
