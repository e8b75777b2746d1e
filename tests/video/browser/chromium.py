"""Chromium without a window, and a web server that can fail, for the tests of published folders."""
import functools
import http.server
import threading
import time

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

SOFTWARE = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--use-angle=swiftshader",
          "--enable-unsafe-swiftshader"]


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript", ".m4s": "video/mp4"}

    def do_GET(self):
        path = self.path.split("?")[0].lstrip("/")
        self.server.asked.append(path)
        fault = next((f for name, f in self.server.faults.items() if path.endswith(name)), None)
        if fault is None:
            return super().do_GET()
        if fault == "missing":
            return self.send_error(404)
        with open(self.translate_path(self.path), "rb") as file:
            content = fault(file.read())
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def copyfile(self, source, outputfile):
        if self.server.bits is None:
            return super().copyfile(source, outputfile)
        while piece := source.read(4096):
            time.sleep(8 * len(piece) / self.server.bits)
            outputfile.write(piece)

    def end_headers(self):
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True


class Server:
    """Serves a folder. faults: the end of a path → "missing", or what is done to its bytes. bits: a second, at most."""

    def __init__(self, folder, faults=None, bits=None):
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.http.faults, self.http.bits, self.http.asked = faults or {}, bits, []
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/"

    def __enter__(self):
        return self.http

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


class Browser:
    """A page. before: a script that runs before the page's own."""

    def __init__(self, url, flags=SOFTWARE, before=None):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for flag in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--mute-audio", "--autoplay-policy=no-user-gesture-required",
                     "--window-size=1200,900", *flags]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_script_timeout(60)
        if before:
            self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": before})
        self.driver.get(url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def run(self, script, *arguments):
        """What an async function's body returns."""
        result = self.driver.execute_async_script(
            "const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1);"
            f"(async (...a) => {{ {script} }})(...given).then((v) => done([null, v]), (e) => done([String(e.stack ?? e), null]));", *arguments)
        if result[0] is not None:
            raise RuntimeError(result[0])
        return result[1]

    def wait(self, condition, seconds=30):
        """Until an expression of the page is true; returns its value."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = self.run(f"return globalThis.cairn && ({condition});")
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"not within {seconds} s: {condition}; the page says {self.text('state')!r}, {self.text('notes')!r}, {self.log()}")

    def text(self, name):
        return self.run("return document.getElementById(a[0]).textContent;", name)

    def log(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
