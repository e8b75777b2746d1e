#!/usr/bin/env python3
"""How long commands take to end after SIGINT or SIGTERM at random moments, and whether anything was lost.

    bench/signals.py CAIRN MODEL TEXT [--clip VIDEO] [--count 200] [--seed 1] [--longest 20]

Each round starts a command, waits up to --longest seconds, sends the signal and counts the time to the end of the
process. Prints a table of commands, and as the last line JSON with the largest time. Exit status 1 when one took more
than two seconds, was ended by another signal, changed an input or left a file under its output's name.
"""
import argparse
import collections
import hashlib
import json
import pathlib
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def commands(options, folder):
    """(name, arguments, output or None)"""
    model, text = options.model, options.text
    out = lambda name: str(folder / name)
    rows = [
        ("run", ["run", model, "-p", "Tell a long story.", "--ignore-end"], None),
        ("run, long prompt", ["run", model, "--raw", "-f", text, "--context", "8000"], None),
        ("run --prefill", ["run", model, "--prefill", "cpu", "-p", "Tell a story. " * 300, "--ignore-end"], None),
        ("chat", ["chat", model, "--ignore-end"], None),
        ("bench", ["bench", model, "--prompt", "4000", "--generate", "500"], None),
        ("bench --peak", ["bench", "--peak"], None),
        ("eval", ["eval", model, "--perplexity", text], None),
        ("eval --precision f32", ["eval", model, "--perplexity", text, "--precision", "f32", "--logits", out("l")],
         out("l")),
        ("calibrate", ["calibrate", model, "--text", text, "-o", out("c")], out("c")),
        ("stack", ["stack", model, "--text", text, "-o", out("s")], out("s")),
        ("stack without a text", ["stack", model, "-o", out("p"), "--embeddings", "planes"], out("p")),
        ("stack --codec avd", ["stack", model, "-o", out("a"), "--codec", "avd"], out("a")),
        ("synth", ["synth", "--shape", "qwen1.5-1.8b", "-o", out("q")], out("q")),
        ("tokenize", ["tokenize", model, "--file", text], None),
        ("inspect", ["inspect", model, "--full"], None),
        ("verify", ["verify", options.stack], None) if options.stack else None,
        ("trim", ["trim", options.stack, "--bits", "4", "--dequantize", "-o", out("d")], out("d"))
        if options.stack else None,
        ("tune", ["stack", model, "--text", text, "-o", out("t"), "--tune", "--windows", "16"], out("t")),
    ]
    if options.clip:
        rows += [
            ("video encode", ["video", "encode", options.clip, "-o", out("e.mkv")], out("e.mkv")),
            ("video encode av1", ["video", "encode", options.clip, "-o", out("f.mkv"), "--codec", "av1", "--mode",
                                  "x2"], out("f.mkv")),
            ("video decode", ["video", "decode", options.clip, "-o", out("g.mkv")], out("g.mkv")),
            ("video compare", ["video", "compare", options.clip, options.clip], None),
        ]
    return [row for row in rows if row]


def one(cairn, row, number, delay, report):
    name, arguments, output = row
    process = subprocess.Popen([cairn, *arguments], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    if name == "chat":
        process.stdin.write(b"Tell a long story.\n" * 50)
        process.stdin.flush()
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        pass
    if process.poll() is not None:
        report.skipped += 1
        return
    begin = time.monotonic()
    process.send_signal(number)
    try:
        status = process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        status = "hangs"
    seconds = time.monotonic() - begin
    report.times[name].append(seconds)
    # Before the program is ready, the signal itself ends it.
    if status not in (0, 130, -number):
        report.problems.append(f"{name}: status {status} after {delay:.2f} s")
    if seconds > 2:
        report.problems.append(f"{name}: {seconds:.2f} s after {delay:.2f} s")
    if output and status != 0 and pathlib.Path(output).exists():
        report.problems.append(f"{name}: {output} is there")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--clip")
    parser.add_argument("--stack")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=20)
    parser.add_argument("--folder", help="for outputs; what is left of one round is what the next goes on from")
    options = parser.parse_args()
    inputs = [path for path in (options.model, options.text, options.clip, options.stack)
              if path and pathlib.Path(path).exists()]
    before = {path: digest(path) for path in inputs}
    report = argparse.Namespace(times=collections.defaultdict(list), problems=[], skipped=0)
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        rows = commands(options, pathlib.Path(name))
        choose = random.Random(options.seed)
        done = 0
        while done < options.count:
            row = rows[done % len(rows)] if done < len(rows) else choose.choice(rows)
            number = choose.choice([signal.SIGINT, signal.SIGTERM])
            # Beginnings are full of short stages: as many rounds there as in the rest.
            delay = choose.choice([choose.uniform(0, 1), choose.uniform(0, options.longest)])
            one(options.cairn, row, number, delay, report)
            done += 1
            if row[2]:
                pathlib.Path(row[2]).unlink(missing_ok=True)
    report.problems += [f"{path} has changed" for path in inputs if digest(path) != before[path]]
    for name, times in report.times.items():
        print(f"{name:24} {len(times):4} times, median {statistics.median(times):.3f} s, most {max(times):.3f} s")
    for problem in report.problems:
        print(problem)
    every = [seconds for times in report.times.values() for seconds in times]
    print(json.dumps({"signals": len(every), "ended before": report.skipped, "median_s": statistics.median(every),
                      "most_s": max(every), "problems": len(report.problems)}))
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
