#!/usr/bin/env python3
"""How long the program takes for answers that need no model: help, its version, a misspelt word.

    bench/answers.py CAIRN [--count 20]

Prints medians and the largest in milliseconds, and as the last line JSON.
"""
import argparse
import json
import statistics
import subprocess
import time

ANSWERS = [["--help"], ["--version"], ["run", "--help"], ["rnu"], ["run", "no-such-model", "-p", "x"], ["run", "--no-such-flag"],
           ["video", "--help"], ["video", "encode", "--help"], ["video", "nonsense"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("--count", type=int, default=20)
    options = parser.parse_args()
    times = {}
    for _ in range(options.count):
        for words in ANSWERS:
            begin = time.perf_counter()
            subprocess.run([options.cairn, *words], stdin=subprocess.DEVNULL, capture_output=True)
            times.setdefault(" ".join(words), []).append(1000 * (time.perf_counter() - begin))
    for name, found in times.items():
        print(f"{name:28} median {statistics.median(found):6.1f} ms, most {max(found):6.1f} ms")
    print(json.dumps({"most_of_medians_ms": max(statistics.median(found) for found in times.values())}))


if __name__ == "__main__":
    main()
