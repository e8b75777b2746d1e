#!/usr/bin/env python3
"""What other programs make of exported networks, beside `cairn video decode`: the tables of docs/video_export.md.

    bench/video_export.py build/release/cairn shared/clips/flower_cc0_960x540p30_150f.mp4 [--only mpv|fbo|onnx] [--whole]

Six frames of the clip, cut to 361×267 or scaled to 362×270, are encoded (C8M4, 600 steps, each codec's usual crf) and
exported. mpv and fbo: the original, decode's frames and the small video with the shader are played by one mpv, paused at
each frame, into a window of the original's size, on a virtual screen with OpenGL in software; compared is what the windows
show. FFmpeg's libplacebo is added where it has Vulkan. onnx: onnxruntime against `decode --float`, in the plane's own
samples; --whole: all of the clip too (AV1, crf 55, 1,500 steps). Needs ffmpeg and, of mpv and fbo, mpv and Xvfb, of onnx
Python's onnxruntime and numpy. --folder keeps what was made; --threads is of mpv's rendering, cairn and onnxruntime.
"""
import argparse
import contextlib
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FRAMES = 6
CUT, SCALED = "crop=361:267:exact=1", "scale=362:270:flags=bicubic"


class Case:
    def __init__(self, name, mode, codec, size=CUT, bits=8, options=(), outputs=("gpu", "gpu-next")):
        self.name, self.mode, self.codec, self.size, self.bits = name, mode, codec, size, bits
        self.options, self.outputs = list(options), outputs
        self.words = [mode, codec, size[:4], str(bits), *self.options]

    def width_and_height(self):
        return re.search(r"=(\d+):(\d+)", self.size).groups()


X2 = Case("x2, odd size, H.264", "x2", "x264")
X1 = Case("x1, odd size, HEVC", "x1", "x265")
X2_TEN = Case("x2, 10 bits, HEVC", "x2", "x265", SCALED, 10)
X1_TEN = Case("x1, 10 bits, AV1", "x1", "av1", SCALED, 10)
X3 = Case("x3, H.264", "x3", "x264", SCALED)
X4 = Case("x4, H.264", "x4", "x264", SCALED)
PLAYED = [X2, X1, X2_TEN, X1_TEN, Case("x1, AV1", "x1", "av1", SCALED, outputs=["gpu"]), X3, X4,
          Case("x2, odd size, H.264, three chunks", "x2", "x264", options=["--chunks", "3"]),
          Case("x2, odd size, H.264, chroma's network", "x2", "x264", options=["--chroma"])]
FORMATS = [("rgba16f", "rgba16f (mpv's own choice)"), ("rgba16", "rgba16"), ("rgba32f", "rgba32f"),
           ("rgba8", "rgba8 (GPUs without half floats; also fixes output at 8 bits)")]

# Takes a picture of the window at each frame; one is shown when its time has stood for a tick.
SHOTS = """
local count, done, seen = 0, nil, nil
mp.add_periodic_timer(0.05, function()
  local now = mp.get_property_number('time-pos')
  if now and now ~= done and now == seen and
      mp.commandv('screenshot-to-file', os.getenv('CAIRN_SHOTS') .. '/' .. count .. '.png', 'window') then
    done, count = now, count + 1
    if count == tonumber(os.getenv('CAIRN_FRAMES')) then mp.command('quit') else mp.command('frame-step') end
  end
  seen = now
end)
"""


def run(*words, **options):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def ffmpeg(*words):
    return run("ffmpeg", "-hide_banner", "-nostdin", "-y", *words)


def psnr(a, b, form, component="average"):
    """Of all frames' mean squared error, dB: of a plane or of all."""
    told = ffmpeg("-i", a, "-i", b, "-lavfi", f"[0]format={form},settb=AVTB,setpts=N[a];[1]format={form},settb=AVTB,"
                  "setpts=N[b];[a][b]psnr", "-f", "null", "-")
    return float(re.search(rf"PSNR .*\b{component}:(\S+)", told)[1])


