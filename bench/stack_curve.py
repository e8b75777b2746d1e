#!/usr/bin/env python3
"""Perplexity of a stack at several sizes: bench/stack_curve.py CAIRN STACK TEXT [--bits 2 2.5 3 4] [--limit WINDOWS]

Prints a table of bits a weight, bytes and perplexity (second half of each window of 512 tokens, llama.cpp's figure)."""
import argparse
import json
import pathlib
import subprocess
import tempfile


def run(*command: str) -> dict:
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("stack")
    parser.add_argument("text")
    parser.add_argument("--bits", type=float, nargs="+", default=[2, 2.25, 2.5, 3, 3.5, 4, 5, 6])
    parser.add_argument("--limit", type=int, default=0, help="windows; 0 is all")
    arguments = parser.parse_args()
    print("| bits a weight | bytes | perplexity |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        model = str(pathlib.Path(folder) / "model.gguf")
        for bits in arguments.bits:
            trimmed = run(arguments.cairn, "trim", arguments.stack, "--bits", str(bits), "--dequantize", "--json",
                          "-o", model)
            found = run(arguments.cairn, "eval", model, "--perplexity", arguments.text, "--context", "512",
                        "--limit", str(arguments.limit), "--json")
            print(f"| {trimmed['bits']:.3f} | {trimmed['linear_bytes']} | {found['perplexity_second_half']:.3f} |",
                  flush=True)


if __name__ == "__main__":
    main()
