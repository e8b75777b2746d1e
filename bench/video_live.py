#!/usr/bin/env python3
"""Live overfitting against the general network and against the codec at equal bytes, as a curve of time.

video_live.py CAIRN CLIP -o FOLDER [--crf 26] [--segment-seconds 4] [--codec x264] [--svg FILE]

Runs `cairn video live CLIP` at the clip's own pace three times: with a network trained for each segment, with the
general network for all, and plain at crf + 2, which gives the codec's slope. Every frame of what each wrote is then
decoded, restored and compared with the clip. Bytes are those that are published: network and segment files too.
Needs numpy, ffmpeg, and for the first of the three a machine with nothing else to do."""
import argparse
import json
import math
import os
import subprocess

import numpy as np


def planes(command, width, height):
    """Luma of a command's raw 4:2:0 frames."""
    size = width * height * 3 // 2
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        while len(frame := process.stdout.read(size)) == size:
            yield np.frombuffer(frame, np.uint8, width * height).astype(np.int16)


def raw(path):
    return ["ffmpeg", "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-fps_mode", "passthrough", "-"]


def restored(cairn, path):
    return ["sh", "-c", f'"{cairn}" video decode "{path}" -o - | ffmpeg -loglevel error -i - -f rawvideo -']


def errors(wanted, got, width, height):
    return [float(np.mean((a - b).astype(np.int32) ** 2))
            for a, b in zip(planes(wanted, width, height), planes(got, width, height))]


def psnr(mse):
    return 10 * math.log10(255 ** 2 / max(np.mean(mse), 1e-9))


def gain(frames, video, extra, cheap_video, slices):
    """dB over the codec at the same bytes. frames: errors of plain, cheaper and restored ones."""
    plain, cheap, seen = ([e for s in slices for e in errors[s]] for errors in frames)
    slope = (psnr(plain) - psnr(cheap)) / math.log(video / cheap_video)
    return psnr(seen) - psnr(plain) - slope * math.log((video + extra) / video)


