#!/usr/bin/env python3
"""Instructions that the kernels take on ARM64: a weight (gemv, fill), a multiply-add (gemm), an activation (quantize).

  cmake --build build/aarch64 --target count_kernels
  bench/instructions.py [--build build/aarch64] [--targets neon,neon_dotprod,neon_i8mm] [--weights q4_0,q4_k,...]

Counted by a plug-in of QEMU's user emulation (Debian: qemu-user; its static one takes no plug-ins), as the difference of
two runs that differ in how often they call the kernel, so that nothing else counts. The start varies a little, so there are many calls.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
KERNELS = {"gemv": "a weight", "gemm": "a multiply-add", "fill": "a weight", "quantize": "an activation"}


def build_plugin(folder):
    compiler = next((c for c in ("clang++-14", "clang++", "g++") if shutil.which(c)), None)
    if compiler is None:
        sys.exit("instructions.py: no clang++ and no g++ to build QEMU's plug-in with")
    plugin = folder / "libcount.so"
    subprocess.run([compiler, "-std=c++20", "-O1", "-shared", "-fPIC", HERE / "instructions/plugin.cpp", "-o", plugin],
                   check=True)
    return plugin


def count(plugin, program, arguments, repeats):
    """What one run executes, and the units of work of one repeat."""
    run = subprocess.run(["qemu-aarch64", "-cpu", "max", "-plugin", plugin, program, *arguments, str(repeats)],
                         capture_output=True, text=True, check=False)
    found = re.search(r"^instructions (\d+)$", run.stderr, re.MULTILINE)
    if run.returncode != 0 or not found:
        sys.exit(f"instructions.py: {' '.join(arguments)}: {run.stderr.strip() or run.stdout.strip()}")
    return int(found[1]), int(run.stdout)


def rate(plugin, program, arguments):
    """Instructions a unit of work."""
    (few, units), (more, _) = (count(plugin, program, arguments, n) for n in (1, 101))
    return (more - few) / 100 / units


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/aarch64", type=pathlib.Path)
    parser.add_argument("--targets", default="portable,neon,neon_dotprod,neon_i8mm")
    parser.add_argument("--weights", default="q4_0,q4_k,q6_k,q8_0,planes4")
    parser.add_argument("--kernels", default=",".join(KERNELS))
    options = parser.parse_args()
    if not shutil.which("qemu-aarch64"):
        sys.exit("instructions.py: no qemu-aarch64 (Debian: apt install qemu-user)")
    program = options.build / "bench/instructions/count_kernels"
    if not os.access(program, os.X_OK):
        sys.exit(f"instructions.py: no {program}: cmake --build {options.build} --target count_kernels")
    targets = options.targets.split(",")
    with tempfile.TemporaryDirectory() as folder:
        plugin = build_plugin(pathlib.Path(folder))
        print("| kernel | weights | " + " | ".join(targets) + " |\n" + "|---" * (2 + len(targets)) + "|")
        for kernel in options.kernels.split(","):
            for weights in options.weights.split(","):
                if weights.startswith("planes") and kernel != "gemv" or kernel == "quantize" and weights != "q4_0":
                    continue
                rates = [rate(plugin, program, [kernel, weights, target]) for target in targets]
                print(f"| {kernel}, {KERNELS[kernel]} | {weights} | " + " | ".join(f"{r:.3f}" for r in rates) + " |",
                      flush=True)


if __name__ == "__main__":
    main()
