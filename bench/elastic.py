#!/usr/bin/env python3
"""The same memory limit for a stack and for fixed models: tokens a second and perplexity, at several limits and
while a second process takes and gives back.

    bench/elastic.py --build build --stack s.gguf --fixed q4_0=a.gguf --fixed q8_0=b.gguf --text wiki.test.raw \\
        --limits 80,100,130,180 --saw-minutes 10 -o elastic.json --svg elastic.svg

Each run is `bench_elastic MODEL --trace` in a memory cgroup of its own (v1 controller or v2; root), so a model
that is larger than its limit is read from its file again and again, or killed. A stack keeps --headroom MiB below
the limit. Its perplexity is that of `cairn trim --bits` at the bits it had in memory. Standard library alone.
"""
import argparse
import concurrent.futures
import json
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time

MIB = 1 << 20


class Group:
    """A memory cgroup with a limit."""

    def __init__(self, name):
        v1 = "/sys/fs/cgroup/memory"
        self.v2 = not os.path.exists(v1 + "/memory.limit_in_bytes")
        self.folder = ("/sys/fs/cgroup/" if self.v2 else v1 + "/") + f"cairn-elastic-{os.getpid()}-{name}"
        os.mkdir(self.folder)

    def write(self, name, value):
        with open(f"{self.folder}/{name}", "w") as file:
            file.write(str(int(value)))

    def limit(self, mebibytes):
        self.write("memory.max" if self.v2 else "memory.limit_in_bytes", mebibytes * MIB)

    def enter(self):
        self.write("cgroup.procs", os.getpid())

    def close(self):
        for _ in range(100):
            try:
                return os.rmdir(self.folder)
            except OSError:
                time.sleep(0.05)


def trace(options, model, seconds, limit, memory=None, move=None):
    """Rows of bench_elastic --trace, and whether the process was killed. move(group, stop): runs meanwhile."""
    group = Group(os.path.basename(model))
    group.limit(limit)
    command = [f"{options.build}/bench/bench_elastic", model, "--trace", str(seconds), "--threads",
               str(options.threads)]
    if memory:
        command += ["--memory", memory]
    drop_cache(model)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=group.enter)
    stop = threading.Event()
    mover = threading.Thread(target=move, args=(group, stop)) if move else None
    if mover:
        mover.start()
    try:
        out, err = process.communicate(timeout=seconds + 60)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
    stop.set()
    if mover:
        mover.join()
    group.close()
    rows = [[float(x) for x in line.split(",")] for line in out.split()]
    if process.returncode not in (0, -9):
        raise SystemExit(err)
    return rows, process.returncode == -9


def drop_cache(path):
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def perplexity(options, model):
    out = subprocess.run([f"{options.build}/cairn", "eval", model, "--perplexity", options.text, "--context", "512",
                          "--limit", str(options.windows), "--json"], check=True, capture_output=True, text=True)
    report = json.loads(out.stdout)
    found = re.search(r'"[a-z_]*second_half[a-z_]*": *([0-9.]+)', json.dumps(report))
    return float(found.group(1)) if found else report["perplexity"]


def perplexity_at(options, bits, known={}):
    bits = round(bits, 1)
    if bits not in known:
        with tempfile.TemporaryDirectory() as folder:
            part = f"{folder}/part.gguf"
            subprocess.run([f"{options.build}/cairn", "trim", options.stack, "--bits", str(bits), "-o", part],
                           check=True, capture_output=True)
            known[bits] = perplexity(options, part)
    return known[bits]


