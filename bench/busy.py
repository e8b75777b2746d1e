#!/usr/bin/env python3
"""How much speed cairn keeps beside other programs, as ratios to the idle machine in the same round.

    bench/busy.py [--cairn build/release/cairn] [--model smollm2-135m] [--peer "python3 bench_ik.py"] [--rounds 3]

Each round measures on the idle machine; beside --busy Python loops that compute (default 1); two cairns at once
with their default threads; four threads a processor; on one processor (taskset); and on one thread, idle and
beside the loops. The peer (a command that takes MODEL --prompt N --generate N --threads N --repeat N [--repack]
and prints JSON with prefill_tok_s and decode_tok_s) is measured idle and beside the loops, in whichever of its
two modes is better there. Medians over the rounds. A measurement in which others took more than 5 % of the
processors is made again, at most three times; `others` is what they took at worst. CAIRN_TARGET is passed on.
"""
import argparse
import json
import os
import resource
import shlex
import statistics
import subprocess
import sys
import time

PROCESSORS = len(os.sched_getaffinity(0))
TICKS = os.sysconf("SC_CLK_TCK")


def busy_seconds():
    """Processor time of everybody since the start."""
    with open("/proc/stat") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS


def own_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Bench:
    def __init__(self, options):
        self.options = options
        self.others = 0.0
        self.path = subprocess.run([options.cairn, "pull", options.model], check=True, stdout=subprocess.PIPE,
                                   text=True).stdout.strip().splitlines()[-1] if options.peer else options.model
        self.lengths = ["--prompt", str(options.prompt), "--generate", str(options.generate), "--repeat",
                        str(options.repeat)]

    def cairn(self, threads=PROCESSORS, prefix=()):
        return [*prefix, self.options.cairn, "bench", self.options.model, *self.lengths, "--json", "--threads",
                str(threads)]

    def peer(self, *mode):
        return [*shlex.split(self.options.peer), self.path, *self.lengths, "--threads", str(PROCESSORS), *mode]

    def together(self, command, copies, loops):
        """Runs copies of the command beside loops; what they printed, and what share others took meanwhile."""
        at, own, start = busy_seconds(), own_seconds(), time.monotonic()
        beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
        try:
            time.sleep(0.2)
            running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                       for _ in range(copies)]
            printed = [json.loads(one.communicate()[0]) for one in running]
        finally:
            for loop in beside:
                loop.kill()
                loop.wait()
        foreign = busy_seconds() - at - (own_seconds() - own)
        return printed, foreign / (PROCESSORS * (time.monotonic() - start))

    def measure(self, command, copies=1, loops=0):
        """(prefill, decode) in tokens a second, and threads in both; of several copies the slowest."""
        for _ in range(4):
            printed, foreign = self.together(command, copies, loops)
            if foreign < 0.05:
                break
        self.others = max(self.others, foreign)
        return {key: min(one.get(key, 0) for one in printed)
                for key in ("prefill_tok_s", "decode_tok_s", "prefill_threads", "decode_threads")}

    def round(self):
        loops = self.options.busy
        one = ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
        found = {"idle": self.measure(self.cairn()),
                 "beside": self.measure(self.cairn(), loops=loops),
                 "two at once": self.measure(self.cairn(), copies=2),
                 "4 threads a processor": self.measure(self.cairn(4 * PROCESSORS)),
                 "one processor": self.measure(self.cairn(prefix=one)),
                 "one thread": self.measure(self.cairn(1)),
                 "one thread, beside": self.measure(self.cairn(1), loops=loops)}
        if self.options.peer:
            for name, count in (("peer", 0), ("peer, beside", loops)):
                modes = [self.measure(self.peer(*mode), loops=count) for mode in ((), ("--repack",))]
                found[name] = {key: max(mode[key] for mode in modes) for key in modes[0]}
        return found


# What is divided by what.
RATIOS = [("beside", "idle"), ("two at once", "idle"), ("4 threads a processor", "idle"),
          ("one processor", "one thread"), ("one thread, beside", "one thread"), ("beside", "peer, beside"),
          ("peer, beside", "peer")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cairn", default="build/release/cairn")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--peer", default="")
    parser.add_argument("--busy", type=int, default=1, help="Python loops beside")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=2, help="of one process, after a first that warms up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    bench = Bench(parser.parse_args())
    rounds = [bench.round() for _ in range(bench.options.rounds)]

    middle = lambda values: statistics.median(list(values))
    result = {"processors": PROCESSORS, "others": round(bench.others, 3),
              "measured": {name: {key: round(middle(r[name][key] for r in rounds), 2) for key in rounds[0][name]}
                           for name in rounds[0]},
              "ratios": {f"{above} / {below}": {key: round(middle(r[above][key] / r[below][key] for r in rounds), 3)
                                                for key in ("prefill_tok_s", "decode_tok_s")}
                         for above, below in RATIOS if below in rounds[0] and above in rounds[0]}}
    if bench.options.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{PROCESSORS} processors, medians of {len(rounds)} rounds; others took at most {100 * bench.others:.0f} %")
    for name, m in result["measured"].items():
        print(f"{name:24} prefill {m['prefill_tok_s']:8.1f} tok/s ({m['prefill_threads']:.2f} threads)   "
              f"decode {m['decode_tok_s']:7.1f} ({m['decode_threads']:.2f})")
    for name, ratio in result["ratios"].items():
        print(f"{name:44} prefill {ratio['prefill_tok_s']:.2f}   decode {ratio['decode_tok_s']:.2f}")


main()