class Bench:
    def __init__(self, cairn, clip, folder, threads):
        self.cairn, self.clip, self.folder, self.threads = cairn, clip, folder, threads

    def made(self, case):
        """The folder of the original, what cairn encoded, and decode's frames; each is made once."""
        folder = self.folder / "-".join(word.strip("-") for word in case.words)
        if not (folder / "float.mkv").exists():
            folder.mkdir(exist_ok=True)
            form = "yuv420p" if case.bits == 8 else "yuv420p10le"
            ffmpeg("-i", self.clip, "-an", "-vf", f"{case.size},format={form}", "-frames:v", FRAMES, "-c:v", "ffv1",
                   folder / "original.mkv")
            self.encode(folder / "original.mkv", folder, case, 600)
        return folder

    def encode(self, original, folder, case, steps):
        run(self.cairn, "video", "encode", original, "-o", folder / "clip.mkv", "--force", "--quiet", "--no-audio", "--mode",
            case.mode, "--codec", case.codec, "--network", "C8M4", "--train-steps", steps, "--threads", self.threads, *case.options)
        for name, options in (("decoded", []), ("float", ["--float"])):
            run(self.cairn, "video", "decode", folder / "clip.mkv", "-o", folder / f"{name}.mkv", "--force", "--quiet",
                "--threads", self.threads, *options)

    def shader(self, case):
        """The shader's file, and the share of patches that it serves with their own network, in words."""
        shader = self.made(case) / "clip.glsl"
        told = run(self.cairn, "video", "export", self.made(case) / "clip.mkv", "--mpv", shader, "--force")
        share = re.search(r"\((\d+) % of all patches", told)
        return shader, f" ({share[1]} % of patches have their network)" if share else ""

    def shown(self, case, video, display, *options):
        """A folder of what mpv's window shows of each frame."""
        shots = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        script = self.folder / "shots.lua"
        script.write_text(SHOTS)
        width, height = case.width_and_height()
        environment = dict(os.environ, DISPLAY=display, LIBGL_ALWAYS_SOFTWARE="1", CAIRN_SHOTS=str(shots),
                           CAIRN_FRAMES=str(FRAMES), LP_NUM_THREADS=str(self.threads))
        run("timeout", "300", "mpv", "--no-config", "--no-audio", "--no-osc", "--osd-level=0", "--no-border", "--no-keepaspect",
            f"--geometry={width}x{height}+0+0", "--dither-depth=no", "--gpu-api=opengl", "--gpu-sw", "--hwdec=no", "--pause",
            "--keep-open=yes", "--screenshot-png-compression=1", f"--script={script}", *options, video, env=environment)
        return shots

    def windows(self, a, b):
        deep = (a / "0.png").read_bytes()[24] == 16  # bits a sample, of PNG's header
        return psnr(a / "%d.png", b / "%d.png", "gbrp16le" if deep else "gbrp")


