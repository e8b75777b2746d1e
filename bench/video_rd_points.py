"""The points that docs/video_rd.md is made of: what is encoded, and how."""

CLIPS = ["bbb", "car", "flower", "tos"]
# `cairn video encode --mode auto` measures the plain codec, x1 and smaller modes at each of these.
AUTO_CRF = [24, 28, 32, 36]
PLAIN_CRF = {"x264": [20, 25, 30, 35], "x265": [20, 24, 28, 32, 36, 40]}
# "av1" is coded beforehand by video_svtav1.py, at these rates for each scale, and given with --coded; "av1-norest" likewise,
# without loop restoration, in the folder CODED-norest.
AV1_CRF = {1: [20, 27, 30, 34, 41, 48, 55], 2: [20, 28, 36, 44]}


def find_clips(folder):
    """The shared clips by their short names. Of tears of steel the first 480 frames: tos.mkv, made by
    `ffmpeg -i tears_of_steel….webm -frames:v 480 -an -c copy tos.mkv`."""
    patterns = {"bbb": "big_buck_bunny*", "car": "car_*", "flower": "flower*", "tos": "tos.mkv"}
    found = {name: sorted(folder.glob(pattern)) for name, pattern in patterns.items()}
    return {name: paths[0] for name, paths in found.items() if paths}


def point(of, clip, codec, crf, mode, network="C8M4", bits=5, method="jstdo", steps=0):
    """method: jstdo (one network, as cairn trains it), one (on all patches alike), stdoK (K of them, by how hard patches
    are)."""
    made = {"of": of, "clip": clip, "codec": codec, "crf": crf, "mode": mode}
    if mode != "plain":
        made.update(network=network, bits=bits, method=method, steps=steps)
    return made


def points(steps):
    """steps: of the automatic choice's and the curves' training; what the issue asks for has twice as many."""
    restored = [("car", "x265", 24), ("flower", "x265", 24), ("bbb", "x265", 24), ("bbb", "x265", 28),
                ("bbb", "av1", 28), ("car", "av1", 28)]
    for bits in (8, 5):
        for clip, codec, crf in restored:
            yield point("restored", clip, codec, crf, "x2", "C16M4", bits, steps=2 * steps)
    for clip in ("car", "flower"):
        yield point("smaller", clip, "x265", 28, "x2", steps=2 * steps)
    for clip in CLIPS[:3]:
        yield point("same", clip, "x265", 36, "x1", steps=2 * steps)
    for crf in (55, 41):
        for clip in CLIPS[:3]:
            yield point("same", clip, "av1", crf, "x1", steps=2 * steps)
    for crf in (48, 34):  # with those above curves for a BD-rate
        for clip in CLIPS[:3]:
            yield point("curves", clip, "av1", crf, "x1", steps=steps)
    for clip in CLIPS[:3]:
        for crf in AUTO_CRF:
            yield point("auto", clip, "x265", crf, "auto", steps=steps)
    for crf in (55, 48, 41, 34):
        yield point("tos", "tos", "av1", crf, "x1", steps=2 * steps if crf == 55 else steps)
    # What cairn makes of AV1 where bytes count: coded without loop restoration, trained six times as long.
    for crf in (55, 48, 41, 34):
        for clip in CLIPS:
            yield point("long", clip, "av1-norest", crf, "x1", steps=6 * steps)
    for crf in AUTO_CRF:  # of the longest clip what is chosen of all others
        yield point("tos", "tos", "x265", crf, "x1", steps=steps)
    # STDO's claims: chunks against one network of the same kind and training, and JSTDO.
    for clip in ("car", "flower"):
        for method in ("one", "stdo2", "stdo4", "jstdo"):
            yield point("chunks", clip, "x265", 24, "x2", method=method, steps=steps)
    for clip, codec, crf, mode in (("car", "av1", 55, "x1"), ("bbb", "av1", 41, "x1"), ("flower", "x265", 28, "x2")):
        yield point("joint", clip, codec, crf, mode, method="one", steps=2 * steps)
    for clip in CLIPS:
        for crf in AV1_CRF[2]:
            yield point("small", clip, "av1", crf, "x2", steps=steps)
    for clip in CLIPS:
        for codec in ("x265", "x264"):
            for crf in PLAIN_CRF[codec]:
                yield point("plain", clip, codec, crf, "plain")
        for crf in AV1_CRF[1]:
            yield point("plain", clip, "av1", crf, "plain")
