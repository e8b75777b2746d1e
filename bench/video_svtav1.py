#!/usr/bin/env python3
"""Codes clips with the newest SVT-AV1 that PyPI's `av` has, for `cairn video encode --coded` and docs/video_rd.md.

    python3 -m venv v && v/bin/pip install av numpy
    v/bin/python bench/video_svtav1.py shared/clips coded --scale 1 2 --crf 20 27 34 41 48 55 [--only car bbb]

Writes coded/CLIP-SCALE-CRF.mkv: luma and chroma scaled down by the filter that `cairn video encode --downscale bicubic`
uses (Keys' cubic with a = -1/2, stretched, edges repeated), preset 5, tuned for PSNR, times as in the clip. Files that
exist stay as they are. The version of the encoder stands in the stream and is printed.
"""
import argparse
import math
import os
import pathlib
import sys
import time

os.environ.setdefault("SVT_LOG", "1")  # errors alone: it writes to standard error itself
import av
import numpy

import video_rd_points


def keys(x):
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def taps(scale, outputs, inputs):
    """[outputs][inputs]: edges' weights go to the edge's sample."""
    matrix = numpy.zeros((outputs, inputs), numpy.float32)
    for i in range(outputs):
        centre = (i + 0.5) * scale - 0.5
        places = range(math.ceil(centre - 2 * scale), math.floor(centre + 2 * scale) + 1)
        weights = [keys((p - centre) / scale) for p in places]
        for place, weight in zip(places, weights):
            matrix[i, min(max(place, 0), inputs - 1)] += weight / sum(weights)
    return matrix


class Shrinker:
    def __init__(self, scale):
        self.scale, self.known = scale, {}

    def size(self, side):
        """Of luma: rounded up to what 4:2:0 needs."""
        small = -(-side // self.scale)
        return small + small % 2

    def __call__(self, plane, width, height):
        if self.scale == 1:
            return plane
        for key in ((height, plane.shape[0]), (width, plane.shape[1])):
            if key not in self.known:
                self.known[key] = taps(self.scale, *key)
        down, across = self.known[height, plane.shape[0]], self.known[width, plane.shape[1]]
        small = down @ plane.astype(numpy.float32) @ across.T
        return (numpy.clip(small, 0, 255) + 0.5).astype(numpy.uint8)


def code(clip, output, scale, crf, preset, parameters):
    source = av.open(str(clip))
    stream = source.streams.video[0]
    stream.thread_type = "AUTO"
    shrink = Shrinker(scale)
    width, height = shrink.size(stream.width), shrink.size(stream.height)
    if stream.format.name != "yuv420p":
        raise SystemExit(f"{clip}: {stream.format.name}: this script takes 8-bit 4:2:0 alone")
    part = output.with_suffix(".part.mkv")
    target = av.open(str(part), "w")
    coded = target.add_stream("libsvtav1", rate=stream.average_rate)
    coded.width, coded.height, coded.pix_fmt, coded.time_base = width, height, "yuv420p", stream.time_base
    context, original = coded.codec_context, stream.codec_context
    context.color_range, context.colorspace = original.color_range, original.colorspace
    context.color_primaries, context.color_trc = original.color_primaries, original.color_trc
    context.options = {"preset": str(preset), "crf": str(crf), "svtav1-params": ":".join(["tune=1", *parameters])}
    for frame in source.decode(stream):
        small = av.VideoFrame(width, height, "yuv420p")
        for i, plane in enumerate(frame.planes):
            samples = numpy.frombuffer(plane, numpy.uint8).reshape(-1, plane.line_size)[:plane.height, :plane.width]
            to = small.planes[i]
            lines = numpy.zeros((to.height, to.line_size), numpy.uint8)
            lines[:, :to.width] = shrink(samples, to.width, to.height)
            to.update(lines.tobytes())
        small.pts, small.time_base = frame.pts, frame.time_base
        target.mux(coded.encode(small))
    target.mux(coded.encode(None))
    target.close()
    source.close()
    os.replace(part, output)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--scale", type=int, nargs="+", default=[1])
    parser.add_argument("--crf", type=int, nargs="+", required=True)
    parser.add_argument("--only", nargs="+", default=video_rd_points.CLIPS)
    parser.add_argument("--preset", type=int, default=5)
    parser.add_argument("--params", nargs="+", default=[], help="of SVT-AV1, NAME=VALUE, beside tune=1")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    clips = video_rd_points.find_clips(chosen.clips)
    for scale in chosen.scale:
        for crf in chosen.crf:
            for name in (n for n in chosen.only if n in clips):
                output = chosen.output / f"{name}-x{scale}-{crf}.mkv"
                if output.exists():
                    continue
                began = time.monotonic()
                code(clips[name], output, scale, crf, chosen.preset, chosen.params)
                print(f"{output}: {output.stat().st_size} bytes, {time.monotonic() - began:.1f} s", file=sys.stderr,
                      flush=True)


if __name__ == "__main__":
    main()
