"""Answers as OpenAI's API writes them, for cairn.llama."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

from ._stream import Stream
from ._types import Result


class Writer:
    """One answer's dicts: of a text, or of a chat's turn."""

    def __init__(self, model: str, chat: bool, prompt_text: str = "") -> None:
        """prompt_text: what an echoed prompt puts before the text."""
        self._chat = chat
        self._before = prompt_text
        self._head: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4()}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, result: Result) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "logprobs": None, "finish_reason": _finish(result)}
        if self._chat:
            choice["message"] = {"role": "assistant", "content": result.text}
        else:
            choice["text"] = self._before + result.text
        return {**self._head, "choices": [choice], "usage": usage(result.prompt_tokens, len(result.tokens))}

    def chunks(self, stream: Stream) -> Iterator[dict[str, Any]]:
        if self._chat:
            yield self._chunk({"role": "assistant"})
        elif self._before:
            yield self._chunk(self._before)
        with stream:
            for text in stream:
                yield self._chunk({"content": text} if self._chat else text)
            finish = _finish(stream.result())
        yield self._chunk({} if self._chat else "", finish)

    def _chunk(self, what: Any, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "logprobs": None, "finish_reason": finish, ("delta" if self._chat else "text"): what}
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice]}


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _finish(result: Result) -> str:
    return "length" if result.finish == "length" else "stop"


def plain_messages(messages: Any) -> list[Any]:
    """Messages whose content is text: parts of text are joined, as templates expect it."""
    plain = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            if any(part.get("type") != "text" for part in content):
                raise NotImplementedError("messages: parts that are no text are not read")
            content = "".join(part["text"] for part in content)
        plain.append({**message, "content": "" if content is None else content})
    return plain
