#!/usr/bin/env python3
"""A mixture of experts with less memory than its file: cairn with a budget, and a peer that maps the file, each in a
memory cgroup of the same limit, in turns. Needs root (cgroup v1 or v2), and the peer's Python for PEER.

    cairn synth --shape qwen3-30b-a3b --layers 8 --encoding q4_0 -o moe8.gguf
    bench/experts_budget.py build/release/cairn moe8.gguf --share 0.5 --peer "/path/python bench/peer_ik.py"

The group's limit is `share` of the file and --beside MiB for all else; cairn's --memory is the limit less 64 MiB.
The file leaves the page cache before each run. Prints a line a run, the ratios of the medians, and JSON.
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess


class Group:
    """A memory cgroup; `with` it is there."""

    def __init__(self, limit):
        self.limit = limit
        one = pathlib.Path("/sys/fs/cgroup/memory")
        self.parent = one if one.is_dir() else pathlib.Path("/sys/fs/cgroup")
        self.limit_file = "memory.limit_in_bytes" if one.is_dir() else "memory.max"
        self.folder = self.parent / f"cairn-bench-{os.getpid()}"

    def __enter__(self):
        self.folder.mkdir()
        (self.folder / self.limit_file).write_text(str(self.limit))
        return self

    def __exit__(self, *_):
        for _ in range(100):
            try:
                return self.folder.rmdir()
            except OSError:
                pass

    def run(self, words):
        def enter():
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))

        done = subprocess.run(words, preexec_fn=enter, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{shlex.join(words)}: status {done.returncode}\n{done.stderr[-2000:]}")
        told = json.loads(done.stdout[done.stdout.index("{"):])
        peak = "memory.max_usage_in_bytes" if "limit" in self.limit_file else "memory.peak"
        return {k: told[k] for k in ("prefill_tok_s", "decode_tok_s")} | {
            "peak_mib": int((self.folder / peak).read_text()) >> 20}


def forget(path):
    os.sync()
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("model")
    parser.add_argument("--peer", required=True, help="a command that takes bench/peer_ik.py's arguments")
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--beside", type=int, default=300)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--generate", type=int, default=24)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    size = os.path.getsize(options.model)
    limit = int(size * options.share) + (options.beside << 20)
    shape = f"--prompt {options.prompt} --generate {options.generate} --threads {options.threads} --repeat 1".split()
    commands = {
        "cairn": [options.cairn, "bench", options.model, *shape, "--memory", str(limit - (64 << 20)), "--json"],
        "peer": [*shlex.split(options.peer), options.model, *shape],
    }
    rates = {name: [] for name in commands}
    for _ in range(options.turns):
        for name, words in commands.items():
            forget(options.model)
            with Group(limit) as group:
                rates[name].append(group.run(words))
            print(f"{name:6} {rates[name][-1]}", flush=True)
    median = {name: {k: statistics.median(r[k] for r in runs) for k in runs[0]} for name, runs in rates.items()}
    ratio = {k: median["cairn"][k] / median["peer"][k] for k in ("prefill_tok_s", "decode_tok_s")}
    print(f"limit {limit >> 20} MiB of a file of {size >> 20}: prefill {ratio['prefill_tok_s']:.2f}x, "
          f"decode {ratio['decode_tok_s']:.2f}x")
    print(json.dumps({"limit": limit, "file": size, **median, "ratio": ratio}))


if __name__ == "__main__":
    main()
