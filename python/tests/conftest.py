"""A small model of random weights, of the tree's golden ones, and what the program says of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import cairn

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
LLAMA = DATA / "golden_models" / "llama.gguf"
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    "{% if tools %}tools: {{ tools | length }}\n{% endif %}{% if mood %}{{ mood }}\n{% endif %}[assistant]"
)


@pytest.fixture(scope="session")
def model() -> cairn.Model:
    return cairn.Model(LLAMA, threads=2, chat_template=TEMPLATE)


@pytest.fixture(scope="session")
def program() -> Callable[..., str]:
    """The text with which `cairn run` continues a prompt; CAIRN_PROGRAM, or the `cairn` that is on the PATH."""
    path = os.environ.get("CAIRN_PROGRAM", "cairn")

    def run(prompt: str, tokens: int, *flags: str) -> str:
        words = [path, "run", str(LLAMA), "--raw", "-p", prompt, "-n", str(tokens), "--threads", "2", "--json"]
        if "--temperature" not in flags:
            words += ["--temperature", "0"]
        done = subprocess.run([*words, *flags], check=True, capture_output=True, text=True)
        text: str = json.loads(done.stdout)["text"]
        return text

    return run
