#!/usr/bin/env python3
"""cairn_farm.py with two Ray workers, one of them killed in mid-run: the same bytes as without.

farm_on_ray.py CAIRN VIDEO [MODEL TEXT]    with a Python that has ray; takes minutes, so ctest has it not
"""
import filecmp
import glob
import os
import signal
import subprocess
import sys
import tempfile
import time

FARM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cairn_farm.py")


def workers():
    """Ray's processes that are at a task of ours."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                if file.read().startswith(b"ray::run"):
                    found.append(int(path.split("/")[2]))
        except OSError:
            pass
    return found


def with_a_worker_lost(cairn, words):
    farm = subprocess.Popen([sys.executable, FARM, *words], env={**os.environ, "CAIRN": cairn},
                            stdout=subprocess.PIPE, text=True)
    most = 0
    while farm.poll() is None:
        at_work = workers()
        most = max(most, len(at_work))
        if len(at_work) == 2:
            time.sleep(1)
            os.kill(at_work[0], signal.SIGKILL)
            print("killed", at_work[0], "of", at_work, flush=True)
            break
        time.sleep(0.2)
    print(farm.communicate()[0])
    assert farm.returncode == 0, farm.returncode
    assert most == 2, "two workers were never at work at once"


def main():
    cairn, video, *model = (os.path.abspath(p) for p in sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        one, two = (os.path.join(folder, name) for name in ("one", "two"))
        flags = ["--mode", "x2", "--crf", "32", "--preset", "veryfast", "--train-steps", "300", "--part-seconds", "2"]
        subprocess.run([cairn, "video", "encode", video, "-o", one + ".mkv", "--jobs", "1", *flags], check=True)
        with_a_worker_lost(cairn, ["encode", video, "-o", two + ".mkv", *flags])
        assert filecmp.cmp(one + ".mkv", two + ".mkv", shallow=False), "videos differ"
        print("video: the same", os.path.getsize(one + ".mkv"), "bytes")
        if model:  # `cairn synth --shape mistral-7b --layers 1 --vocabulary 2000`, and any text
            flags = ["--text", model[1], "--windows", "8", "--window", "64", "--importance-windows", "4", "--sweeps", "0",
                     "--shares", "4"]
            subprocess.run([cairn, "stack", model[0], "-o", one + ".gguf", *flags], check=True)
            with_a_worker_lost(cairn, ["stack", model[0], "-o", two + ".gguf", *flags])
            assert filecmp.cmp(one + ".gguf", two + ".gguf", shallow=False), "stacks differ"
            print("stack: the same", os.path.getsize(one + ".gguf"), "bytes")


if __name__ == "__main__":
    main()
