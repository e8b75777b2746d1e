#!/usr/bin/env python3
"""Random clients, good and bad, against `cairn serve`: tests/server/soak.py CAIRN MODEL [MODEL] [--minutes 15] [--seed 1]
With a second model only one is loaded at a time, so that they take turns.

Checks all the while that whole answers are, to the letter, what the same requests got alone at temperature 0, that bad
requests get their refusals and /health answers; at the end that nothing is left running, that memory beside pages has not
grown, that the server ends with status 0. Ends with status 1 and a line for each thing that was otherwise.
Needs nothing but Python.
"""
import argparse
import collections
import json
import os
import random
import re
import socket
import ssl
import struct
import threading
import time

from running_server import Server

KEY = "Authorization: Bearer secret\r\n"
LEAK = 32 << 20      # bytes beyond what was held after a fifth of the time: more is one
PROMPTS = ["Count from one to ten.", "Why is the sky blue?", "Write a haiku about stones.", "def reverse(text):", "Once upon a time",
           "The capital of France is", "List three rivers and where they end.", "x" * 700, "ä ö ü 🙂 " * 20, "1 2 3 4 5 6 7 8 9 10 " * 40]

wrong, counts, lock = [], collections.Counter(), threading.Lock()
stops, mine = [0], threading.local()


def watch_clock():
    """Counts the times that everything stood still for long (a machine that sleeps, SIGSTOP): what was under way then may have
    met a deadline, and says nothing."""
    while True:
        begin = time.monotonic()
        time.sleep(0.2)
        stops[0] += time.monotonic() - begin > 4


def note(what):
    with lock:
        if getattr(mine, "stops", stops[0]) != stops[0]:
            counts["passed over: all stood still"] += 1
            return
        wrong.append(what)
        print("WRONG:", what, flush=True)


class Link:
    """A connection that may be treated badly."""

    def __init__(self, port, receive=None):
        self.socket = socket.socket()
        if receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(400)
        self.socket.connect(("127.0.0.1", port))
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def post(self, path, body, headers=KEY):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.socket.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def get(self, path, headers=KEY, method="GET"):
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())

    def line(self):
        while b"\r\n" not in self.rest:
            more = self.socket.recv(1 << 16)
            if not more:
                return b""
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\r\n")
        return line

    def take(self, count):
        while len(self.rest) < count and (more := self.socket.recv(1 << 16)):
            self.rest += more
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def answer(self):
        """Status and body; 0 if the connection was closed instead."""
        status = self.line()
        if not status:
            return 0, b""
        headers = {}
        while line := self.line():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        body = b""
        if "transfer-encoding" in headers:
            while (size := int(self.line() or b"0", 16)):
                body += self.take(size)
                self.line()
            self.line()
        else:
            body = self.take(int(headers.get("content-length", 0)))
        return int(status.split()[1]), body


