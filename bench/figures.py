#!/usr/bin/env python3
"""Measures every speed figure of the README in one go and prints it as a Markdown table.

    bench/figures.py [--cairn build/release/cairn] [--peer "python3 bench_ik.py"] [--rounds 5] [--only TEXT]
                     [--model NAME=FILE]... [--prompts 512,2048] [--encodings q4_0,q4_k,q8_0]

The peer is a command that takes MODEL --prompt N --generate N --threads N --repeat N [--repack] and prints JSON
with prefill_tok_s and decode_tok_s; cairn runs it in turn with itself (`cairn bench --against`), once plain and
once with --repack, and the table shows the mode that is better for the peer, prefill and decode each by itself. Files
given with --model get a row at 512 tokens each. CAIRN_TARGET in the environment holds for cairn alone. Needs both
pulled models and about 4 GB of disk for the synthetic ones. Run it on an idle machine.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time


def bench(cairn, model, *arguments, threads=2):
    done = subprocess.run([cairn, "bench", model, "--threads", str(threads), "--json", *arguments], check=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def compared(options, model, path, prompt, generate):
    """One model and prompt length, against the peer's better mode where there is a peer."""
    base = ["--prompt", str(prompt), "--generate", str(generate), "--repeat", str(options.rounds)]
    if not options.peer:
        return bench(options.cairn, model, *base)
    results = []
    for mode in ["", " --repack"]:
        peer = f"{options.peer} {path} --prompt {prompt} --generate {generate} --threads 2 --repeat 1{mode} 2>/dev/null"
        results.append(bench(options.cairn, model, *base, "--against", peer))
    best = min(results, key=lambda r: r["prefill_ratio"])
    best["decode_ratio"] = min(r["decode_ratio"] for r in results)
    return best


def first_token(cairn, model):
    """Whole processes: start to the end of one token after a prompt of about 16."""
    prompt = "one two three four five six seven eight nine ten eleven twelve thirteen"
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([cairn, "run", model, "--raw", "-p", prompt, "-n", "1", "--threads", "2"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def threads_gain(options, model, repeat):
    """Prefill on two threads over prefill on one, the median of pairs."""
    gains = []
    for _ in range(options.rounds):
        one, two = (bench(options.cairn, model, "--prompt", "512", "--generate", "0", "--repeat", str(repeat),
                          threads=threads)["prefill_tok_s"] for threads in (1, 2))
        gains.append(two / one)
    return statistics.median(gains)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cairn", default="build/release/cairn")
    parser.add_argument("--peer", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--prompts", default="512,2048", help="of the pulled models")
    parser.add_argument("--encodings", default="q4_0,q4_k,q8_0", help="of the 1.8B shape")
    parser.add_argument("--table-only", action="store_true", help="neither threads' gain nor time to the first token")
    options = parser.parse_args()

    peaks = json.loads(subprocess.run([options.cairn, "bench", "--peak", "--threads", "2", "--json"], check=True,
                                      stdout=subprocess.PIPE).stdout)
    print(f"{peaks['processor']}, {peaks['instruction_set']}, 2 threads: int8 {peaks['int8_gops']:.0f} GOP/s "
          f"({peaks['int8_instructions']}), fp32 {peaks['fp32_gflops']:.0f} GFLOP/s, "
          f"memory {peaks['read_gb_s']:.1f} GB/s\n")
    print("| model | prompt | prefill tok/s | of the int8 peak | against the peer | decode tok/s | of the bandwidth "
          "| against the peer | MiB beyond file and KV |")
    print("|---|---|---|---|---|---|---|---|---|")

    def row(name, model, path, prompt, generate):
        if options.only not in name:
            return
        r = compared(options, model, path, prompt, generate)
        ratio = lambda key: f"{r[key]:.2f}×" if key in r else "–"
        print(f"| {name} | {prompt} | {r['prefill_tok_s']:.0f} | {100 * r['prefill_of_peak']:.0f} % | "
              f"{ratio('prefill_ratio')} | {r['decode_tok_s']:.1f} | {100 * r['decode_of_bandwidth']:.0f} % | "
              f"{ratio('decode_ratio')} | {r['rss_beyond_mib']:.0f} |", flush=True)

    scaling = {}
    for model in ["smollm2-135m", "gemma3-270m"]:
        path = subprocess.run([options.cairn, "pull", model], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.strip().splitlines()[-1]
        for prompt in options.prompts.split(","):
            row(model, model, path, int(prompt), 64)
    for name, _, path in (item.partition("=") for item in options.model):
        row(name, path, path, 512, 32)
    with tempfile.TemporaryDirectory() as folder:
        for encoding in options.encodings.split(","):
            path = os.path.join(folder, f"qwen1.5-1.8b-{encoding}.gguf")
            if options.only in f"qwen1.5-1.8b {encoding}":
                subprocess.run([options.cairn, "synth", "--shape", "qwen1.5-1.8b", "--encoding", encoding, "-o", path],
                               check=True, stdout=subprocess.DEVNULL)
                row(f"qwen1.5-1.8b {encoding}", path, path, 512, 32)
                if encoding == "q4_0" and not options.table_only:
                    scaling[f"qwen1.5-1.8b {encoding}"] = threads_gain(options, path, 1)
                os.remove(path)

    if options.table_only:
        return
    model = "smollm2-135m"
    scaling[model] = threads_gain(options, model, 3)
    print()
    for name, gain in scaling.items():
        print(f"1 → 2 threads, prefill of {name}: {gain:.2f}×")
    print(f"process start to first token, {model}, short prompt: {first_token(options.cairn, model):.3f} s")


main()