def summary(rows, killed):
    """Rates after the first quarter, in which files are read for the first time."""
    calm = rows[len(rows) // 4:]
    if killed or not calm:
        return {"killed": killed}
    return {"killed": False, "tok_s": statistics.median(r[1] for r in calm), "longest_gap_ms": max(r[2] for r in calm),
            "resident_mib": max(r[3] for r in calm), "bits": statistics.median(r[4] for r in calm)}


# Holds as many bytes as the last line says.
HOLDER = """
import mmap, sys
most = int(sys.argv[1])
memory, held = mmap.mmap(-1, most, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), 0
for line in sys.stdin:
    wanted = min(int(line), most) // 4096 * 4096
    for page in range(held, wanted, 4096):
        memory[page] = 1
    if wanted < held:
        memory.madvise(mmap.MADV_DONTNEED, wanted, held - wanted)
    held = wanted
"""


def taken(t, low, high, period):
    phase = t % period / period
    return (high - low) * (2 * phase if phase < 0.5 else 2 - 2 * phase)


def saw_tooth(low, high, period):
    """A second process in the group takes and gives back what lies between the two."""
    def move(group, stop):
        holder = subprocess.Popen(["python3", "-c", HOLDER, str((high - low) * MIB)], stdin=subprocess.PIPE, text=True,
                                  preexec_fn=group.enter)
        begin = time.time()
        while not stop.wait(0.1) and holder.poll() is None:
            try:
                holder.stdin.write(f"{int(taken(time.time() - begin, low, high, period) * MIB)}\n")
                holder.stdin.flush()
            except BrokenPipeError:
                break
        holder.kill()
        holder.wait()
    return move


def draw(saw, low, high, period, path):
    """Tokens a second (0 where nothing came) of every model while the limit moves."""
    width, height, colours = 960, 300, ["#1b7f4b", "#c2402b", "#2b5fc2", "#8a6d1d"]
    most = max([row[1] for runs in saw.values() for row in runs["rows"]] + [1])
    last = max([row[0] for runs in saw.values() for row in runs["rows"]] + [1])
    x = lambda t: 50 + t / last * (width - 70)
    y = lambda v: 20 + (1 - v / most) * (height - 60)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
             f'font-size="12"><rect width="{width}" height="{height}" fill="white"/>']
    limit = [(t, high - taken(t, low, high, period)) for t in range(int(last) + 1)]
    parts.append('<polyline fill="none" stroke="#bbb" points="' +
                 " ".join(f"{x(t):.1f},{y(most * v / high):.1f}" for t, v in limit) + '"/>')
    for i, (name, runs) in enumerate(saw.items()):
        points = " ".join(f"{x(row[0]):.1f},{y(row[1]):.1f}" for row in runs["rows"])
        colour = colours[i % len(colours)]
        parts.append(f'<polyline fill="none" stroke="{colour}" points="{points}"/>'
                     f'<text x="{60 + 170 * i}" y="{height - 8}" fill="{colour}">{name}'
                     f'{" (killed)" if runs["killed"] else ""}</text>')
    parts.append(f'<text x="4" y="24">{most:.0f} tok/s</text><text x="4" y="{y(0):.0f}">0</text>'
                 f'<text x="{width - 250}" y="{height - 8}" fill="#888">grey: what is left, {low} to {high} MiB</text></svg>')
    with open(path, "w") as file:
        file.write("\n".join(parts) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--stack", required=True)
    parser.add_argument("--fixed", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--text", required=True)
    parser.add_argument("--windows", type=int, default=20)
    parser.add_argument("--limits", default="80,100,130,180", help="MiB")
    parser.add_argument("--headroom", type=int, default=6, help="MiB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=int, default=16)
    parser.add_argument("--saw-minutes", type=float, default=10)
    parser.add_argument("--at-once", action="store_true", help="the saw-tooth for all models at the same time")
    parser.add_argument("--saw-period", type=float, default=60, help="seconds")
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--svg")
    options = parser.parse_args()
    fixed = dict(item.split("=", 1) for item in options.fixed)
    limits = [int(x) for x in options.limits.split(",")]
    result = {"perplexity": {name: perplexity(options, path) for name, path in fixed.items()}, "limits": [], "saw": {}}
    for limit in limits:
        row = {"limit_mib": limit}
        rows, killed = trace(options, options.stack, options.seconds, limit, f"{limit - options.headroom}M")
        row["stack"] = summary(rows, killed)
        if not killed and rows:
            row["stack"]["perplexity"] = perplexity_at(options, row["stack"]["bits"])
        for name, path in fixed.items():
            rows, killed = trace(options, path, options.seconds, limit)
            row[name] = summary(rows, killed)
        result["limits"].append(row)
        print(json.dumps(row), flush=True)
    low, high, seconds = min(limits), max(limits), int(60 * options.saw_minutes)
    if seconds:
        def run(model):
            name, path, memory = model
            rows, killed = trace(options, path, seconds, high, memory, saw_tooth(low, high, options.saw_period))
            result["saw"][name] = {"rows": rows, "killed": killed}
            rates = [row[1] for row in rows[3:]] or [0]
            print(name, "killed" if killed else "lived", f"{len(rows)} s, after three: median {statistics.median(rates)} "
                  f"tok/s, least {min(rates)}, below 20 in {100 * sum(r < 20 for r in rates) / len(rates):.0f} % of the "
                  f"seconds, longest gap {max([r[2] for r in rows] or [0]):.0f} ms", flush=True)

        models = [("stack", options.stack, "auto")] + [(n, p, None) for n, p in fixed.items()]
        with concurrent.futures.ThreadPoolExecutor(len(models) if options.at_once else 1) as pool:
            list(pool.map(run, models))
        if options.svg:
            draw(result["saw"], low, high, options.saw_period, options.svg)
    with open(options.output, "w") as file:
        json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
