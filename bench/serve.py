#!/usr/bin/env python3
"""What `cairn serve` reaches beside `cairn bench`, and beside other servers on the same file.

    bench/serve.py CAIRN MODEL [--rounds 3] [--only one,first,clients,waiting,turn] [--peer NAME=COMMAND ...]

COMMAND starts a server of OpenAI's API: {model}, {port} and {clients} are put in. For example
    --peer "llama-server=llama-server -m {model} --port {port} -np {clients} -c 8192 -t 2"
    --peer "llama-cpp-python:1=python3 -m llama_cpp.server --model {model} --port {port} --n_ctx 4096 --n_threads 2 --interrupt_requests false"
A name's :1 has its clients ask one after the other: llama-cpp-python's server (0.3.36) ends when several stream at once.
Prints a line for each figure, and as the last line JSON. Needs a machine with nothing else on it.
"""
import argparse
import asyncio
import contextlib
import json
import pathlib
import re
import shlex
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/server"))
from running_server import running  # noqa: E402


class Stream:
    """A request whose answer is read as it comes: times of its tokens, and what usage says."""

    def __init__(self, port, path, body):
        self.port, self.path, self.body = port, path, body
        self.times, self.usage, self.text, self.begun = [], None, "", None

    async def connect(self):
        self.begun = time.perf_counter()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        body = json.dumps(self.body).encode()
        self.writer.write(f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                          f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await self.writer.drain()
        return self

    async def read(self):
        status = await self.reader.readline()
        if b" 200 " not in status:
            raise SystemExit(f"{self.path}: {status!r} {await self.reader.read(2000)!r}")
        async for line in self.reader:
            if not line.startswith(b"data: "):
                continue
            if line.startswith(b"data: [DONE]"):
                break
            event = json.loads(line[6:])
            self.usage = event.get("usage") or self.usage
            for choice in event.get("choices", []):
                piece = choice.get("text") or (choice.get("delta") or {}).get("content")
                if piece:
                    self.times.append(time.perf_counter())
                    self.text += piece
        self.writer.close()
        return self

    async def run(self):
        return await (await self.connect()).read()


def completion(prompt, tokens, **more):
    return {"model": more.pop("model"), "prompt": prompt, "max_tokens": tokens, "temperature": 0, "stream": True, **more}


def get(port, path):
    with socket.create_connection(("127.0.0.1", port), 30) as link:
        link.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while more := link.recv(1 << 16):
            answer += more
    return answer.partition(b"\r\n\r\n")[2].decode(errors="replace")


@contextlib.contextmanager
def cairn(options, *flags):
    with running(options.cairn, options.model, "--context", "4096", *flags) as server:
        yield server.process, server.port, server.name


@contextlib.contextmanager
def peer(command, options):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [word.format(model=options.model, port=port, clients=options.clients) for word in shlex.split(command)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(240):
            time.sleep(0.5)
            with contextlib.suppress(OSError, ValueError, KeyError):
                name = json.loads(get(port, "/v1/models"))["data"][0]["id"]
                break
        else:
            raise SystemExit(f"{command}: does not answer")
        time.sleep(1)
        yield port, name
    finally:
        server.terminate()
        server.wait(60)


def streamed(port, body):
    """Tokens a second of a stream whose client does nothing but receive until it is over: reading JSON for each token takes
    the server's processors 0.25 ms, some per cent of a small model's."""
    body = json.dumps(body).encode()
    pieces = []
    with socket.create_connection(("127.0.0.1", port), 60) as link:
        link.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        while more := link.recv(1 << 16):
            pieces.append((time.perf_counter(), more))
    times, rest = [], b""
    for when, piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                times += [when for choice in json.loads(line[6:]).get("choices", []) if choice.get("text")]
    return (len(times) - 1) / (times[-1] - times[0])


def one(options):
    """One client streaming against `cairn bench`, in turns."""
    served, benched = [], []
    with cairn(options, "--ignore-end") as (_, port, model):
        for turn in range(options.rounds + 1):
            prompt = f"{turn}: " + "word " * 28
            rate = streamed(port, completion(prompt, 64, model=model))
            if turn == 0:
                continue  # the file comes into memory
            served.append(rate)
            told = subprocess.run([options.cairn, "bench", options.model, "--prompt", "32", "--generate", "64", "--repeat", "1",
                                   "--json"], check=True, capture_output=True, text=True).stdout
            benched.append(json.loads(told)["decode_tok_s"])
    ratio = statistics.median(one / other for one, other in zip(served, benched))
    served, benched = statistics.median(served), statistics.median(benched)
    print(f"one client: {served:.1f} tok/s streamed, {benched:.1f} by bench; {ratio:.3f}x, the median of the turns' ratios")
    return {"one_tok_s": served, "bench_tok_s": benched, "one_ratio": ratio}


def first(options):
    """First token as its client sees it, connecting included, less what the scheduler took."""
    added = []
    with cairn(options) as (_, port, model):
        for turn in range(4 * options.rounds + 1):
            before = float(re.search(r"^cairn_first_token_seconds_sum\S* (\S+)", get(port, "/metrics"), re.M)[1]) if turn else 0
            stream = asyncio.run(Stream(port, "/v1/completions", completion(f"{turn} and", 2, model=model)).run())
            time.sleep(0.05)
            took = float(re.search(r"^cairn_first_token_seconds_sum\S* (\S+)", get(port, "/metrics"), re.M)[1]) - before
            if turn:
                added.append(1000 * (stream.times[0] - stream.begun - took))
    print(f"first token: {statistics.median(added):.2f} ms added by HTTP (least {min(added):.2f}, most {max(added):.2f})")
    return {"first_added_ms": statistics.median(added)}


PROMPTS = [f"Chapter {n}. {text}" for n, text in enumerate(
    ["The old lighthouse keeper wrote in his diary every evening, and on this one", "In the beginning of the nineteenth century",
     "A compiler reads a program and", "The recipe for bread is simple: first", "My grandmother's garden had",
     "The history of the steam engine begins with", "When the ship came into the harbour", "Of all the planets"] * 8, 1)]


async def together(port, model, clients, tokens, at_once=None):
    gate = asyncio.Semaphore(at_once or clients)

    async def run(one):
        async with gate:
            await one.run()

    streams = [Stream(port, "/v1/completions", completion(PROMPTS[i], tokens, model=model)) for i in range(clients)]
    begin = time.perf_counter()
    await asyncio.gather(*(run(one) for one in streams))
    return sum(len(one.times) for one in streams), time.perf_counter() - begin


def clients(options):
    """Clients that stream at the same time, of all servers in turn; prompts are read meanwhile."""
    rates = {}
    for turn in range(options.rounds):
        for name, command in [("cairn", None), *options.peer]:
            with cairn(options) if command is None else peer(command, options) as place:
                port, model = place[-2:]
                asyncio.run(together(port, model, 1, 2))
                at_once = int(name.partition(":")[2] or options.clients)
                tokens, seconds = asyncio.run(together(port, model, options.clients, options.tokens, at_once))
            rates.setdefault(name, []).append(tokens / seconds)
    rates = {name: statistics.median(all_) for name, all_ in rates.items()}
    for name, rate in rates.items():
        print(f"{options.clients} clients, {options.tokens} tokens each: {name} {rate:.1f} tok/s in all"
              + ("" if name == "cairn" else f"; cairn is {rates['cairn'] / rate:.2f}x that"))
    return {"clients_tok_s": rates}


def status_of(server):
    text = open(f"/proc/{server.pid}/status").read()
    return int(re.search(r"Threads:\s+(\d+)", text)[1]), 1024 * int(re.search(r"RssAnon:\s+(\d+)", text)[1])  # files come and go


def waiting(options):
    """Streams that wait behind those that are answered: threads and memory of each; /health beside them."""
    async def measure(server, port, model):
        def ask(text, tokens):
            return Stream(port, "/v1/completions", completion(text, tokens, model=model, ignore_eos=True))
        busy = [asyncio.create_task(ask(PROMPTS[i], 4000).run()) for i in range(8)]
        await asyncio.sleep(3)
        before = status_of(server)
        waits = [await ask(f"{i} waits", 1).connect() for i in range(options.waiting)]
        await asyncio.sleep(1)
        after = status_of(server)
        health = []
        for _ in range(50):
            begin = time.perf_counter()
            await asyncio.to_thread(get, port, "/health")
            health.append(1000 * (time.perf_counter() - begin))
            await asyncio.sleep(0.02)
        waiting_now = float(re.search(r"^cairn_requests_waiting\S* (\S+)", get(port, "/metrics"), re.M)[1])
        for task in busy:
            task.cancel()
        for one in waits:
            one.writer.close()
        return before, after, health, waiting_now

    with cairn(options, "--queue", "1024") as (server, port, model):
        before, after, health, waiting_now = asyncio.run(measure(server, port, model))
    each = (after[1] - before[1]) / options.waiting
    print(f"{waiting_now:.0f} streams wait: {after[0] - before[0]} threads more, {each / 1024:.0f} KiB each (the answers' own growth"
          f" in that second among it); /health {statistics.median(health):.2f} ms, most {max(health):.2f}")
    return {"waiting_threads": after[0] - before[0], "waiting_bytes": each, "health_ms": statistics.median(health),
            "health_most_ms": max(health)}


def turn(options):
    """A second turn reads what is new."""
    with cairn(options) as (_, port, model):
        words = json.loads(post(port, "/tokenize", {"prompt": "word " * 2900}))["count"]
        messages = [{"role": "user", "content": "word " * 2900}]
        body = {"model": model, "messages": messages, "max_tokens": 32, "temperature": 0, "stream": True, "ignore_eos": True,
                "stream_options": {"include_usage": True}}
        stream = asyncio.run(Stream(port, "/v1/chat/completions", body).run())
        messages += [{"role": "assistant", "content": stream.text}, {"role": "user", "content": "And now?"}]
        begin = time.perf_counter()
        second = asyncio.run(Stream(port, "/v1/chat/completions", body).run())
        seconds = second.times[0] - begin
    read = second.usage["prompt_tokens"] - second.usage["prompt_tokens_details"]["cached_tokens"]
    new = second.usage["prompt_tokens"] - stream.usage["prompt_tokens"]
    print(f"second turn of a chat of {words} tokens: {new} are new, {read} were read, first token after {seconds:.2f} s "
          f"(first turn: {stream.times[0] - stream.begun:.2f} s)")
    return {"turn_new": new, "turn_read": read, "turn_first_s": seconds}


def post(port, path, body):
    text = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", port), 30) as link:
        link.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(text)}\r\n\r\n".encode()
                     + text)
        answer = b""
        while more := link.recv(1 << 16):
            answer += more
    return answer.partition(b"\r\n\r\n")[2].decode()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cairn")
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--waiting", type=int, default=200)
    parser.add_argument("--only", default="one,first,clients,waiting,turn")
    parser.add_argument("--peer", action="append", default=[], type=lambda text: tuple(text.split("=", 1)))
    options = parser.parse_args()
    figures = {}
    for name in options.only.split(","):
        figures |= {"one": one, "first": first, "clients": clients, "waiting": waiting, "turn": turn}[name](options)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
