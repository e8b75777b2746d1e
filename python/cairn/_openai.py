"""Answers as OpenAI's API writes them, for cairn.llama."""

from __future__ import annotations

import codecs
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ._stream import Stream
from ._types import Result, TokenLogprobs


class LogprobsWriter:
    """Tokens and how likely they were, as llama-cpp-python writes OpenAI's forms of it: the token itself is among the
    likeliest ones, and of a token what is no whole character is left out. One for an answer."""

    def __init__(self, piece: Callable[[int], bytes], chat: bool, offset: int) -> None:
        """piece: a token's bytes; offset: of the answer in the text, in characters."""
        self._piece = piece
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # as the text itself
        self.write = self._of_chat if chat else self._of_text

    def _name(self, token: int) -> str:
        return self._piece(token).decode("utf-8", "ignore")

    @staticmethod
    def _likeliest(one: TokenLogprobs) -> dict[int, float]:
        return {**dict(one.top), one.token: one.logprob}

    def _of_text(self, tokens: Iterable[TokenLogprobs]) -> dict[str, Any]:
        told: dict[str, Any] = {"tokens": [], "text_offset": [], "token_logprobs": [], "top_logprobs": []}
        for one in tokens:
            told["tokens"].append(self._name(one.token))
            told["text_offset"].append(self._offset + bool(self._decoder.getstate()[0]))  # a character counts where it begins
            told["token_logprobs"].append(one.logprob)
            told["top_logprobs"].append({self._name(token): value for token, value in self._likeliest(one).items()})
            self._offset += len(self._decoder.decode(self._piece(one.token)))
        return told

    def _of_chat(self, tokens: Iterable[TokenLogprobs]) -> dict[str, Any]:
        content = [
            {
                **self._described(one.token, one.logprob),
                "top_logprobs": [self._described(token, value) for token, value in self._likeliest(one).items()],
            }
            for one in tokens
        ]
        return {"content": content, "refusal": None}

    def _described(self, token: int, logprob: float) -> dict[str, Any]:
        return {"token": self._name(token), "logprob": logprob, "bytes": list(self._piece(token))}


class Writer:
    """One answer's dicts: of a text, or of a chat's turn."""

    def __init__(
        self,
        model: str,
        chat: bool,
        *,
        echoed: str = "",
        logprobs: LogprobsWriter | None = None,
        function: str | None = None,
    ) -> None:
        """echoed: the prompt, where the answer begins with it. function: of a chat, which the answer calls: its text are the
        arguments."""
        self._chat = chat
        self._before = echoed
        self._logprobs = logprobs
        self._function = function
        self._head: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4()}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, result: Result) -> dict[str, Any]:
        logprobs = self._logprobs and self._logprobs.write(result.logprobs or [])
        choice: dict[str, Any] = {"index": 0, "logprobs": logprobs, "finish_reason": self._finish(result)}
        if self._function is not None:
            choice["message"] = {"role": "assistant", **self._call(result.text)}
        elif self._chat:
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
            for event in stream.events():
                logprobs = self._logprobs.write([event.logprobs]) if self._logprobs and event.logprobs else None
                if event.text or logprobs:
                    yield self._chunk(self._piece(event.text), logprobs)
            finish = self._finish(stream.result())
        yield self._chunk({} if self._chat else "", finish=finish)

    def _piece(self, text: str) -> Any:
        if self._function is None:
            return {"content": text} if self._chat else text
        call = self._call(text)
        call["tool_calls"][0]["index"] = 0
        return call

    def _call(self, arguments: str) -> dict[str, Any]:
        function = {"name": self._function, "arguments": arguments}
        identity = f"call__0_{self._function}_{self._head['id']}"
        return {
            "content": None,
            "function_call": function,
            "tool_calls": [{"id": identity, "type": "function", "function": function}],
        }

    def _finish(self, result: Result) -> str:
        return "length" if result.finish == "length" else "stop" if self._function is None else "tool_calls"

    def _chunk(self, what: Any, logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "logprobs": logprobs, "finish_reason": finish, ("delta" if self._chat else "text"): what}
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice]}


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


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
