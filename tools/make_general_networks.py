#!/usr/bin/env python3
"""Trains the general networks that `cairn video encode` scores patches with and starts training from.

    tools/make_general_networks.py build/release/cairn ../shared/clips/flower_cc0_960x540p30_150f.mp4

One C8M4 at 5 bits a weight for each scale, by cairn's own trainer, on a clip whose licence allows it (that one is
CC0: MDN's shared assets). Replaces src/video/general/c8m4_x1.bin … c8m4_x4.bin, each an attachment (docs/video.md) of
1 to 2 kB, which CMake puts into the next build. The files there were made so on two processors with AVX-512: another
instruction set rounds otherwise in training, and x265 codes a little otherwise on another number of processors. Other
networks change what `encode` chooses and gains, and nothing of the format.
"""

import pathlib
import subprocess
import sys
import tempfile

STEPS = 4000
CRF = {1: 32, 2: 26, 3: 23, 4: 20}  # x265; about the rates at which each scale is worth using

cairn, clip = sys.argv[1:]
folder = pathlib.Path(__file__).resolve().parent.parent / "src" / "video" / "general"
with tempfile.TemporaryDirectory() as work:
    for scale, crf in CRF.items():
        coded = f"{work}/x{scale}.mkv"
        encode = [cairn, "video", "encode", clip, "-o", coded, "--mode", f"x{scale}", "--codec", "x265", "--crf", str(crf)]
        encode += ["--network", "C8M4", "--weight-bits", "5", "--train-steps", str(STEPS), "--start", "random", "--no-audio"]
        # What would need general networks (which patches are hard), or the clip's scenes, is left out.
        encode += ["--no-jstdo", "--scenes", "0"]
        subprocess.run(encode, check=True)
        target = folder / f"c8m4_x{scale}.bin"
        subprocess.run([cairn, "video", "inspect", coded, "--attachment", str(target), "--force"], check=True)
