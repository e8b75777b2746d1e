"""A small model of random weights, of the tree's golden ones, and what the program says of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cairn

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
LLAMA = DATA / "golden_models" / "llama.gguf"
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if tools %}tools: {{ tools | length }}\n{% endif %}{% if mood %}{{ mood }}\n{% endif %}[assistant]"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and {"program", "served"} & set(item.fixturenames):
            item.add_marker("program")


@pytest.fixture(scope="session")
def model() -> cairn.Model:
    return cairn.Model(LLAMA, threads=2, chat_template=TEMPLATE)


PROGRAM = os.environ.get("CAIRN_PROGRAM", "cairn")  # or the one that is on the PATH


@pytest.fixture(scope="session")
def program() -> Callable[..., str]:
    """The text with which `cairn run` continues a prompt."""

    def run(prompt: str, tokens: int, *flags: str) -> str:
        words = [PROGRAM, "run", str(LLAMA), "--raw", "-p", prompt, "-n", str(tokens), "--threads", "2", "--json"]
        if "--temperature" not in flags:
            words += ["--temperature", "0"]
        done = subprocess.run([*words, *flags], check=True, capture_output=True, text=True)
        text: str = json.loads(done.stdout)["text"]
        return text

    return run


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, dict[str, Any]], Any]]:
    """What `cairn serve` answers to a request."""
    template = tmp_path_factory.mktemp("served") / "template.jinja"
    template.write_text(TEMPLATE)
    words = [PROGRAM, "serve", str(LLAMA), "--port", "0", "--threads", "2", "--chat-template", str(template)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        address = next(found[0] for line in server.stderr if (found := re.search(r"http://\S+/v1", line)))

        def ask(path: str, body: dict[str, Any]) -> Any:
            request = urllib.request.Request(
                f"{address}/{path}", json.dumps({"model": "llama", **body}).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)

        yield ask
        server.terminate()
