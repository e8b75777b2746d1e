#!/usr/bin/env python3
"""What guessing the next tokens gains: `cairn run --speculate` on ten edits of code, ten questions about code
and random text, against the same run without, in turn. Each text is asked whether it is the same as without.

    bench/speculation.py build/release/cairn MODEL --draft SMALL --kinds edit,question --modes lookup,draft,auto
    bench/speculation.py build/release/cairn STACK --kinds question --modes self --first 0 --count 5

A figure is the median over the prompts of: seconds of decoding without, by those with. What a small model
takes to read the prompt counts as decoding.
"""
import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys


def read_prompts():
    """{kind: [(name, text)]}, and random text: words that nothing follows from."""
    prompts = {}
    path = pathlib.Path(__file__).with_name("speculation_prompts.txt")
    for part in path.read_text().split("=== ")[1:]:
        head, _, text = part.partition("\n")
        kind, name = head.split()
        prompts.setdefault(kind, []).append((name, text.rstrip("\n")))
    chance = random.Random(15)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = lambda: " ".join("".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(60))
    prompts["random"] = [(f"random{i}", words()) for i in range(4)]
    return prompts


def run(arguments, model, kind, text, mode):
    command = [arguments.cairn, "run", model, "--json", "--no-stats", "-n", str(arguments.generate), "-p", text]
    if kind == "random":  # hot: the model itself does not know what comes
        command += "--raw --ignore-end --temperature 1.5 --top-k 0 --top-p 1 --min-p 0 --seed 1".split()
    else:
        command += ["--temperature", "0"]
    if mode != "none":
        command += ["--speculate", mode]
    if arguments.threads:
        command += ["-t", str(arguments.threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("model")
    parser.add_argument("--draft", help="the small model, for the modes draft and auto:draft")
    parser.add_argument("--kinds", default="edit,question,random")
    parser.add_argument("--modes", default="lookup,auto")
    parser.add_argument("--first", type=int, default=0, help="of each kind's prompts")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--generate", type=int, default=160)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("-o", "--output", help="append each run to this file, as JSON lines")
    arguments = parser.parse_args()
    modes = {mode: f"{mode.removesuffix(':draft')}:{arguments.draft}" if mode in ("draft", "auto:draft") else mode
             for mode in arguments.modes.split(",")}
    prompts = read_prompts()
    gains = {}
    different = []
    for kind in arguments.kinds.split(","):
        for name, text in prompts[kind][arguments.first : arguments.first + arguments.count]:
            plain = run(arguments, arguments.model, kind, text, "none")
            line = f"{kind:9} {name:10} {plain['decode_tok_s']:6.1f} tok/s"
            for label, mode in modes.items():
                result = run(arguments, arguments.model, kind, text, mode)
                if result["text"] != plain["text"]:
                    different.append(f"{kind} {name} {label}")
                gain = plain["decode_s"] / result["decode_s"]
                gains.setdefault((kind, label), []).append(gain)
                steps = max(1, result["decode_steps"])
                line += (f"   {label} {gain:5.2f}x, {result['decode_tokens'] / steps:4.2f} a step, "
                         f"{result['accepted_tokens']} of {result['guessed_tokens']}")
                if arguments.output:
                    with open(arguments.output, "a") as file:
                        record = {"kind": kind, "name": name, "mode": label, "gain": gain, "plain_s": plain["decode_s"]}
                        record |= {key: result[key] for key in ("decode_s", "decode_tokens", "decode_steps",
                                                                "guessed_tokens", "accepted_tokens")}
                        file.write(json.dumps(record) + "\n")
            print(line, flush=True)
    print()
    for (kind, label), values in gains.items():
        print(f"{kind:9} {label:10} {statistics.median(values):5.2f}x   {min(values):.2f} to {max(values):.2f}, "
              f"{len(values)} prompts")
    for one in different:
        print(f"another text: {one}", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
