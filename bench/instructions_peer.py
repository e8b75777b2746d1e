#!/usr/bin/env python3
"""The same counts as bench/instructions.py of llama.cpp's own ARM64 kernels, compiled by the same compiler.

  pip download --no-deps --no-binary :all: llama-cpp-python==0.3.16   # has llama.cpp's sources in vendor/
  bench/instructions_peer.py PATH/vendor/llama.cpp

dot: its product of rows as they lie in the file; dots: two rows by two tokens (i8mm); gemv, gemm: on Q4_0 that it packs
four rows at a time when it loads a model.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import instructions

TARGETS = {"neon": "armv8-a", "neon_dotprod": "armv8.2-a+dotprod", "neon_i8mm": "armv8.2-a+dotprod+i8mm"}
DOTS = ["dot_q4_0", "dot_q4_k", "dot_q6_k", "dot_q8_0"]
KERNELS = {"neon": DOTS, "neon_dotprod": [*DOTS, "gemv_q4_0_4x4", "gemm_q4_0_4x4"],
           "neon_i8mm": [*DOTS, *(d.replace("dot", "dots") for d in DOTS), "gemv_q4_0_4x8", "gemm_q4_0_4x8"]}


def build(sources, target, folder):
    cpu = sources / "ggml/src/ggml-cpu"
    flags = ["--target=aarch64-linux-gnu", f"-march={TARGETS[target]}", "-O3", "-DNDEBUG", "-D_GNU_SOURCE", "-w",
             f"-I{sources}/ggml/include", f"-I{sources}/ggml/src", f"-I{cpu}"]
    objects = []
    for source in (cpu / "arch/arm/quants.c", cpu / "arch/arm/repack.cpp", instructions.HERE / "instructions/peer_llama.cpp"):
        objects.append(folder / f"{target}_{source.stem}.o")
        compiler = "clang-14" if source.suffix == ".c" else "clang++-14"
        subprocess.run([compiler, *flags, "-c", source, "-o", objects[-1]], check=True)
    program = folder / f"peer_{target}"
    # The kernels refer to much of llama.cpp that they do not call here.
    subprocess.run(["clang++-14", "--target=aarch64-linux-gnu", "-static", *objects, "-o", program,
                    "-Wl,--unresolved-symbols=ignore-all"], check=True)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", type=pathlib.Path)
    options = parser.parse_args()
    if not (options.sources / "ggml/src/ggml-cpu/arch/arm/quants.c").exists():
        sys.exit(f"instructions_peer.py: {options.sources} has no ggml/src/ggml-cpu/arch/arm/quants.c")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plugin = instructions.build_plugin(folder)
        print("| instruction set | kernel | instructions a weight or a multiply-add |\n|---|---|---|")
        for target, kernels in KERNELS.items():
            program = build(options.sources, target, folder)
            for kernel in kernels:
                print(f"| {target} | {kernel} | {instructions.rate(plugin, program, [kernel]):.3f} |", flush=True)


if __name__ == "__main__":
    main()
