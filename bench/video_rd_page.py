"""docs/video_rd.md and its plots from the records of video_rd.py."""
import collections
import re

from video_rd_curves import at_bytes, at_quality, bd_rate, curve, plot
from video_rd_points import CLIPS

NAMES = {"bbb": "Big Buck Bunny", "car": "car detection", "flower": "flower", "tos": "Tears of Steel"}
CODECS = {"x264": "x264", "x265": "x265", "av1": "AV1", "av1-1.4": "SVT-AV1 1.4.1"}
WDSR_BYTES = 4 * 1_187_484  # the paper's usual backbone at x2, 32 bits a weight
# The issue's bars: dB over the bicubic of the same decoded video (C16M4, 8 bits, x2), and at equal bytes.
GAIN = {("bbb", "x265", 24): 1.54, ("bbb", "x265", 28): 0.99, ("car", "x265", 24): 1.24,
        ("flower", "x265", 24): 0.76, ("bbb", "av1", 28): 1.80, ("car", "av1", 28): 1.55}
SMALLER = {("car", "x265", 28): 0.85, ("flower", "x265", 28): 1.1}
SAME_SIZE = {"av1": 0.05, "x265": 0.14}


class Records:
    def __init__(self, records):
        self.records = records

    def of(self, **wanted):
        return [r for r in self.records if all(r["point"].get(k) == v for k, v in wanted.items())]

    def one(self, **wanted):
        return next(iter(self.of(**wanted)), None)

    def plain(self, clip, codec, score="psnr_y"):
        """The plain codec's curve: its own points, the coded video of x1 (its own points again: what is compared
        with Lanczos there is the video as it is) and, for PSNR, what the automatic choice measured of it."""
        points = [(r["compare"]["bytes"]["total"], r["compare"][score])
                  for r in self.of(clip=clip, codec=codec, mode="plain")]
        points += [(r["compare"]["bytes"]["video"], r["compare"]["lanczos"][score])
                   for r in self.of(clip=clip, codec=codec) if r["encode"]["mode"] == "x1"]
        if score == "psnr_y":
            points += [(c["bytes"], c["psnr_y"]) for r in self.of(clip=clip, codec=codec, mode="auto")
                       for c in r["encode"]["choices"] if c["mode"] == "plain"]
        return curve(points)

    def mode(self, clip, codec, mode, network="C8M4"):
        """Bytes and PSNR-Y of a mode with one network: told, or measured by the automatic choice at another crf."""
        told = self.of(clip=clip, codec=codec, mode=mode, network=network, bits=5, method="jstdo")
        crfs = {r["point"]["crf"] for r in told}
        points = [(r["encode"]["bytes"]["total"], r["encode"]["psnr_y"]) for r in told]
        return points + [(c["bytes"], c["psnr_y"]) for r in self.of(clip=clip, codec=codec, mode="auto")
                         for c in r["encode"]["choices"] if c["mode"] == mode and c["crf"] not in crfs]

    def lanczos(self, clip, codec, score):
        """Every x2 point's small video with Lanczos and no network."""
        return curve((r["compare"]["bytes"]["video"], r["compare"]["lanczos"][score])
                     for r in self.of(clip=clip, codec=codec, mode="x2"))

    def restored(self, clip, codec, mode, score):
        """The best of a mode, whatever the network."""
        return curve((r["compare"]["bytes"]["total"], r["compare"][score])
                     for r in self.of(clip=clip, codec=codec, mode=mode))

    def automatic(self, clip, codec, score="psnr_y"):
        """What `--mode auto` chose. AV1 is given coded, at the original's size, where the choice is between x1 and plain."""
        points = [(r["compare"]["bytes"]["total"], r["compare"][score])
                  for r in self.of(clip=clip, codec=codec, mode="auto")]
        for r in self.of(clip=clip, codec=codec, mode="x1", method="jstdo") if codec == "av1" else []:
            e = r["encode"]
            pays = above(self, clip, codec, e["bytes"]["total"], e["psnr_y"]) or 0
            points.append((r["compare"]["bytes"]["total"], r["compare"][score]) if pays >= 0 else
                          (r["compare"]["bytes"]["video"], r["compare"]["lanczos"][score]))
        return points


