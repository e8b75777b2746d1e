"""What the page restored, sample by sample, beside what `cairn video decode` gives."""
import base64
import math
import subprocess

# The restored luma of the last frame drawn: [height][width] bytes, and the canvas's own RGBA.
READ = """
const r = cairn.restoration, b = r.backend, t = b.luma, {width: W, height: H} = r.size, scale = Math.round(Math.sqrt(a[0]));
const layers = Math.ceil(a[0] / 4), w = t.width, h = t.height, texels = [];
if (b.gl) {
  const gl = b.gl;
  for (let i = 0; i < layers; i++) {
    const pixels = new Uint8Array(4 * w * h);
    b.target([[t, i]]);
    gl.readPixels(0, 0, w, h, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    texels.push(pixels);
  }
} else {
  const row = Math.ceil(4 * w / 256) * 256;
  for (let i = 0; i < layers; i++) {
    const buffer = b.device.createBuffer({size: row * h, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ});
    const encoder = b.device.createCommandEncoder();
    encoder.copyTextureToBuffer({texture: t.texture, origin: [0, 0, i]}, {buffer, bytesPerRow: row}, [w, h, 1]);
    b.device.queue.submit([encoder.finish()]);
    await buffer.mapAsync(GPUMapMode.READ);
    const padded = new Uint8Array(buffer.getMappedRange()), pixels = new Uint8Array(4 * w * h);
    for (let y = 0; y < h; y++) pixels.set(padded.subarray(y * row, y * row + 4 * w), 4 * w * y);
    texels.push(pixels);
  }
}
const luma = new Uint8Array(W * H);
for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) {
  const phase = (y % scale) * scale + x % scale;
  luma[y * W + x] = texels[phase >> 2][4 * (Math.floor(y / scale) * w + Math.floor(x / scale)) + (phase & 3)];
}
let text = '';
for (let i = 0; i < luma.length; i += 32768) text += String.fromCharCode(...luma.subarray(i, i + 32768));
return btoa(text);
"""

# Stands still at a frame (its middle, in seconds) until it is restored; returns what restoration.last says.
SEEK = """
const r = cairn.restoration, v = r.video;
v.pause();
r.last = null;
v.currentTime = a[0];
for (let i = 0; i < 1500; i++) {
  await new Promise((done) => setTimeout(done, 20));
  if (r.last && !v.seeking && Math.abs(r.last.time - a[1]) < a[2] && !r.busy && r.backend.idle()) return r.last;
}
throw new Error('no restored frame: ' + JSON.stringify([r.last, v.currentTime, document.getElementById('state').textContent]));
"""


def page_luma(browser, scale):
    return base64.b64decode(browser.run(READ, scale * scale))


def seek(browser, time, duration):
    return browser.run(SEEK, time + duration / 2, time, 0.6 * duration)


class Y4m:
    """Frames of a y4m stream, 8 bits, 4:2:0: luma planes."""

    def __init__(self, content):
        head, self.content = content.split(b"\n", 1)[0], content
        fields = {field[:1]: field[1:] for field in head.split(b" ")[1:]}
        self.width, self.height = int(fields[b"W"]), int(fields[b"H"])
        chroma = 2 * ((self.width + 1) // 2) * ((self.height + 1) // 2)
        self.start, self.each = len(head) + 1, 6 + self.width * self.height + chroma
        self.count = (len(content) - self.start) // self.each

    def luma(self, frame):
        at = self.start + frame * self.each + 6
        return self.content[at:at + self.width * self.height]


def decoded(program, path):
    return Y4m(subprocess.run([program, "video", "decode", path, "-o", "-"], check=True, capture_output=True).stdout)


def psnr(a, b):
    assert len(a) == len(b)
    error = sum(d * d for d in map(int.__sub__, a, b)) / len(a)
    return 100.0 if error == 0 else 10 * math.log10(255 * 255 / error)
