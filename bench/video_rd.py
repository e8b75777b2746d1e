#!/usr/bin/env python3
"""Rate and distortion of cairn's modes against plain codecs, every byte counted: docs/video_rd.md.

    bench/video_svtav1.py shared/clips coded --scale 1 --crf 20 27 30 34 41 48 55   # and --scale 2 --crf 20 28 36 44
    bench/video_svtav1.py shared/clips coded-norest --scale 1 --crf 34 41 48 55 --params enable-restoration=0
    bench/video_rd.py run build/release/cairn shared/clips --coded coded --out rd.jsonl [--jobs 8] [--threads 2] [--minutes 9]
    bench/video_rd.py page rd.jsonl -o docs/video_rd.md

`run` encodes and compares a list of points (video_rd_points.py), `--jobs` of them side by side, each on processors of
its own; what the file already has is not run again, so a run that was stopped goes on. `page` makes the page and its
plots from the file. Only Python's standard library is needed, `video_svtav1.py` aside.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

import video_rd_page
import video_rd_points


def key(point):
    """Names a point: what it encodes and how, not which of the page's tables asked for it."""
    return json.dumps({k: v for k, v in sorted(point.items()) if k != "of"})


def read(path):
    if not path.exists():
        return []
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue  # the last line of a run that was killed
    return records


def command(cairn, point, clip, coded, output):
    words = [cairn, "video", "encode", clip, "-o", output, "--force", "--json", "--quiet", "--no-audio", "--mode", point["mode"]]
    if point["codec"].startswith("av1"):
        coded = coded.with_name(coded.name + point["codec"].removeprefix("av1"))
        scale = point["mode"].removeprefix("x") if point["mode"].startswith("x") else 1
        words += ["--coded", coded / f"{point['clip']}-x{scale}-{point['crf']:g}.mkv"]
    else:
        words += ["--codec", point["codec"], "--crf", f"{point['crf']:g}"]
    if point["mode"] != "plain":
        words += ["--network", point["network"], "--weight-bits", str(point["bits"]), "--train-steps",
                  str(point["steps"])]
        if point["method"] == "one":
            words.append("--no-jstdo")
        elif point["method"] != "jstdo":
            words += ["--chunks", point["method"].removeprefix("stdo")]
    return [str(word) for word in words]


def processor():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def measure(cairn, point, clip, coded, processors, deadline):
    """Encodes and compares; a record for the file."""
    def run(words):
        left = deadline - time.monotonic()
        if left <= 1:
            raise TimeoutError
        done = subprocess.run(words, capture_output=True, text=True, timeout=None if left == float("inf") else left,
                              preexec_fn=lambda: os.sched_setaffinity(0, processors))
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip() or f"exit status {done.returncode}")
        return json.loads(done.stdout)

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        output = f"{folder}/out.mkv"
        encoded = run(command(cairn, point, clip, coded, output))
        compared = run([str(cairn), "video", "compare", str(clip), output, "--json"])
    machine = f"{processor()}, {len(processors)} processors"
    return {"point": point, "machine": machine, "encode": encoded, "compare": compared,
            "seconds": round(time.monotonic() - began, 1)}


def run(chosen):
    clips = {name: path for name, path in video_rd_points.find_clips(chosen.clips).items()
             if not chosen.only or name in chosen.only}
    have = {key(record["point"]) for record in read(chosen.out)}
    wanted, seen = [], set(have)
    for point in video_rd_points.points(chosen.steps):
        if point["clip"] in clips and key(point) not in seen and (not chosen.of or point["of"] in chosen.of):
            seen.add(key(point))
            wanted.append(point)
    print(f"{len(wanted)} points to run, {len(have)} there", file=sys.stderr)
    deadline = time.monotonic() + chosen.minutes * 60 if chosen.minutes else float("inf")
    everyone = sorted(os.sched_getaffinity(0))
    slots, lock, failures = queue.SimpleQueue(), threading.Lock(), []
    for job in range(chosen.jobs):
        slots.put({everyone[(job * chosen.threads + i) % len(everyone)] for i in range(chosen.threads)})

    def work(point):
        processors = slots.get()
        try:
            record = measure(chosen.cairn.resolve(), point, clips[point["clip"]], chosen.coded, processors, deadline)
            line = json.dumps(record)
            with lock, open(chosen.out, "a") as file:
                file.write(line + "\n")
            print(f"{record['seconds']:6.0f} s  {key(point)}", file=sys.stderr, flush=True)
        except (TimeoutError, subprocess.TimeoutExpired):
            pass  # out of time: the next run takes it up
        except Exception as error:  # one bad point must not cost the others
            failures.append(f"{key(point)}: {error}")
        finally:
            slots.put(processors)

    with concurrent.futures.ThreadPoolExecutor(chosen.jobs) as pool:
        list(pool.map(work, wanted))
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    missing = len(wanted) - sum(key(record["point"]) in {key(p) for p in wanted} for record in read(chosen.out))
    print(f"{missing} points are missing", file=sys.stderr)
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    running = actions.add_parser("run", help="measure points")
    running.add_argument("cairn", type=pathlib.Path)
    running.add_argument("clips", type=pathlib.Path, help="the folder of clips")
    running.add_argument("--coded", type=pathlib.Path, default=pathlib.Path("coded"),
                         help="the folder that video_svtav1.py wrote: AV1 comes from there")
    running.add_argument("--out", type=pathlib.Path, required=True, help="JSON lines, added to")
    running.add_argument("--jobs", type=int, default=1)
    running.add_argument("--threads", type=int, default=2, help="processors of each job")
    running.add_argument("--minutes", type=float, default=0, help="stop after so many")
    running.add_argument("--steps", type=int, default=2000, help="of training")
    running.add_argument("--only", nargs="+", help="these clips only: bbb car flower tos")
    running.add_argument("--of", nargs="+", help="these sets of points only: restored smaller same curves auto tos chunks joint small plain long")
    paging = actions.add_parser("page", help="make the page")
    paging.add_argument("records", type=pathlib.Path)
    paging.add_argument("-o", "--output", type=pathlib.Path, required=True)
    chosen = parser.parse_args()
    if chosen.action == "run":
        return run(chosen)
    video_rd_page.write(read(chosen.records), chosen.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