def table(header, rows):
    if not rows:
        return ["Too few points for this table.", ""]
    return [f"| {' | '.join(header)} |", "|" + "---|" * len(header),
            *(re.sub(r"(?<!\w)-(?=\d)", "−", f"| {' | '.join(row)} |") for row in rows), ""]


def above(records, clip, codec, size, quality, smooth=False):
    """dB above the plain codec's curve at equal bytes; None: the curve has too few points yet."""
    line = records.plain(clip, codec)
    return quality - at_bytes(line, size, smooth) if len(line) > 2 else None


def fewer(records, clip, codec, size, quality):
    """Bytes against the plain codec's curve at equal PSNR."""
    line = records.plain(clip, codec)
    return f"{100 * (size / at_quality(line, quality) - 1):+.1f} %" if len(line) > 2 else "–"


def decibels(value):
    return "–" if value is None else f"{value:+.2f}"


def bar(value, wanted):
    if value is None:
        return "–"
    return f"{value:+.2f} ({'met' if value >= wanted - 5e-4 else 'MISSED'}: {wanted:+.2f})"


def place(clip, codec, crf):
    return f"{clip} {CODECS[codec]} {crf:g}"


def restored_table(records):
    rows = []
    for (clip, codec, crf), wanted in GAIN.items():
        by_bits = {bits: records.one(clip=clip, codec=codec, crf=crf, mode="x2", network="C16M4", bits=bits,
                                     method="jstdo") for bits in (8, 5)}
        eight, five = by_bits[8], by_bits[5]
        if eight is None:
            continue
        e = eight["encode"]
        row = [place(clip, codec, crf), f"{e['bytes']['video']:,}", f"{e['bicubic_psnr_y']:.2f}",
               f"{e['psnr_y']:.2f}", bar(e["psnr_y"] - e["bicubic_psnr_y"], wanted),
               f"{e['bytes']['networks']:,}"]
        if five is None:
            row += ["", ""]
        else:
            row += [f"{five['encode']['bytes']['networks']:,}", f"{five['encode']['psnr_y'] - e['psnr_y']:+.3f}"]
        row.append(f"{e['psnr_y'] - eight['compare']['lanczos']['psnr_y']:+.2f}")
        for r in (eight, five):
            e = r["encode"] if r else None
            row.append(decibels(above(records, clip, codec, e["bytes"]["total"], e["psnr_y"]) if e else None))
        rows.append(row)
    return table(["clip, codec, crf", "small video, B", "bicubic, dB", "network, dB", "gain (bar)", "8 bits, B",
                  "5 bits, B", "5 against 8 bits, dB", "gain over Lanczos",
                  "8 bits against plain at equal bytes", "5 bits"], rows)


def equal_bytes_table(records, mode, bars):
    rows = []
    for (clip, codec, crf), wanted in bars:
        r = records.one(clip=clip, codec=codec, crf=crf, mode=mode, network="C8M4", bits=5, method="jstdo")
        if r is None:
            continue
        e = r["encode"]
        size, quality = e["bytes"]["total"], e["psnr_y"]
        rows.append([place(clip, codec, crf), f"{e['bytes']['video']:,}", f"{e['bytes']['networks']:,}",
                     f"{e['bicubic_psnr_y']:.3f}", f"{e['psnr_y']:.3f}",
                     bar(above(records, clip, codec, size, quality), wanted),
                     decibels(above(records, clip, codec, size, quality, smooth=True)),
                     fewer(records, clip, codec, size, quality), f"{e['train_seconds']:.0f}"])
    without = "as it is, dB" if mode == "x1" else "bicubic, dB"
    return table(["clip, codec, crf", "video, B", "network, B", without, "network, dB",
                  "against plain at equal bytes (bar)", "by a cubic", "bytes at equal PSNR", "trained, s"], rows)


