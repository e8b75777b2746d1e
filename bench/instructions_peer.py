#!/usr/bin/env python3
"""The same counts as bench/instructions.py of llama.cpp's and KleidiAI's ARM64 kernels, compiled by the same compiler.

  pip download --no-deps --no-binary :all: llama-cpp-python==0.3.16   # has llama.cpp's sources in vendor/
  git clone https://github.com/ARM-software/kleidiai
  bench/instructions_peer.py [--llama PATH/vendor/llama.cpp] [--kleidiai PATH/kleidiai] [--json]

--json prints every class of instructions, for bench/cores.py.

dot: its product of rows as they lie in the file; dots: two rows by two tokens (i8mm); gemv, gemm: on Q4_0 that it packs
four rows at a time when it loads a model.
"""
import argparse
import json
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


KAI = "kai/ukernels/matmul/matmul_clamp_f32_qsi8d32p_qsi4c32p"
KAI_KERNELS = {"neon_dotprod": ["gemv_4x4", "gemv_4x8", "gemm_4x4"], "neon_i8mm": ["gemm_4x8", "gemm_8x4x32"]}


def build_kleidiai(sources, folder):
    objects = []
    for source in [*(sources / KAI).glob("*_neon_*.[cS]"),
                   instructions.HERE / "instructions/peer_kleidiai.cpp"]:
        objects.append(folder / f"kai_{source.stem}_{source.suffix[1:]}.o")
        march = "armv8.2-a+dotprod+i8mm+fp16"
        subprocess.run(["clang++-14" if source.suffix == ".cpp" else "clang-14", "--target=aarch64-linux-gnu", f"-march={march}",
                        "-O3", "-DNDEBUG", "-w", f"-I{sources}", "-c", source, "-o", objects[-1]], check=True)
    program = folder / "peer_kleidiai"
    subprocess.run(["clang++-14", "--target=aarch64-linux-gnu", "-static", *objects, "-o", program,
                    "-Wl,--unresolved-symbols=ignore-all"], check=True)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--kleidiai", type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for sources, file in ((options.llama, "ggml/src/ggml-cpu/arch/arm/quants.c"), (options.kleidiai, "kai/kai_common.h")):
        if sources is not None and not (sources / file).exists():
            sys.exit(f"instructions_peer.py: {sources} has no {file}")
    if options.llama is None and options.kleidiai is None:
        parser.error("name --llama or --kleidiai")
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        plugin = instructions.build_plugin(folder)
        if not options.json:
            print("| instruction set | kernel | instructions a weight or a multiply-add |\n|---|---|---|")

        def tell(peer, target, kernel, program):
            found[f"{peer} {target} {kernel}"] = rates = instructions.rates(plugin, program, [kernel])
            if not options.json:
                print(f"| {target} | {peer}: {kernel} | {rates['instructions']:.3f} |", flush=True)

        for target, kernels in KERNELS.items() if options.llama else ():
            program = build(options.llama, target, folder)
            for kernel in kernels:
                tell("llama.cpp", target, kernel, program)
        if options.kleidiai:
            program = build_kleidiai(options.kleidiai, folder)
            for target, kernels in KAI_KERNELS.items():
                for kernel in kernels:
                    tell("KleidiAI", target, kernel, program)
    if options.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