def draw(rows, path):
    """Curves of gain by time: one polyline a column."""
    width, height, left, top = 760, 300, 56, 20
    seconds = rows[-1]["until"]
    columns = [("live", "#0a5", "trained while it runs"), ("live so far", "#0a5", "the same, all so far"),
               ("general", "#c60", "the general network")]
    low = min(0.0, *(row[c] for row in rows for c, _, _ in columns))
    high = max(0.1, *(row[c] for row in rows for c, _, _ in columns))
    low, high = math.floor(low * 10) / 10, math.ceil(high * 10) / 10
    x = lambda t: left + (width - left - 20) * t / seconds
    y = lambda g: top + (height - top - 60) * (high - g) / (high - low)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    step = 0.1 if high - low <= 1 else 0.2
    for i in range(round((high - low) / step) + 1):
        g = low + i * step
        out.append(f'<path d="M{left} {y(g):.1f}H{width - 20}" stroke="{"#888" if abs(g) < 1e-9 else "#ddd"}"/>'
                   f'<text x="{left - 6}" y="{y(g) + 4:.1f}" text-anchor="end">{g:+.1f}</text>')
    for t in range(0, int(seconds) + 1, 20):
        out.append(f'<text x="{x(t):.1f}" y="{height - 42}" text-anchor="middle">{t} s</text>')
    for i, (column, colour, name) in enumerate(columns):
        points = " ".join(f'{x(row["until"]):.1f},{y(row[column]):.1f}' for row in rows)
        dash = ' stroke-dasharray="5 4"' if column == "live so far" else ""
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        out.append(f'<path d="M{left + 230 * i} {height - 18}h24" stroke="{colour}" stroke-width="2"{dash}/>'
                   f'<text x="{left + 230 * i + 30}" y="{height - 14}">{name}</text>')
    out.append(f'<text x="{left}" y="14">dB of luma over the codec at equal bytes</text></svg>')
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("clip")
    parser.add_argument("-o", "--output", required=True, help="folder for what is made")
    parser.add_argument("--crf", type=float, default=26)
    parser.add_argument("--codec", default="x264")
    parser.add_argument("--segment-seconds", default="4")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--before", default="", help="words before the run that trains: 'nice -n -10'")
    parser.add_argument("--svg")
    args = parser.parse_args()
    os.makedirs(args.output, exist_ok=True)

    def start(name, *more, before=()):
        file = os.path.join(args.output, name)
        words = [*before, args.cairn, "video", "live", args.clip, "-o", file, "--codec", args.codec, "--threads", args.threads,
                 "--segment-seconds", args.segment_seconds, "--record", file + ".mkv", "-y", "--json", *more]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    crf = ["--crf", str(args.crf)]
    others = {"general": start("general", "--no-train", *crf),
              "cheap": start("cheap", "--mode", "plain", "--crf", str(args.crf + 2))}
    runs = {name: json.loads(process.communicate()[0]) for name, process in others.items()}
    runs["live"] = json.loads(start("live", *crf, before=args.before.split()).communicate()[0])
    load = os.getloadavg()[1]  # of these five minutes

    probe = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height,avg_frame_rate",
                            "-of", "json", args.clip], stdout=subprocess.PIPE, check=True)
    stream = json.loads(probe.stdout)["streams"][0]
    size = stream["width"], stream["height"]
    rate = float(np.divide(*map(float, stream["avg_frame_rate"].split("/"))))
    path = lambda name: os.path.join(args.output, name) + ".mkv"
    plain, cheap = (errors(raw(args.clip), raw(path(name)), *size) for name in ("live", "cheap"))
    live, general = (errors(raw(args.clip), restored(args.cairn, path(name)), *size) for name in ("live", "general"))

    rows, slices, at = [], [], 0
    video = extra = other = cheap_video = 0
    for mine, theirs, least in zip(*(runs[name]["segments"] for name in ("live", "general", "cheap"))):
        slices.append(slice(at, at + mine["frames"]))
        at += mine["frames"]
        video, extra, other, cheap_video = (video + mine["video"], extra + mine["network"], other + theirs["network"],
                                            cheap_video + least["video"])
        one = [slices[-1]], mine["video"], least["video"]
        row = {"until": at / rate, "from": mine["from"], "steps": mine["steps"], "video": mine["video"],
               "network": mine["network"], "after": mine["seconds_after"], "plain": psnr(plain[slices[-1]]),
               "live": gain((plain, cheap, live), one[1], mine["network"], one[2], one[0]),
               "general": gain((plain, cheap, general), one[1], theirs["network"], one[2], one[0]),
               "live so far": gain((plain, cheap, live), video, extra, cheap_video, slices)}
        rows.append(row)
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}))
    tens = [(f"{t} to {t + 10} s", t, t + 10) for t in range(0, int(rows[-1]["until"]), 10)]
    for name, first, last in (*tens, ("first minute", 0, 60), ("after one minute", 60, 1e9), ("all", 0, 1e9)):
        middles = [(row["until"] + (rows[i - 1]["until"] if i else 0)) / 2 for i, row in enumerate(rows)]
        chosen = [i for i, middle in enumerate(middles) if first <= middle < last]
        if not chosen:
            continue
        total = lambda run, key: sum(runs[run]["segments"][i][key] for i in chosen)
        of = [slices[i] for i in chosen]
        print(json.dumps({"part": name, "segments": len(chosen), "fresh": sum(rows[i]["from"] == "fresh" for i in chosen),
                          "steps": float(np.median([rows[i]["steps"] for i in chosen])), "video": total("live", "video"),
                          "networks": total("live", "network"), "late": runs["live"]["late"], "load": round(load, 1),
                          "plain": round(psnr([e for s in of for e in plain[s]]), 2),
                          "live": round(gain((plain, cheap, live), total("live", "video"), total("live", "network"),
                                             total("cheap", "video"), of), 3),
                          "general": round(gain((plain, cheap, general), total("general", "video"), total("general", "network"),
                                                total("cheap", "video"), of), 3)}))
    if args.svg:
        draw(rows, args.svg)


if __name__ == "__main__":
    main()