def automatic_table(records, codec):
    rows = []
    for r in sorted(records.of(codec=codec, mode="auto"), key=lambda r: (CLIPS.index(r["point"]["clip"]),
                                                                        r["point"]["crf"])):
        point, e = r["point"], r["encode"]
        modes = {}
        for c in e["choices"]:
            modes[c["mode"]] = above(records, point["clip"], codec, c["bytes"], c["psnr_y"])
        row = [place(point["clip"], codec, point["crf"]), f"**{e['mode']}** crf {e['crf']:g}",
               f"{e['bytes']['total']:,}", f"{e['psnr_y']:.2f}", f"{r['compare']['ssim_y']:.4f}"]
        rows.append(row + [decibels(modes.get(m)) for m in ("x1", "x2", "x3", "x4")])
    return table(["clip, codec, crf", "chosen", "bytes", "PSNR-Y", "SSIM", "x1", "x2", "x3", "x4"], rows)


def rates_table(records, codec):
    rows = []
    for score, name in (("psnr_y", "PSNR-Y"), ("ssim_y", "SSIM")):
        collected = collections.defaultdict(list)
        for clip in CLIPS:
            plain = records.plain(clip, codec, score)
            lines = {"small + Lanczos": records.lanczos(clip, codec, score),
                     "automatic": records.automatic(clip, codec, score)}
            if score == "psnr_y":
                lines["x1"] = records.mode(clip, codec, "x1")
                lines["x2"] = records.mode(clip, codec, "x2")
            for what, line in lines.items():
                collected[what].append(bd_rate(plain, line))
        for what in ("small + Lanczos", "x2", "x1", "automatic"):
            rates = collected[what]
            if not any(rate is not None for rate in rates):
                continue
            known = [r for r in rates if r is not None]
            mean = f"**{100 * sum(known) / len(known):+.1f} %**" if len(known) > 1 else "–"
            rows.append([f"{what}, {name}", *("–" if r is None else f"{100 * r:+.1f} %" for r in rates), mean])
    return table([f"against plain {CODECS[codec]}", *CLIPS, "mean"], rows)


def long_table(records):
    """Of the points without loop restoration, trained longest, against the plain codec with all of its filters."""
    rates, seconds = [], []
    for clip in CLIPS:
        found = records.of(clip=clip, codec="av1-norest", mode="x1")
        line = [(r["encode"]["bytes"]["total"], r["encode"]["psnr_y"]) for r in found]
        rates.append(bd_rate(records.plain(clip, "av1"), line))
        seconds.append([r["encode"]["train_seconds"] for r in found])
    known = [r for r in rates if r is not None]
    if not known:
        return table([], [])
    steps = {r["point"]["steps"] for r in records.of(codec="av1-norest", mode="x1")}
    rows = [[f"x1, PSNR-Y, {'/'.join(f'{s:,}' for s in sorted(steps))} steps",
             *("–" if r is None else f"{100 * r:+.1f} %" for r in rates), f"**{100 * sum(known) / len(known):+.1f} %**"],
            ["training of a point, s", *(f"{min(s):.0f} … {max(s):.0f}" if s else "–" for s in seconds), ""]]
    return table(["against plain AV1, all filters", *CLIPS, "mean"], rows)


def codecs_table(records):
    rows = []
    for score, name in (("psnr_y", "PSNR-Y"), ("ssim_y", "SSIM")):
        for codec in ("x264", "x265", "av1-1.4"):
            rates = [bd_rate(records.plain(c, "av1", score), records.plain(c, codec, score)) for c in CLIPS]
            if all(rate is None for rate in rates):
                continue
            rows.append([f"{CODECS[codec]}, {name}", *("–" if r is None else f"{100 * r:+.0f} %" for r in rates)])
    return table(["against plain AV1", *CLIPS], rows)


