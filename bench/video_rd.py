#!/usr/bin/env python3
"""Rate and distortion of cairn's modes against plain codecs, every byte counted: docs/video.md's tables.

    bench/video_rd.py build/release/cairn CLIP... [--codecs x265 av1] [--crf 28 36] [--steps 2000] [--network C8M4]

For each clip, codec and rate: `cairn video encode --mode auto --json`, which measures the plain codec at two rates
and each mode to the end (whole frames, restored in integers as players will). Prints Markdown; `against plain` is
the PSNR above the plain codec's curve (dB by the logarithm of bytes) at the bytes of that mode.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("cairn")
arguments.add_argument("clips", nargs="+", type=pathlib.Path)
arguments.add_argument("--codecs", nargs="+", default=["x265", "av1"])
arguments.add_argument("--crf", nargs="+", type=float, default=[28, 36])
arguments.add_argument("--steps", type=int, default=2000)
arguments.add_argument("--network", default="C8M4")
chosen = arguments.parse_args()

print("| clip, codec, crf | mode | bytes | PSNR-Y | against plain, dB | chosen | trained, s |")
print("|---|---|---|---|---|---|---|", flush=True)
with tempfile.TemporaryDirectory() as folder:
    for clip in chosen.clips:
        for codec in chosen.codecs:
            for crf in chosen.crf:
                command = [chosen.cairn, "video", "encode", clip, "-o", f"{folder}/out.mkv", "--json", "--quiet",
                           "--no-audio", "--codec", codec, "--crf", f"{crf:g}", "--network", chosen.network,
                           "--train-steps", str(chosen.steps)]
                result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                for choice in result["choices"]:
                    best = "yes" if choice["mode"] == result["mode"] else ""
                    print(f"| {clip.stem.split('_')[0]} {codec} {crf:g} | {choice['mode']} crf {choice['crf']:g} "
                          f"| {choice['bytes']} | {choice['psnr_y']:.2f} | {choice['advantage_db']:+.3f} | {best} "
                          f"| {choice['train_seconds']:.0f} |", flush=True)