@contextlib.contextmanager
def screen():
    """The name of a virtual screen's display."""
    ours, its = os.pipe()
    with subprocess.Popen(["Xvfb", "-displayfd", str(its), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
                          pass_fds=[its], stderr=subprocess.DEVNULL) as process:
        os.close(its)
        with os.fdopen(ours) as names:
            number = names.readline().strip()
        if not number:
            sys.exit("Xvfb did not start")
        try:
            yield ":" + number
        finally:
            process.terminate()


def mpv(bench):
    print("| | `--vo` | `decode` | shader | between the two | colour (RGB): `decode`, shader |\n|---|---|---|---|---|---|")
    with screen() as display:
        for case in PLAYED:
            made, (shader, share) = bench.made(case), bench.shader(case)
            label = case.name + share
            for output in case.outputs:
                figures = []
                for colour in ([], ["--saturation=-100"]):
                    options = [f"--vo={output}", *colour]
                    original, decoded, shaded = (bench.shown(case, made / video, display, *options, *more) for video, more in (
                        ("original.mkv", []), ("decoded.mkv", []), ("clip.mkv", [f"--glsl-shader={shader}"])))
                    figures.append((bench.windows(decoded, original), bench.windows(shaded, original),
                                    bench.windows(decoded, shaded)))
                (decode_rgb, shader_rgb, _), (decode_grey, shader_grey, between) = figures
                print(f"| {label} | {output} | {decode_grey:.2f} | {shader_grey:.2f} | {between:.1f} | {decode_rgb:.2f}, "
                      f"{shader_rgb:.2f} |", flush=True)
                label = ""
    libplacebo(bench, X2)


def libplacebo(bench, case):
    if subprocess.run("ffmpeg -v quiet -init_hw_device vulkan=v -f lavfi -i nullsrc -frames:v 1 -f null -", shell=True).returncode:
        return
    made, (shader, _) = bench.made(case), bench.shader(case)
    width, height = case.width_and_height()
    ffmpeg("-init_hw_device", "vulkan=v", "-filter_hw_device", "v", "-i", made / "clip.mkv", "-vf",
           f"hwupload,libplacebo=w={width}:h={height}:format=yuv420p:custom_shader_path={shader},hwdownload,format=yuv420p",
           "-c:v", "ffv1", made / "libplacebo.mkv")
    original, decoded, shaded = (made / f"{name}.mkv" for name in ("original", "decoded", "libplacebo"))
    print(f"\nFFmpeg's libplacebo, {case.name}, luma's own samples: `decode` {psnr(decoded, original, 'yuv420p', 'y'):.2f} dB, "
          f"shader {psnr(shaded, original, 'yuv420p', 'y'):.2f}, between the two {psnr(decoded, shaded, 'yuv420p', 'y'):.1f}")


def fbo(bench):
    cases = [X2, X1_TEN]
    print("| `--fbo-format` | " + " | ".join(f"{c.name}, {c.bits} bits" if c.bits == 8 else c.name for c in cases) + " |")
    print("|---|" + "---|" * len(cases))
    options = ["--vo=gpu", "--saturation=-100"]
    with screen() as display:
        decodes = []
        for case in cases:
            original = bench.shown(case, bench.made(case) / "original.mkv", display, *options)
            decoded = bench.shown(case, bench.made(case) / "decoded.mkv", display, *options)
            decodes.append((case, original, bench.windows(decoded, original)))
        for name, label in FORMATS:
            cells = []
            for case, original, decode in decodes:
                shaded = bench.shown(case, bench.made(case) / "clip.mkv", display, *options, f"--fbo-format={name}",
                                     f"--glsl-shader={bench.shader(case)[0]}")
                cells.append(f"{bench.windows(shaded, original) - decode:+.2f}".replace("-", "−"))
            print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def luma(video, bits):
    """Each frame's luma of the file's first video track."""
    import numpy
    size = run("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0", video)
    width, height = map(int, size.strip().strip(",").split(","))
    form, kind = ("yuv420p", numpy.uint8) if bits == 8 else ("yuv420p10le", numpy.uint16)
    luma_samples, chroma_samples = width * height, 2 * ((width + 1) // 2) * ((height + 1) // 2)
    bytes_ = (luma_samples + chroma_samples) * numpy.dtype(kind).itemsize
    with subprocess.Popen(["ffmpeg", "-v", "error", "-i", str(video), "-map", "0:v:0", "-f", "rawvideo", "-pix_fmt", form,
                           "-fps_mode", "passthrough", "-"], stdout=subprocess.PIPE) as process:
        while len(frame := process.stdout.read(bytes_)) == bytes_:
            yield numpy.frombuffer(frame, kind, luma_samples).reshape(height, width)


def onnx_row(bench, label, original, folder, bits):
    import numpy
    import onnxruntime
    run(bench.cairn, "video", "export", folder / "clip.mkv", "--onnx", folder / "clip.onnx", "--force")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = bench.threads
    session = onnxruntime.InferenceSession(folder / "clip.onnx", options, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    width, height, peak = (int(about[name]) for name in ("restored_width", "restored_height", "peak"))
    errors, samples, differ, frames = [0.0, 0.0, 0.0], 0, 0, 0
    for wanted, small, decoded, floats in zip(luma(original, bits), luma(folder / "clip.mkv", bits),
                                              luma(folder / "decoded.mkv", bits), luma(folder / "float.mkv", bits)):
        restored, = session.run(None, {"small": small[None, None].astype(numpy.float32) / numpy.float32(peak)})
        rounded = numpy.clip(numpy.rint(restored[0, 0, :height, :width] * peak), 0, peak)
        for i, got in enumerate((decoded, floats, rounded)):
            errors[i] += float(((got.astype(numpy.float64) - wanted) ** 2).sum())
        differ += int((rounded != floats).sum())
        samples += wanted.size
        frames += 1
    dbs = [10 * math.log10(peak ** 2 * samples / error) for error in errors]
    print(f"| {label} | " + " | ".join(f"{db:.3f}" for db in dbs) + f" | {differ:,} of {samples:,} ({frames} frames) |", flush=True)


def onnx(bench, whole=False):
    import onnxruntime
    print(f"| C8M4, PSNR-Y, dB | `decode` | `decode --float` | onnxruntime {onnxruntime.__version__}, rounded | samples that "
          "differ from `--float` |\n|---|---|---|---|---|")
    for case in (X2, X1, X2_TEN, X3, X4):
        folder = bench.made(case)
        label = f"{case.name.replace(', odd size', '')}, {'×'.join(case.width_and_height())}"
        onnx_row(bench, label, folder / "original.mkv", folder, case.bits)
    if whole:
        folder = bench.folder / "whole"
        folder.mkdir(exist_ok=True)
        bench.encode(bench.clip, folder, Case("", "x1", "av1", options=["--crf", "55"]), 1500)
        onnx_row(bench, "x1, AV1 crf 55, the whole clip, 1,500 steps", bench.clip, folder, 8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn", type=pathlib.Path)
    parser.add_argument("clip", type=pathlib.Path)
    parser.add_argument("--only", choices=["mpv", "fbo", "onnx"])
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bench = Bench(chosen.cairn.resolve(), chosen.clip, folder, chosen.threads)
        for name, table in (("mpv", mpv), ("fbo", fbo), ("onnx", lambda b: onnx(b, chosen.whole))):
            if chosen.only in (None, name):
                table(bench)
                print()


if __name__ == "__main__":
    main()
