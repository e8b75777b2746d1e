#!/usr/bin/env python3
"""Instructions that the kernels take on ARM64: a weight (gemv, fill), a multiply-add (gemm), an activation (quantize).

  cmake --build build/aarch64 --target count_kernels
  bench/instructions.py [--build build/aarch64] [--targets neon,neon_dotprod,neon_i8mm] [--weights q4_0,q4_k,...]

Counted by a plug-in of QEMU's user emulation (Debian: qemu-user; its static one takes no plug-ins), as the difference of
two runs that differ in how often they call the kernel, so that nothing else counts. The start varies a little, so there are many calls.
"""
import argparse
import json
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


CLASSES = ("instructions", "vector", "loads", "matrix")


def count(plugin, program, arguments, repeats):
    """What one run executes, by class, and the units of work of one repeat."""
    run = subprocess.run(["qemu-aarch64", "-cpu", "max", "-plugin", plugin, program, *arguments, str(repeats)],
                         capture_output=True, text=True, check=False)
    found = dict(re.findall(r"^(\w+) (\d+)$", run.stderr, re.MULTILINE))
    if run.returncode != 0 or not all(c in found for c in CLASSES):
        sys.exit(f"instructions.py: {' '.join(arguments)}: {run.stderr.strip() or run.stdout.strip()}")
    return [int(found[c]) for c in CLASSES], int(run.stdout)


def rates(plugin, program, arguments):
    """Instructions a unit of work, by class."""
    (few, units), (more, _) = (count(plugin, program, arguments, n) for n in (1, 101))
    return {c: (m - f) / 100 / units for c, f, m in zip(CLASSES, few, more)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/aarch64", type=pathlib.Path)
    parser.add_argument("--targets", default="portable,neon,neon_dotprod,neon_i8mm")
    parser.add_argument("--weights", default="q4_0,q4_k,q6_k,q8_0,planes4")
    parser.add_argument("--kernels", default=",".join(KERNELS))
    parser.add_argument("--json", action="store_true", help="every class of instructions, for bench/cores.py")
    options = parser.parse_args()
    if not shutil.which("qemu-aarch64"):
        sys.exit("instructions.py: no qemu-aarch64 (Debian: apt install qemu-user)")
    program = options.build / "bench/instructions/count_kernels"
    if not os.access(program, os.X_OK):
        sys.exit(f"instructions.py: no {program}: cmake --build {options.build} --target count_kernels")
    targets = options.targets.split(",")
    with tempfile.TemporaryDirectory() as folder:
        plugin = build_plugin(pathlib.Path(folder))
        found = {}
        if not options.json:
            print("| kernel | weights | " + " | ".join(targets) + " |\n" + "|---" * (2 + len(targets)) + "|")
        for kernel in options.kernels.split(","):
            for weights in options.weights.split(","):
                if weights.startswith("planes") and kernel != "gemv" or kernel == "quantize" and weights != "q4_0":
                    continue
                of_targets = [rates(plugin, program, [kernel, weights, target]) for target in targets]
                found.update({f"{t} {kernel} {weights}": r for t, r in zip(targets, of_targets)})
                if not options.json:
                    print(f"| {kernel}, {KERNELS[kernel]} | {weights} | " +
                          " | ".join(f"{r['instructions']:.3f}" for r in of_targets) + " |", flush=True)
    if options.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
