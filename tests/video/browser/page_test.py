"""Published folders in Chromium: what is restored, and what happens when something is missing.

usage: page_test.py PROGRAM [TEST…]   (PROGRAM: the built cairn; needs Debian's chromium, chromium-driver, python3-selenium)
"""
import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from chromium import SOFTWARE, WEBGPU, Browser, Server
from samples import Y4m, decoded, page_luma, psnr, seek

PROGRAM = sys.argv.pop(1) if len(sys.argv) > 1 else ""
FOLDER = tempfile.mkdtemp(prefix="cairn page ä ")
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
FRAMES, RATE = 48, 24


def at(name):
    return os.path.join(FOLDER, name)


def cairn(*arguments):
    done = subprocess.run([PROGRAM, "video", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def encode(name, *arguments):
    if not os.path.exists(at(name)):
        cairn("encode", source(), "-o", at(name), "--train-steps", "60", "--scenes", "0",
              *([] if "--coded" in arguments else ["--key-seconds", "0.5"]), *arguments)
    return at(name)


def source():
    """Two seconds that move, with sound and subtitles; no colours that RGB does not hold."""
    if not os.path.exists(at("clip.mkv")):
        with open(at("s.srt"), "w", encoding="utf-8") as file:
            file.write("1\n00:00:00,200 --> 00:00:01,900\nHällo <i>Welt</i>\n")
        subprocess.run(["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"mandelbrot=s=192x108:r={RATE},hue=s=0.4", "-f", "lavfi", "-i", "sine", "-i", at("s.srt"),
                        "-map", "0", "-map", "1", "-map", "2", "-t", "2", "-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p", "-bf", "2",
                        "-c:a", "aac", "-metadata:s:s:0", "language=deu", "-disposition:s:0", "default", at("clip.mkv")], check=True)
    return at("clip.mkv")


H264 = ["--codec", "x264", "--preset", "veryfast"]


def small():
    return encode("klein ö.mkv", *H264, "--mode", "x2", "--crf", "30")


def large():
    return encode("large.mkv", *H264, "--mode", "x1", "--crf", "32")


def site():
    """Two rates of H.264; the small one with a second, smaller network."""
    if not os.path.exists(at("site ß")):
        linear = encode("linear.mkv", "--mode", "x2", "--network", "linear", "--coded", small())
        cairn("publish", small(), linear, large(), "-o", at("site ß"), "--segment-seconds", "0.5", "--original", source(), "--title", "Ein Titel <b>")
    return at("site ß")


class Page(unittest.TestCase):
    def page(self, flags=SOFTWARE, query="?by=gl", folder=None, before=None, faults=None, bits=None):
        """(browser, server) on a published folder."""
        server = Server(folder or site(), faults, bits)
        self.enterContext(server)
        browser = self.enterContext(Browser(server.url + query, flags, before))
        return browser, server.http

    def ready(self, browser, rate=None):
        browser.wait("cairn.restoration?.restored")
        if rate is not None:
            browser.run("cairn.player.wanted = a[0]; await cairn.player.restart();", rate)

    def equals_decode(self, browser, video, rate, scale, between=99, most=0.02):
        """Restored frames are those of `video decode`, and as near to the original."""
        self.ready(browser, rate)
        wanted = decoded(PROGRAM, video)
        original = decoded(PROGRAM, source())
        for frame in (0, 5, 23, 24, 40, FRAMES - 1):
            shown = seek(browser, frame / RATE, 1 / RATE)
            self.assertEqual(shown["folder"], str(rate))
            luma, reference = page_luma(browser, scale), wanted.luma(frame)
            self.assertGreaterEqual(psnr(luma, reference), between, frame)
            self.assertAlmostEqual(psnr(luma, original.luma(frame)), psnr(reference, original.luma(frame)), delta=most, msg=frame)
        self.assertEqual(browser.log(), [])

    def test_h264_by_webgl_equals_decode(self):
        browser, _ = self.page()
        self.equals_decode(browser, small(), 0, 2)
        self.equals_decode(browser, large(), 1, 1)
        self.assertIn("Restored by C8M4, WebGL 2", browser.text("state"))
        self.assertEqual(browser.text("notes"), "")

    def test_h264_by_webgpu_equals_decode(self):
        browser, _ = self.page(WEBGPU, "?by=gpu")
        self.equals_decode(browser, small(), 0, 2)
        self.equals_decode(browser, large(), 1, 1)
        self.assertIn("Restored by C8M4, WebGPU", browser.text("state"))

    def test_av1_with_labels_of_patches_equals_decode(self):
        video = encode("labels.mkv", "--codec", "av1", "--preset", "10", "--mode", "x1", "--crf", "45", "--chunks", "3", "--network", "C12M1")
        cairn("publish", video, "-o", at("av1"), "--segment-seconds", "0.5", "--force")
        for flags, query in ((SOFTWARE, "?by=gl"), (WEBGPU, "?by=gpu")):
            browser, _ = self.page(flags, query, at("av1"))
            self.equals_decode(browser, video, 0, 1)

    def test_larger_scales_and_chroma_networks(self):
        for scale, network in ((3, "C8M1"), (4, "C6M2")):
            video = encode(f"x{scale}.mkv", *H264, "--mode", f"x{scale}", "--crf", "24", "--network", network, "--weight-bits", "8", "--chroma")
            cairn("publish", video, "-o", at(f"x{scale}"), "--segment-seconds", "0.5", "--force")
            browser, _ = self.page(folder=at(f"x{scale}"))
            self.equals_decode(browser, video, 0, scale, between=80)

    def test_without_webcodecs_luma_of_rgb_is_near(self):
        browser, _ = self.page(before="delete globalThis.VideoFrame")
        self.equals_decode(browser, small(), 0, 2, between=50, most=0.05)
        self.equals_decode(browser, large(), 1, 1, between=50, most=0.05)

    def test_colours_are_those_of_decode(self):
        browser, _ = self.page()
        self.ready(browser, 1)
        seek(browser, 1, 1 / RATE)
        shown = browser.run("""const r = cairn.restoration, b = r.backend, gl = b.gl, {width, height} = r.size, draw = b.draw.bind(b);
            const pixels = new Uint8Array(4 * width * height), rows = [];
            await new Promise((done) => {
              b.draw = (...given) => { draw(...given); gl.bindFramebuffer(gl.FRAMEBUFFER, null);
                gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels); done(); };
              r.now();
            });
            for (let y = height; y-- > 0;) rows.push(...pixels.subarray(4 * width * y, 4 * width * (y + 1)));
            return rows;""")
        os.makedirs(at("pictures"), exist_ok=True)
        cairn("decode", large(), "-o", at("pictures/"), "--frames", "25", "--force")
        raw = subprocess.run(["ffmpeg", "-v", "error", "-i", at("pictures/00000025.png"), "-f", "rawvideo", "-pix_fmt", "rgba", "-"], check=True,
                             capture_output=True).stdout
        self.assertGreater(psnr(bytes(shown), raw), 36)  # chroma is interpolated by other filters

    def test_played_to_the_end_with_seeks_and_rates(self):
        browser, server = self.page()
        self.ready(browser)
        # A level that was chosen: a busy machine would step down.
        browser.run("cairn.restoration.wanted = 0; cairn.player.wanted = 0; video.play();")
        browser.wait("video.currentTime > 0.4")
        # So short a clip may be there whole by now: fetched anew.
        browser.run("cairn.player.wanted = 1; await cairn.player.restart(); video.currentTime = 1.2;")
        browser.wait("video.currentTime > 1.3")
        browser.run("video.currentTime = 0.1; cairn.player.wanted = null;")
        browser.wait("video.ended", 60)
        browser.wait("cairn.restoration.restored && cairn.restoration.last?.frame > 0")
        self.assertIn("0/1.m4s", server.asked)
        self.assertTrue(any(path.startswith("1/") for path in server.asked))
        self.assertEqual((browser.text("notes"), browser.log()), ("", []))
        self.assertIn("saved", browser.text("bytes"))

    def test_a_slow_line_takes_the_small_rate_and_a_fast_one_the_large(self):
        browser, server = self.page(bits=1.2e6)
        self.ready(browser)
        browser.wait("cairn.player.pictures.shown.length >= 4", 60)
        slow = browser.run("return cairn.player.choose(0);")
        bandwidths = browser.run("return cairn.player.rates.map((r) => r.bandwidth);")
        bits = browser.run("return cairn.player.bits;")
        self.assertLess(bits, 1.4e6)
        self.assertEqual(slow, 1 if bandwidths[1] + 80e3 < 0.6 * bits else 0)
        browser.run("cairn.player.bits = a[0];", 2.2 * bandwidths[1] + 2e5)
        self.assertEqual(browser.run("return cairn.player.choose(10);"), 1)
        browser.run("cairn.player.bits = a[0];", bandwidths[0])
        self.assertEqual(browser.run("return cairn.player.choose(0);"), 0)

    def test_a_slow_gpu_gets_the_smaller_network_and_then_none(self):
        browser, _ = self.page()
        self.ready(browser, 0)
        self.assertEqual(browser.run("return cairn.player.rates[0].levels;"), ["C8M4", "linear"])
        browser.run("""const b = cairn.restoration.backend, idle = b.idle.bind(b); let calls = 0; b.idle = () => (++calls % 8 === 0) && idle();
            cairn.restoration.wait = 1e9; video.loop = true; video.play();""")
        browser.wait("cairn.restoration.level >= 1", 90)
        browser.wait("cairn.restoration.level === 2", 90)
        browser.wait("cairn.restoration.restored === false")
        self.assertIn("too slow", browser.text("state"))
        self.assertGreater(browser.run("return video.currentTime;"), 0)
        browser.run("cairn.restoration.wait = 0; delete cairn.restoration.backend.idle;")
        browser.wait("cairn.restoration.level < 2", 90)

    def test_a_missing_network(self):
        browser, _ = self.page(faults={".bin": "missing"})
        browser.wait("cairn.restoration?.backend && video.readyState >= 2")
        browser.run("video.play();")
        browser.wait("video.ended", 60)
        self.assertIn("Not restored: a network is missing (404)", browser.text("state"))
        self.assertFalse(browser.run("return cairn.restoration.restored;"))

    def test_networks_and_labels_that_are_cut_damaged_or_of_another_version(self):
        def turned(content):
            return content[:20] + bytes([content[20] ^ 1]) + content[21:]

        for name, fault, says in ((".bin", lambda c: c[:-9], "a network is damaged"), (".bin", turned, "a network is damaged"),
                                  (".bin", lambda c: c[:4] + b"\x09" + c[5:], "a network is of another version (9)"),
                                  (".cairn", lambda c: c[:4] + b"\x02" + c[5:], "1.cairn is of another version (2)"),
                                  (".cairn", lambda c: c[:10], "1.cairn is damaged"), (".cairn", "missing", "1.cairn is missing (404)")):
            with self.subTest(says):
                browser, _ = self.page(faults={name: fault})
                browser.wait("document.getElementById('state').textContent.length > 1")
                browser.run("video.play();")
                browser.wait("video.currentTime > 0.3")
                self.assertIn(says, browser.text("state"))

    def test_a_segment_that_is_missing_or_cut_comes_from_another_rate(self):
        for fault, says in (("missing", "missing (404)"), (lambda c: c[:len(c) // 2], "cut")):
            with self.subTest(says):
                browser, server = self.page(faults={"1/2.m4s": fault})
                self.ready(browser, 1)
                browser.run("video.play();")
                browser.wait("video.ended", 60)
                self.assertIn(f"1/2.m4s is {says}", browser.text("notes"))
                self.assertIn("0/2.m4s", server.asked)

    def test_a_segment_that_no_rate_has_is_passed_over(self):
        browser, _ = self.page(faults={"0/3.m4s": "missing", "1/3.m4s": "missing"})
        browser.run("video.play();")
        browser.wait("video.ended", 60)
        self.assertIn("3.m4s is missing", browser.text("notes"))

    def test_a_segment_of_nonsense_is_told(self):
        def nonsense(content):  # whole boxes, but no pictures
            return content[:len(content) // 2] + bytes(len(content) - len(content) // 2)

        browser, _ = self.page(faults={"1/2.m4s": nonsense})
        self.ready(browser, 1)
        browser.run("video.play().catch(() => {});")
        browser.wait("video.ended", 60)
        self.assertIn("1/2.m4s", browser.text("notes"))

    def test_a_context_that_is_lost_from_the_start_is_made_anew(self):
        browser, _ = self.page(before="""const get = HTMLCanvasElement.prototype.getContext;
            let made = 0;
            HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
              const context = get.call(this, kind, ...more);
              if (kind === 'webgl2' && ++made === 1) {  // and the event came before anybody listened
                this.addEventListener('webglcontextlost', (event) => event.stopImmediatePropagation());
                context.getExtension('WEBGL_lose_context').loseContext();
              }
              return context;
            };""")
        self.ready(browser)
        self.assertEqual(browser.run("return cairn.restoration.losses;"), 1)

    def test_a_lost_context_is_made_anew(self):
        browser, _ = self.page()
        self.ready(browser)
        browser.run("cairn.restoration.backend.gl.getExtension('WEBGL_lose_context').loseContext(); await new Promise((d) => setTimeout(d, 100));")
        self.assertIn("lost", browser.text("state"))
        browser.wait("cairn.restoration.restored")
        browser.run("cairn.restoration.losses = 3; cairn.restoration.backend.gl.getExtension('WEBGL_lose_context').loseContext();")
        browser.wait("!cairn.restoration.restored")
        browser.run("video.play();")
        browser.wait("video.ended", 60)
        self.assertIn("Not restored: The graphics context was lost", browser.text("state"))

    def test_a_lost_gpu_is_told(self):
        browser, _ = self.page(WEBGPU, "?by=gpu")
        self.ready(browser)
        browser.run("cairn.restoration.backend.device.destroy();")
        browser.wait("cairn.restoration.restored && cairn.restoration.losses === 1")

    def test_without_webgl_and_webgpu_the_small_video_plays(self):
        browser, _ = self.page(query="", before="delete Navigator.prototype.gpu; HTMLCanvasElement.prototype.getContext = () => null;")
        browser.wait("document.getElementById('state').textContent.includes('Not restored')")
        self.assertEqual(browser.text("state"), "Not restored: no WebGPU, no WebGL 2")
        browser.run("video.play();")
        browser.wait("video.ended", 60)

    def test_without_webgpu_webgl_restores(self):
        browser, _ = self.page(query="", before="delete Navigator.prototype.gpu;")
        self.ready(browser)
        self.assertIn("WebGL 2", browser.text("state"))

    def test_without_media_source_the_smallest_rate_is_loaded_whole(self):
        browser, _ = self.page(before="delete globalThis.MediaSource; delete globalThis.ManagedMediaSource;"
                                      "HTMLMediaElement.prototype.canPlayType = () => '';")
        browser.wait("video.readyState >= 2")
        self.assertIn("No Media Source here", browser.text("notes"))
        browser.run("video.play();")
        browser.wait("video.ended", 60)

    def test_an_index_that_is_missing_or_newer(self):
        for fault, says in (("missing", "video.json is missing (404)"), (lambda c: c.replace(b'"version":1', b'"version":7'), "of another version (7)")):
            server = Server(site(), {"video.json": fault})
            with server, Browser(server.url) as browser:
                browser.run("await new Promise((d) => setTimeout(d, 500));")
                self.assertIn(says, browser.text("state"))

    def test_subtitles_sound_and_the_line_between(self):
        browser, _ = self.page()
        self.ready(browser)
        self.assertEqual(browser.text("stage").strip(), "")
        browser.run("video.currentTime = 0.5;")
        browser.wait("document.getElementById('cues').textContent.includes('Hällo Welt')")
        self.assertEqual(browser.run("return document.querySelector('h1').textContent;"), "Ein Titel <b>")
        self.assertGreater(browser.run("return video.webkitAudioDecodedByteCount;"), 0)
        browser.run("const c = document.getElementById('compare'); c.value = 'original'; c.onchange({target: c});")
        browser.wait("cairn.compare?.player && document.getElementById('other').readyState >= 2 && Math.abs(document.getElementById('other').currentTime - video.currentTime) < 0.01")
        self.assertEqual(browser.run("return cairn.restoration.canvas.style.clipPath;"), "inset(0px 0px 0px 50%)")
        browser.run("document.getElementById('line').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}));")
        self.assertEqual(browser.run("return cairn.restoration.canvas.style.clipPath;"), "inset(0px 0px 0px 48%)")
        self.assertEqual(browser.log(), [])

    def live(self, seconds):
        """A stream that runs into a folder: (folder, process), its first three segments out."""
        folder = tempfile.mkdtemp(prefix="live ", dir=FOLDER)
        clip = at(f"stream {seconds}.mkv")
        if not os.path.exists(clip):
            subprocess.run(["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", source(), "-map", "0:v", "-map", "0:a", "-t", str(seconds),
                            "-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", "-c:a", "aac", clip], check=True)
        process = subprocess.Popen([PROGRAM, "video", "live", clip, "-o", os.path.join(folder, "site"), "--segment-seconds", "1",
                                    "--preset", "ultrafast", "--threads", "1", "-q"])
        self.addCleanup(lambda: (process.kill(), process.wait()))
        end = time.monotonic() + 60
        while not os.path.exists(os.path.join(folder, "site", "0", "3.m4s")) or not os.path.exists(os.path.join(folder, "site", "video.json")):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        return os.path.join(folder, "site"), process

    def test_a_stream_that_runs_is_followed_to_its_end(self):
        folder, process = self.live(40)
        browser, server = self.page(folder=folder)
        browser.wait("cairn.player.joined !== undefined && video.readyState >= 2")
        known, joined, at_first = browser.run("return [cairn.player.index.seconds, cairn.player.joined, video.currentTime];")
        self.assertGreater(joined, 0.9)  # three segments were out
        self.assertLess(joined, known)
        self.assertAlmostEqual(at_first, joined, delta=0.1)
        self.assertNotIn("0/1.m4s", server.asked)
        browser.run("video.play();")
        browser.wait(f"video.currentTime > {known + 0.5}", 60)
        self.assertIsNone(process.poll())
        self.assertFalse(browser.run("return document.getElementById('live').hidden || video.ended;"))
        self.assertGreater(browser.run("return video.webkitAudioDecodedByteCount;"), 0)
        # Back in what was sent before, and to the present again.
        browser.run("video.currentTime = 0.5;")
        browser.wait("!video.seeking && video.currentTime < 2 && video.readyState >= 3")
        browser.run("document.getElementById('live').click();")
        browser.wait(f"video.currentTime >= {known}")
        browser.wait("cairn.restoration.restored")
        self.assertEqual(process.wait(60), 0)
        browser.wait("video.ended", 60)
        self.assertAlmostEqual(browser.run("return video.currentTime;"), 40, delta=0.2)
        self.assertIn("The stream has ended", browser.text("notes"))
        self.assertEqual(browser.log(), [])
        asked = server.asked.count("video.json")
        time.sleep(1.5)
        self.assertEqual(server.asked.count("video.json"), asked)

    def test_a_stream_whose_sender_died_is_told(self):
        folder, process = self.live(60)
        browser, _ = self.page(folder=folder)
        browser.wait("cairn.player.joined !== undefined && video.readyState >= 2")
        browser.run("video.play();")
        process.kill()
        browser.wait("document.getElementById('notes').textContent.includes('Nothing new since')", 60)
        self.assertFalse(browser.run("return video.ended;"))

    def test_bytes_before_the_first_frame(self):
        browser, server = self.page()
        self.ready(browser)
        page = {p or "index.html" for p in server.asked if "/" not in p and not p.endswith((".json", ".vtt"))}
        first = {"index.html", "player.css", "main.js", "player.js", "stream.js", "files.js", "coder.js"}
        self.assertLessEqual(first, page)
        size = {name: os.path.getsize(os.path.join(site(), name)) for name in page}
        print(f"\npage: {sum(size[n] for n in first)} bytes before the first frame, {sum(size.values())} before the first restored one")
        self.assertLess(sum(size[n] for n in first), 30000)
        self.assertLess(sum(size.values()), 60000)


if __name__ == "__main__":
    unittest.main(argv=["page_test.py", *sys.argv[1:]], verbosity=2)
