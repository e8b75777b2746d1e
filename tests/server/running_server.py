"""A `cairn serve` on a port of its own, for tests and benchmarks by real clients."""
import contextlib
import re
import signal
import subprocess
import threading


class Server:
    """Runs as soon as it is there. What it tells later is read, so that it never waits for a reader: `told`."""

    def __init__(self, cairn, *arguments, port=0):
        self.process = subprocess.Popen([cairn, "serve", *arguments, "--port", str(port)], stderr=subprocess.PIPE, text=True)
        self.told = []
        for line in self.process.stderr:
            self.told.append(line)
            if at := re.search(r"serving (.+) at (http://\S+:(\d+))/v1", line):
                break
        else:
            self.process.wait(10)
            raise SystemExit("the server did not start: " + "".join(self.told))
        self.names, self.address, self.port = at[1].split(", "), at[2], int(at[3])
        self.name = self.names[0]
        self._reader = threading.Thread(target=lambda: self.told.extend(self.process.stderr), daemon=True)
        self._reader.start()

    def end(self, seconds=90):
        """Its exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(seconds)
        self._reader.join()
        return status


@contextlib.contextmanager
def running(cairn, *arguments):
    """For the time of a `with` block. Afterwards the server must end as it should."""
    server = Server(cairn, *arguments)
    try:
        yield server
    finally:
        status = server.end()
    assert status == 0, status


@contextlib.contextmanager
def running_server(cairn: str, model: str, *flags: str, key: str = "secret", context: int = 512):
    """The model's name and the address that ends in /v1, as clients want them."""
    with running(cairn, model, "--api-key", key, "--context", str(context), *flags) as server:
        yield server.name, server.address + "/v1"
