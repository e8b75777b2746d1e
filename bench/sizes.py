#!/usr/bin/env python3
"""A stack's prefixes beside fixed types at equal bytes: each file that `cairn quantize` makes of SOURCE, and the stack cut to no more
bytes than that file, metadata, vocabulary and all.

    cairn quantize MODEL --type f16 -o source.gguf
    cairn stack source.gguf --text TEXT -o stack.gguf
    cairn quantize source.gguf --type q2_k --text TEXT --save-imatrix imatrix.gguf -o q2_k.gguf
    bench/sizes.py CAIRN source.gguf stack.gguf imatrix.gguf wikitext2-test.raw [--limit 12] [--types q2_k …] [--json FILE]

Prints a table for docs/sizes.md, smallest files first. Perplexity is that of all positions of windows of 512 tokens, as the engine
runs the files; KL is the mean divergence from the source on the same windows, in nats. Needs nothing but Python.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

TYPES = ["iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "q2_k_s", "q2_k", "iq3_xxs", "iq3_xs", "q3_k_s", "iq3_s", "iq3_m",
         "q3_k_m", "q3_k_l", "iq4_xs", "iq4_nl", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k"]


def run(*command):
    return json.loads(subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout)


def evaluate(options, model):
    return run(options.cairn, "eval", model, "--perplexity", options.text, "--limit", options.limit, "--against", options.source,
               "--json")


def measure(options, name, folder):
    fixed, cut = folder / "fixed.gguf", folder / "cut.gguf"
    made = run(options.cairn, "quantize", options.source, "--type", name, "--imatrix", options.imatrix, "-o", fixed, "--force",
               "--json", "--quiet")
    size = fixed.stat().st_size
    found = evaluate(options, fixed)
    row = {"type": name, "bytes": size, "fallbacks": len(made["fallbacks"]), "perplexity": found["perplexity"], "kl": found["mean_kl"]}
    trim = subprocess.run([options.cairn, "trim", options.stack, "--size", str(size), "-o", cut, "--force", "--json"],
                          capture_output=True, text=True)
    if trim.returncode == 0:
        found = evaluate(options, cut)
        row |= {"stack_bytes": cut.stat().st_size, "bits": json.loads(trim.stdout)["bits"], "stack_perplexity": found["perplexity"],
                "stack_kl": found["mean_kl"]}
    return row  # without a stack's where the file is smaller than its base


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cairn", "source", "stack", "imatrix", "text"):
        parser.add_argument(name)
    parser.add_argument("--limit", type=int, default=12, help="windows; 0 is all")
    parser.add_argument("--types", nargs="+", default=TYPES)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    print(f"source: {evaluate(options, options.source)['perplexity']:.3f}", flush=True)
    with tempfile.TemporaryDirectory(dir=pathlib.Path(options.stack).resolve().parent) as folder:
        rows = []
        for name in options.types:
            rows.append(measure(options, name, pathlib.Path(folder)))
            print(json.dumps(rows[-1]), flush=True)
    rows.sort(key=lambda row: row["bytes"])
    print("\n| type | MB | perplexity | KL | stack, MB | bits | perplexity | KL | stack : type |\n"
          "|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        line = f"| `{row['type']}` | {row['bytes'] / 1e6:.2f} | {row['perplexity']:.2f} | {row['kl']:.4f} |"
        if "bits" in row:
            line += (f" {row['stack_bytes'] / 1e6:.2f} | {row['bits']:.2f} | {row['stack_perplexity']:.2f} | {row['stack_kl']:.4f} |"
                     f" {100 * (row['stack_perplexity'] / row['perplexity'] - 1):+.1f} % |")
        else:
            line += " | | | | smaller than the stack's base |"
        print(line)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
