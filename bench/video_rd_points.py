"""The points that docs/video_rd.md is made of: what is encoded, and how."""

CLIPS = ["bbb", "car", "flower", "tos"]
# `cairn video encode --mode auto` measures the plain codec, x1 and smaller modes at each of these.
AUTO_CRF = {"x265": [24, 28, 32, 36], "av1": [27, 41, 48, 55]}
PLAIN_CRF = {"x264": [20, 25, 30, 35], "x265": [20, 24, 28, 32, 36, 40], "av1": [20, 27, 34, 41, 48, 55]}
SMALL_CRF = [20, 24, 28, 32]


def find_clips(folder):
    """The shared clips by their short names. Of tears of steel the first 480 frames: tos.mkv, made by
    `ffmpeg -i tears_of_steel….webm -frames:v 480 -an -c copy tos.mkv`."""
    patterns = {"bbb": "big_buck_bunny*", "car": "car_*", "flower": "flower*", "tos": "tos.mkv"}
    found = {name: sorted(folder.glob(pattern)) for name, pattern in patterns.items()}
    return {name: paths[0] for name, paths in found.items() if paths}


def point(of, clip, codec, crf, mode, network="C8M4", bits=5, method="one", steps=0):
    """method: one (network), stdoK (K of them, by how hard patches are) or jstdo."""
    made = {"of": of, "clip": clip, "codec": codec, "crf": crf, "mode": mode}
    if mode != "plain":
        made.update(network=network, bits=bits, method=method, steps=steps)
    return made


def points(steps):
    """The most valuable first. steps: of the automatic choice's training; what the issue asks for has twice as many."""
    restored = [("car", "x265", 24), ("flower", "x265", 24), ("bbb", "x265", 24), ("bbb", "x265", 28),
                ("bbb", "av1", 28), ("car", "av1", 28)]
    for bits in (8, 5):
        for clip, codec, crf in restored:
            yield point("figures", clip, codec, crf, "x2", "C16M4", bits, steps=2 * steps)
    for clip in ("car", "flower"):
        yield point("figures", clip, "x265", 28, "x2", steps=2 * steps)
    for codec, crf in (("av1", 41), ("av1", 55), ("x265", 36)):
        for clip in CLIPS[:3]:
            yield point("figures", clip, codec, crf, "x1", steps=2 * steps)
    for clip in CLIPS:
        for codec in ("av1", "x265"):
            for crf in PLAIN_CRF[codec]:
                yield point("plain", clip, codec, crf, "plain")
    for codec in ("av1", "x265"):
        for clip in CLIPS:
            for crf in AUTO_CRF[codec]:
                yield point("auto", clip, codec, crf, "auto", steps=steps)
    # STDO's claims: chunks against one network of the same kind and training, and JSTDO.
    for clip in ("car", "bbb"):
        for method in ("one", "stdo2", "stdo4", "jstdo"):
            yield point("chunks", clip, "x265", 24, "x2", method=method, steps=steps)
    for clip, codec, crf, mode in (("car", "av1", 55, "x1"), ("flower", "x265", 28, "x2")):
        yield point("chunks", clip, codec, crf, mode, method="jstdo", steps=2 * steps)
    for clip in CLIPS:
        for crf in PLAIN_CRF["x264"]:
            yield point("plain", clip, "x264", crf, "plain")
    # Curves of x2 and of the small video with Lanczos alone, which every comparison measures; and of x1.
    for clip in CLIPS:
        for crf in SMALL_CRF:
            yield point("curves", clip, "x265", crf, "x2", steps=steps)
        for crf in PLAIN_CRF["av1"][2:]:
            yield point("curves", clip, "av1", crf, "x1", steps=steps)
