"""A `cairn serve` on a free port for the time of a `with` block, for tests by real clients."""
import contextlib
import re
import signal
import subprocess


@contextlib.contextmanager
def running_server(cairn: str, model: str, *flags: str, key: str = "secret", context: int = 512):
    """Gives the model's name and the address that ends in /v1. Afterwards the server must end as it should."""
    command = [cairn, "serve", model, "--port", "0", "--api-key", key, "--context", str(context), *flags]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        told = ""
        for line in server.stderr:
            told += line
            if at := re.search(r"serving (\S+) at (\S+)", line):
                yield at[1], at[2]
                break
        else:
            raise SystemExit(f"the server did not start: {told}")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)
    assert server.returncode == 0, server.returncode