def chunks_table(records):
    rows = []
    for clip in CLIPS:
        found = [records.one(clip=clip, codec="x265", crf=24, mode="x2", network="C8M4", bits=5, method=m)
                 for m in ("one", "stdo2", "stdo4", "jstdo")]
        if found[0] is None:
            continue
        base = found[0]["encode"]
        for r in filter(None, found):
            e, method = r["encode"], r["point"]["method"]
            name = {"one": "one network", "stdo2": "STDO, K = 2", "stdo4": "STDO, K = 4", "jstdo": "JSTDO"}[method]
            rows.append([f"{clip}: {name}", f"{e['bytes']['networks']:,}", f"{e['bytes']['labels']:,}",
                         f"{e['psnr_y']:.3f}", f"{e['psnr_y'] - base['psnr_y']:+.3f}", f"{e['train_seconds']:.0f}",
                         decibels(above(records, clip, "x265", e["bytes"]["total"], e["psnr_y"]))])
        chunks = 4
        rows.append([f"{clip}: STDO as published, WDSR in 32 bits, K = {chunks}: bytes only",
                     f"{chunks * WDSR_BYTES:,}", "", "", "", "",
                     f"{chunks * WDSR_BYTES / records.plain(clip, 'x265')[-1][0]:.0f} times plain x265's "
                     "largest stream here"])
    return table(["", "networks, B", "labels, B", "PSNR-Y", "against one network", "trained, s",
                  "against plain at equal bytes"], rows)


def joint_table(records):
    rows = []
    for one in records.of(method="one", of="joint"):
        p, o = one["point"], one["encode"]
        joint = records.one(**{k: v for k, v in p.items() if k != "of"} | {"method": "jstdo"})
        if joint is None:
            continue
        e = joint["encode"]
        rows.append([f"{place(p['clip'], p['codec'], p['crf'])} {p['mode']}",
                     f"{o['bytes']['networks']:,}", f"{e['bytes']['networks']:,}", f"{o['psnr_y']:.3f}",
                     f"{e['psnr_y']:.3f}", f"{e['psnr_y'] - o['psnr_y']:+.3f}",
                     decibels(above(records, p["clip"], p["codec"], e["bytes"]["total"], e["psnr_y"]))])
    return table(["clip, codec, crf, mode", "one network, B", "JSTDO, B", "one network, dB", "JSTDO, dB", "gain",
                  "JSTDO against plain at equal bytes"], rows)


def plots(records, output):
    names = []
    for clip in CLIPS:
        for score, axis in (("psnr_y", "PSNR-Y, dB"), ("ssim_y", "SSIM")):
            series = {CODECS[c]: records.plain(clip, c, score) for c in ("x264", "x265", "av1")}
            series["AV1, x1 and network"] = records.restored(clip, "av1", "x1", score)
            series["x265, cairn's choice"] = curve(records.automatic(clip, "x265", score))
            series["x265, x2 and network"] = records.restored(clip, "x265", "x2", score)
            series["x265, x2 and Lanczos"] = records.lanczos(clip, "x265", score)
            series = {name: line for name, line in series.items() if line}
            if not series:
                continue
            name = f"video_rd_{clip}_{score.split('_')[0]}.svg"
            (output.parent / name).write_text(plot(f"{NAMES[clip]}: {axis}", axis, series))
            names.append((clip, axis, name))
    return names


def write(records, output):
    records = Records(records)
    parts = {
        "restored": restored_table(records),
        "smaller": equal_bytes_table(records, "x2", list(SMALLER.items())),
        "same_size": equal_bytes_table(
            records, "x1", [((clip, codec, crf), SAME_SIZE[codec]) for codec, crf in
                            (("av1", 41), ("av1", 55), ("x265", 36)) for clip in CLIPS[:3]]),
        "automatic_av1": automatic_table(records, "av1"),
        "automatic_x265": automatic_table(records, "x265"),
        "rates_av1": rates_table(records, "av1"),
        "rates_x265": rates_table(records, "x265"),
        "rates_long": long_table(records),
        "codecs": codecs_table(records),
        "chunks": chunks_table(records),
        "joint": joint_table(records),
        "plots": [f"![{NAMES[clip]}: {axis}]({name})" for clip, axis, name in plots(records, output)],
    }
    # The page's prose is kept; what stands between `<!-- NAME -->` and `<!-- end -->` is made anew.
    lines, skipping = [], False
    for line in output.read_text().splitlines():
        name = line.removeprefix("<!-- ").removesuffix(" -->") if line.startswith("<!-- ") else None
        if name == "end":
            skipping = False
        if not skipping:
            lines.append(line)
        if name in parts:
            lines += parts[name]
            skipping = True
    output.write_text("\n".join(lines) + "\n")
