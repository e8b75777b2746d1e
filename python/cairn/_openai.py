"""Answers as OpenAI's API writes them, for cairn.llama."""

from __future__ import annotations

import codecs
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ._stream import Stream
from ._types import Piece, Result, TokenLogprobs


class LogprobsWriter:
    """Tokens and how likely they were, as llama-cpp-python writes OpenAI's forms of it: the token itself is among the
    likeliest ones, and of a token what is no whole character is left out. One for an answer."""

    def __init__(self, piece: Callable[[int], bytes], chat: bool, offset: int) -> None:
        """piece: a token's bytes; offset: of the answer in the text, in characters."""
        self._piece = piece
        self._offset = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")  # as the text itself
        self.write = self._of_chat if chat else self._of_text

    def of_prompt(
        self, tokens: Sequence[int], bos: int, alone: Callable[[int], bytes], logprobs: Sequence[TokenLogprobs]
    ) -> dict[str, Any]:
        """Of a text's tokens, which stand before the answer's, without a BOS that nobody wrote: the first one has none, as
        OpenAI's API has it. alone: a token's bytes with nothing before it; logprobs: from the second token on."""
        written = tokens[1:] if tokens and tokens[0] == bos else tokens
        self._offset = 0
        if not written:
            return self._of_text([])
        first = alone(written[0])
        begin: dict[str, list[Any]] = {"tokens": [first.decode("utf-8", "ignore")], "text_offset": [0]}
        self._offset = len(self._decoder.decode(first))
        rest = self._of_text(logprobs[len(logprobs) + 1 - len(written) :])
        return {name: begin.get(name, [None]) + values for name, values in rest.items()}

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
        echoed_logprobs: Callable[[Sequence[TokenLogprobs]], dict[str, Any]] | None = None,
        logprobs: LogprobsWriter | None = None,
        tools: bool = False,
    ) -> None:
        """echoed: the prompt, where the answer begins with it; echoed_logprobs writes what is known of its tokens. tools: the
        answer comes in pieces, and may be calls."""
        self._chat = chat
        self._before = echoed
        self._before_logprobs = echoed_logprobs
        self._logprobs = logprobs
        self._tools = tools
        self._called: list[dict[str, Any]] = []  # what each chunk of a call names again, as llama-cpp-python's do
        self._head: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4()}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, result: Result) -> dict[str, Any]:
        before = self._before_logprobs and self._before_logprobs(result.prompt_logprobs or [])
        logprobs = self._logprobs and self._logprobs.write(result.logprobs or [])
        if before and logprobs:
            logprobs = {name: before[name] + logprobs[name] for name in before}
        choice: dict[str, Any] = {"index": 0, "logprobs": logprobs, "finish_reason": self._finish(result)}
        if result.message is not None:
            choice["message"] = _with_function_call(result)
        elif self._chat:
            choice["message"] = {"role": "assistant", "content": result.text}
        else:
            choice["text"] = self._before + result.text
        return {**self._head, "choices": [choice], "usage": usage(result.prompt_tokens, len(result.tokens))}

    def chunks(self, stream: Stream) -> Iterator[dict[str, Any]]:
        with stream:
            if self._chat:
                yield self._chunk({"role": "assistant"})
            elif self._before:
                yield self._chunk(self._before, self._before_logprobs and self._before_logprobs(stream.prompt_logprobs()))
            for event in stream.events():
                logprobs = self._logprobs.write([event.logprobs]) if self._logprobs and event.logprobs else None
                deltas: list[Any] = [self._delta(piece) for piece in event.pieces]
                if not deltas and (logprobs or (event.text and not self._tools)):
                    deltas = [{"content": event.text} if self._chat else event.text]
                for delta in deltas:
                    yield self._chunk(delta, logprobs)
                    logprobs = None
            finish = self._finish(stream.result())
        yield self._chunk({} if self._chat else "", finish=finish)

    def _delta(self, piece: Piece) -> dict[str, Any]:
        if piece.kind == "text":
            return {"content": piece.text}
        if piece.kind == "reasoning":
            return {"reasoning_content": piece.text}
        if piece.kind == "call":
            self._called.append({"id": piece.id, "name": piece.text})
        call = self._called[-1]
        function = {"name": call["name"], "arguments": "" if piece.kind == "call" else piece.text}
        index = len(self._called) - 1
        delta = {"content": None, "tool_calls": [{"index": index, "id": call["id"], "type": "function", "function": function}]}
        return delta if index else {**delta, "function_call": function}

    @staticmethod
    def _finish(result: Result) -> str:
        return "length" if result.finish == "length" else "tool_calls" if result.tool_calls else "stop"

    def _chunk(self, what: Any, logprobs: Any = None, finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "logprobs": logprobs, "finish_reason": finish, ("delta" if self._chat else "text"): what}
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice]}


def usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _with_function_call(result: Result) -> dict[str, Any]:
    """The message, where it has one call with OpenAI's older form of it beside."""
    message: dict[str, Any] = dict(result.message or {})
    if len(result.tool_calls) == 1:
        message["function_call"] = result.tool_calls[0]["function"]
    return message


def plain_messages(messages: Any) -> list[Any]:
    """Messages whose content is text: parts of text are joined, as templates expect it; OpenAI's older form of calls becomes the
    newer one."""
    plain = []
    for message in messages:
        content = message.get("content")
        if isinstance(content, list):
            if any(part.get("type") != "text" for part in content):
                raise NotImplementedError("messages: parts that are no text are not read")
            content = "".join(part["text"] for part in content)
        told = {**message, "content": "" if content is None else content}
        called = told.pop("function_call", None)
        if called and not told.get("tool_calls"):
            told["tool_calls"] = [{"type": "function", "function": called}]
        if told.get("role") == "function":
            told["role"] = "tool"
        plain.append(told)
    return plain
