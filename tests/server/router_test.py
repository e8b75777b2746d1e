#!/usr/bin/env python3
"""Two `cairn serve` behind `vllm-router` (PyPI, policy cache_aware): tests/server/router_test.py CAIRN MODEL VLLM_ROUTER
Shows that chats go where their beginning has been read, and that a replica that is killed is made up for.
Ends with status 0 when both are so. docs/scale.md has what it printed.
"""
import concurrent.futures
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from running_server import Server

CAIRN, MODEL, ROUTER = sys.argv[1:4]
NAMES = ["a gardener", "a pilot", "a baker", "a judge", "a diver", "a potter"]


def replica(port=0):
    server = Server(CAIRN, MODEL, "--context", "2048", "--temperature", "0", port=port)
    return server.process, server.address


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ask(url, path, body=None, timeout=60):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"} if data else {})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        text = answer.read().decode()
    return json.loads(text) if text.startswith("{") else text


def served(url):
    return int(float(re.search(r"^vllm:prompt_tokens_total\S* (\S+)", ask(url, "/metrics"), re.M)[1]))


def turn(router, messages, text):
    """One more turn of a chat; how many of its tokens were there already, and how many were not."""
    messages.append({"role": "user", "content": text})
    answer = ask(router, "/v1/chat/completions", {"messages": messages, "max_tokens": 24})
    messages.append(answer["choices"][0]["message"])
    usage = answer["usage"]
    return usage["prompt_tokens_details"]["cached_tokens"], usage["prompt_tokens"]


def together(all_, work):
    with concurrent.futures.ThreadPoolExecutor(len(all_)) as threads:
        return list(threads.map(work, all_))


def chats(router, replicas):
    all_ = [[{"role": "system", "content": f"You are {name}. " + f"Answer as {name} would, in one sentence. " * 30}] for name in NAMES]
    first = together(all_, lambda messages: turn(router, messages, "Who are you?"))
    counts = [served(url) for url in replicas]
    later = [one for text in ("What do you do?", "And tomorrow?")
             for one in together(all_, lambda messages: turn(router, messages, text))]
    cached, read = sum(one[0] for one in later), sum(one[1] for one in later)
    print(f"{len(all_)} chats: first turns of {min(one[1] for one in first)} to {max(one[1] for one in first)} tokens, "
          f"{counts[0]} and {counts[1]} tokens by each replica; later turns: {cached} of {read} tokens were there: {cached / read:.0%}")
    assert min(counts) > 0, "one replica has all of them"
    assert cached / read > 0.8, "later turns did not go where the first ones were read"
    return all_


def killed(router, replicas, all_):
    server, _ = replicas[0]
    failed, times = [], []

    def client(messages):
        for _ in range(6):
            begin = time.monotonic()
            try:
                turn(router, messages, "Go on.")
            except (urllib.error.URLError, OSError) as error:
                failed.append(repr(error))
                if messages[-1]["role"] == "user":
                    messages.pop()
            times.append(time.monotonic() - begin)

    kill = threading.Timer(1, server.kill)
    kill.start()
    together(all_, client)
    server.wait()
    print(f"a replica is killed: {len(times) - len(failed)} of {len(times)} turns were answered, the longest after {max(times):.1f} s; "
          f"failed: {sorted(set(failed)) or 'none'}")
    assert len(failed) <= len(all_), "more failed than can have been under way"
    together(all_, lambda messages: turn(router, messages, "And now?"))


def main():
    replicas = [replica(), replica()]
    urls = [url for _, url in replicas]
    port = free_port()
    log = open("/dev/null", "w")
    router = subprocess.Popen(
        [ROUTER, "--host", "127.0.0.1", "--port", str(port), "--policy", "cache_aware", "--worker-urls", *urls, "--prometheus-port",
         str(free_port()), "--health-check-interval-secs", "2", "--cb-timeout-duration-secs", "5", "--log-level", "warning"],
        stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                ask(url, "/v1/models", timeout=5)
                break
            except OSError:
                time.sleep(0.5)
        all_ = chats(url, urls)
        killed(url, replicas, all_)
        back, _ = replica(int(urls[0].rsplit(":", 1)[1]))
        replicas.append((back, urls[0]))
        begin = time.monotonic()
        while served(urls[0]) == 0 and time.monotonic() < begin + 120:
            number = int(time.monotonic())
            together(NAMES, lambda name: turn(url, [{"role": "system", "content": f"{number} is the number of {name}. " * 30}], "Hello"))
        print(f"it is started again at its place: new chats went there {time.monotonic() - begin:.0f} s later")
        assert served(urls[0]) > 0
    finally:
        router.terminate()
        for server, _ in replicas:
            server.terminate()
        router.wait(20)


main()