class Soak:
    def __init__(self, port, models):
        self.port, self.models, self.expected = port, models, {}

    def body(self, rng, stream=False, **more):
        prompt = rng.choice(PROMPTS)
        chat = rng.random() < 0.5
        body = {"model": rng.choice(self.models), "temperature": 0, "max_tokens": rng.choice([1, 8, 24]), "stream": stream, **more}
        body |= {"messages": [{"role": "user", "content": prompt}]} if chat else {"prompt": prompt}
        return "/v1/chat/completions" if chat else "/v1/completions", body

    @staticmethod
    def name(path, body):
        return json.dumps([path, {name: value for name, value in body.items() if name != "stream"}], sort_keys=True)

    @staticmethod
    def text(choice):
        return choice["text"] if "text" in choice else (choice.get("message") or choice["delta"]).get("content", "")

    def learn(self):
        rng = random.Random(0)
        for _ in range(len(PROMPTS) * 30):
            path, body = self.body(rng)
            if self.name(path, body) in self.expected:
                continue
            with Link(self.port) as link:
                link.post(path, body)
                status, answer = link.answer()
            assert status == 200, (status, answer)
            self.expected[self.name(path, body)] = self.text(json.loads(answer)["choices"][0])

    def check(self, path, body, text):
        expected = self.expected.get(self.name(path, body))
        if expected is not None and text != expected:
            note(f"{self.name(path, body)} got {text!r}, alone it was {expected!r}")
        counts["answers compared"] += expected is not None

    def refused(self, what, link, statuses):
        try:
            status, body = link.answer()
        except (ConnectionError, TimeoutError) as error:
            return note(f"{what}: {error!r}") if isinstance(error, TimeoutError) else None
        if status not in statuses:
            note(f"{what}: {status} {body[:200]!r}")

    # What clients do. Each opens what it needs, and counts by its name.
    def whole(self, rng):
        path, body = self.body(rng)
        with Link(self.port) as link:
            for _ in range(rng.randint(1, 3)):  # on one connection
                link.post(path, body)
                status, answer = link.answer()
                if status == 200:
                    self.check(path, body, self.text(json.loads(answer)["choices"][0]))
                elif status != 429:
                    note(f"whole: {status} {answer[:200]!r}")

    def streamed(self, rng):
        path, body = self.body(rng, stream=True)
        with Link(self.port) as link:
            link.post(path, body)
            status, answer = link.answer()
        if status == 429:
            return
        events = [line[6:] for line in answer.decode().split("\n") if line.startswith("data: ")]
        if status != 200 or events[-1:] != ["[DONE]"]:
            return note(f"streamed: {status} {answer[-300:]!r}")
        self.check(path, body, "".join(self.text(json.loads(event)["choices"][0]) or "" for event in events[:-1]))

    def cut_stream(self, rng):
        path, body = self.body(rng, stream=True, ignore_eos=True)
        body["max_tokens"] = 400
        link = Link(self.port)
        link.post(path, body)
        for _ in range(rng.randint(0, 20)):
            if not link.line():
                break
        rng.choice([link.reset, link.socket.close, lambda: link.socket.shutdown(socket.SHUT_WR)])()
        link.socket.close()

    def cut_whole(self, rng):
        path, body = self.body(rng, ignore_eos=True)
        body |= {"max_tokens": 400, "n": rng.randint(1, 4)}
        with Link(self.port) as link:
            link.post(path, body)
            time.sleep(rng.random())

    def cut_body(self, rng):
        with Link(self.port) as link:
            link.socket.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n{KEY}Content-Length: 5000\r\n\r\n{{".encode())
            time.sleep(rng.random() / 2)

    def cut_head(self, rng):
        with Link(self.port) as link:
            link.socket.sendall(b"POST /v1/comple"[:rng.randint(0, 15)])

    def slow_reader(self, rng):
        path, body = self.body(rng, stream=True, ignore_eos=True)
        body["max_tokens"] = 200
        with Link(self.port, receive=2048) as link:
            link.post(path, body)
            for _ in range(rng.randint(1, 8)):
                link.socket.recv(64)
                time.sleep(rng.random())

    def nonsense(self, rng):
        with Link(self.port) as link:
            try:
                for _ in range(160):
                    link.socket.sendall(rng.randbytes(1 << 16))
            except ConnectionError:
                pass  # it need not listen to all of it

    def nonsense_body(self, rng):
        with Link(self.port) as link:
            link.post("/v1/chat/completions", rng.randbytes(10 << 20))
            self.refused("10 MB of nonsense", link, (400,))

    def wrong_key(self, rng):
        path, body = self.body(rng)
        with Link(self.port) as link:
            link.post(path, body, rng.choice(["", "Authorization: Bearer secre\r\n", "X-Api-Key: \r\n", "Authorization: secret2\r\n"]))
            self.refused("a wrong key", link, (401,))

    def smuggled(self, rng):
        with Link(self.port) as link:
            headers = ["Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                       "Content-Length: 4\r\nContent-Length: 5\r\n", "Content-Length: -4\r\n", "Content-Length: 4x\r\n"]
            link.socket.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n{KEY}{rng.choice(headers)}\r\n"
                                "0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            self.refused("smuggling", link, (400,))
            try:
                if link.answer()[0]:
                    note("smuggling: the second request was answered")
            except ConnectionError:
                pass

    def endless_body(self, rng):
        with Link(self.port) as link:
            link.socket.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n{KEY}Transfer-Encoding: chunked\r\n\r\n".encode())
            piece = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
            try:
                for _ in range(40):
                    link.socket.sendall(piece)
            except ConnectionError:
                return
            self.refused("a body without an end", link, (413,))

    def tls(self, rng):
        with Link(self.port) as link:
            context = ssl.create_default_context()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            try:
                context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
            except ssl.SSLWantReadError:
                pass
            link.socket.sendall(outgoing.read())
            status, body = link.answer()
            if status != 400 or b"TLS" not in body:
                note(f"TLS: {status} {body[:200]!r}")

    def bad_requests(self, rng):
        with Link(self.port) as link:
            for path, body, status in (("/v1/completions", {"prompt": "x", "temperature": "hot"}, 400), ("/nothing", {}, 404),
                                       ("/v1/completions", b"[" * 100_000, 400), ("/v1/chat/completions", {"model": "none"}, 404),
                                       ("/tokenize", {"model": self.models[0], "prompt": "x"}, 200)):
                link.post(path, {"model": self.models[0], **body} if isinstance(body, dict) and "model" not in body else body)
                self.refused(path, link, (status,))

    def long_headers(self, rng):
        with Link(self.port) as link:
            try:
                link.get("/v1/models", KEY + f"X-Long: {'x' * (1 << 20)}\r\n")
            except ConnectionError:
                return
            self.refused("headers of 1 MB", link, (431,))

    def waits(self, rng):
        with Link(self.port):
            time.sleep(rng.random() * 3)

    def looks(self, rng):
        begin = time.monotonic()
        with Link(self.port) as link:
            link.get("/health", "")
            status, _ = link.answer()
            if status != 200 or time.monotonic() - begin > 5:
                note(f"/health: {status} after {time.monotonic() - begin:.1f} s")
            for path in ("/metrics", "/v1/models", "/memory", "/"):
                link.get(path)
                self.refused(path, link, (200,))


def resident(pid):
    return 1024 * int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read())[1])


def without_pages(pid, soak):
    with Link(soak.port) as link:
        link.get("/memory")
        told = json.loads(link.answer()[1])
    held = sum(model.get("kv_bytes", 0) + model.get("spare_bytes", 0) + (model["stack"] or {}).get("bytes", 0) for model in told["models"])
    return resident(pid) - held


def idle(soak):
    """Waits until nothing runs, at most a minute."""
    for _ in range(120):
        with Link(soak.port) as link:
            link.get("/metrics")
            text = link.answer()[1].decode()
        left = re.findall(r"^cairn_requests_(?:running|waiting)\S* ([1-9]\d*)$", text, re.M)
        if not left:
            return
        time.sleep(0.5)
    note(f"requests are left: {left}")


def client(soak, seed, until):
    rng = random.Random(seed)
    actions = [soak.whole, soak.streamed] * 4 + [soak.cut_stream, soak.cut_whole, soak.cut_body, soak.cut_head, soak.slow_reader,
                                                 soak.wrong_key, soak.smuggled, soak.tls, soak.bad_requests, soak.waits, soak.looks]
    rare = [soak.nonsense, soak.nonsense_body, soak.endless_body, soak.long_headers]
    while time.monotonic() < until:
        action = rng.choice(rare if rng.random() < 0.02 else actions)
        mine.stops = stops[0]
        try:
            action(rng)
        except ConnectionError as error:
            counts[f"{action.__name__}: {type(error).__name__}"] += 1
        except Exception as error:  # whatever it is, it is not what a client should see
            note(f"{action.__name__}: {error!r}")
        counts[action.__name__] += 1


def run(options, server, port, models):
    soak = Soak(port, models)
    threading.Thread(target=watch_clock, daemon=True).start()
    soak.learn()
    end = time.monotonic() + 60 * options.minutes
    threads = [threading.Thread(target=client, args=(soak, options.seed * 1000 + i, end)) for i in range(options.clients)]
    for thread in threads:
        thread.start()
    time.sleep(12 * options.minutes)
    before = without_pages(server.pid, soak)
    tasks = len(os.listdir(f"/proc/{server.pid}/task"))
    for thread in threads:
        thread.join()
    idle(soak)
    after = without_pages(server.pid, soak)
    print(f"memory beside pages and planes: {before >> 20} MiB after a fifth of the time, {after >> 20} at the end; threads: {tasks}, "
          f"{len(os.listdir(f'/proc/{server.pid}/task'))}; open files: {len(os.listdir(f'/proc/{server.pid}/fd'))}")
    if after > before + LEAK:
        note(f"{(after - before) >> 20} MiB more than after a fifth of the time")
    soak.learn_again = dict(soak.expected)
    soak.expected.clear()
    soak.learn()
    if soak.expected != soak.learn_again:
        note("answers are others than at the beginning")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    flags = ["--models-max", "1"] if len(options.models) > 1 else []
    server = Server(options.cairn, *options.models, "--api-key", "secret", "--context", "1024", *flags)
    try:
        run(options, server.process, server.port, server.names)
    finally:
        if (status := server.end()) != 0:
            note(f"the server ended with {status}")
    print("".join(server.told[-20:]), end="")
    print(json.dumps({"minutes": options.minutes, "wrong": len(wrong), **counts}))
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
