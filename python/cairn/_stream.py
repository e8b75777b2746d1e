"""Answers on their way."""

from __future__ import annotations

import asyncio
import atexit
import json
import weakref
from collections.abc import AsyncIterator, Iterator

from . import _core
from ._types import Piece, Result, TokenEvent, TokenLogprobs

_open: weakref.WeakSet[Stream] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Before Python goes, what is under way is cancelled."""
    for stream in list(_open):
        stream.close()


class Stream(Iterator[str], AsyncIterator[str]):
    """An answer that is being written, by a thread of its own: iterate over it (``for`` or ``async for``) for its text, piece
    by piece, or ask for its ``result()``. An answer that nobody refers to any more, or a ``with`` block that is left, ends
    it within a token."""

    def __init__(self, core: _core.Stream) -> None:
        self._core: _core.Stream | None = core
        self._result: Result | None = None
        _open.add(self)

    def _living(self) -> _core.Stream:
        if self._core is None:
            raise ValueError("the stream is closed")
        return self._core

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> str:
        while (event := self._living().next()) is not None:
            if event[1]:
                return event[1]
        raise StopIteration

    def tokens(self) -> Iterator[tuple[int, str]]:
        """The rest of the answer as (token, text): text is empty while it may be the beginning of a stop string or an
        incomplete character; a last text that belongs to earlier tokens comes with token -1."""
        while (event := self._living().next()) is not None:
            yield event[:2]

    def events(self) -> Iterator[TokenEvent]:
        """The same with the tokens' logprobs, where they are asked for, and the pieces of an answer with tools."""
        while (event := self._living().next()) is not None:
            token, text, logprobs, pieces = event
            told = None if logprobs is None else TokenLogprobs(*logprobs)
            yield TokenEvent(token, text, told, [Piece(*piece) for piece in pieces])

    def prompt_logprobs(self) -> list[TokenLogprobs]:
        """Of the prompt's tokens from the second one on, where they are asked for; waits until it is read."""
        return [TokenLogprobs(*one) for one in self._living().prompt_logprobs()]

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> str:
        core = self._living()
        while True:
            try:
                event = core.poll()
            except StopIteration:
                raise StopAsyncIteration from None
            if event is None:
                await self._readable(core)
            elif event[1]:
                return event[1]

    @staticmethod
    async def _readable(core: _core.Stream) -> None:
        loop = asyncio.get_running_loop()
        readable = loop.create_future()

        def wake() -> None:
            core.drain()
            if not readable.done():
                readable.set_result(None)

        descriptor = core.readable()
        loop.add_reader(descriptor, wake)
        try:
            await readable
        finally:
            loop.remove_reader(descriptor)

    def result(self) -> Result:
        """The whole answer; waits for it."""
        if self._result is None:
            told = self._living().result()
            for name in ("logprobs", "prompt_logprobs"):
                if told[name] is not None:
                    told[name] = [TokenLogprobs(*one) for one in told[name]]
            if told["message"] is not None:
                told["message"] = json.loads(told["message"])
            self._result = Result(**told)
        return self._result

    async def aresult(self) -> Result:
        """The whole answer, for asyncio. What was not iterated over is passed over."""
        async for _ in self:
            pass
        return self.result()

    def cancel(self) -> None:
        """Ends it within a token; what there is stays, with ``finish`` "cancelled"."""
        if self._core is not None:
            self._core.cancel()

    def close(self) -> None:
        """Cancels it, and waits for its end where it has a thread of its own; nothing more is to be had of it but a result that was asked for before."""
        self._core = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
