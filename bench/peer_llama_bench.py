#!/usr/bin/env python3
"""llama-bench, of llama.cpp or of ik_llama.cpp, as a peer for `cairn bench --against`, figures.py and busy.py.

    bench/figures.py --peer "bench/peer_llama_bench.py path/to/llama-bench"
    bench/peer_llama_bench.py LLAMA_BENCH MODEL --prompt N --generate N --threads N --repeat N [--repack]

Prints {"prefill_tok_s": …, "decode_tok_s": …}, the best of its runs. --repack is ik_llama.cpp's -rtr; llama.cpp
repacks by itself. Flash attention is on, as it is by default in both.
"""
import argparse
import json
import subprocess


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    for name in ["prompt", "generate", "threads", "repeat"]:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--repack", action="store_true")
    options = parser.parse_args()
    command = [options.program, "-m", options.model, "-p", str(options.prompt), "-n", str(options.generate),
               "-t", str(options.threads), "-r", str(options.repeat), "-b", str(max(options.prompt, 32)),
               "-ub", str(max(options.prompt, 32)), "-fa", "1", "-o", "json"]
    if options.repack:
        command += ["-rtr", "1"]
    text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rates = {"prefill_tok_s": 0.0, "decode_tok_s": 0.0}
    for run in json.loads(text[text.index("["):]):
        rates["prefill_tok_s" if run["n_prompt"] else "decode_tok_s"] = max(run["samples_ts"])
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
