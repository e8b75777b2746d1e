"""Sessions, chats and batches of a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _core
from ._stream import Stream
from ._types import Message, Options, Prompt, Result

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._model import Model


def tokens_of(model: Model, prompt: Prompt) -> list[int]:
    """A prompt's tokens; control tokens in a text are taken for what they are."""
    return model.tokenize(prompt) if isinstance(prompt, str) else list(prompt)


class Session:
    """A text with a model, which remembers what it has read: a prompt that begins as the last one is read from where it
    differs. One answer at a time (``cairn.Error`` with code "busy" otherwise)."""

    def __init__(self, model: Model, *, draft: Model | None = None) -> None:
        """draft: a small model of the same vocabulary, for ``speculation="draft"`` or "auto"; best made with
        ``share_threads=model``."""
        self.model = model
        self._core = _core.Session(model._engine)
        if draft is not None:
            self._core.set_draft(draft._engine)

    def generate(self, prompt: Prompt, **options: Unpack[Options]) -> Stream:
        """Continues a prompt, piece by piece."""
        return Stream(self._core.generate(tokens_of(self.model, prompt), dict(options)))

    def complete(self, prompt: Prompt, **options: Unpack[Options]) -> Result:
        """The whole continuation of a prompt."""
        return self.generate(prompt, **options).result()

    def chat(self, system: str = "", *, sanitize: bool = False) -> Chat:
        """A conversation over this session."""
        return Chat(self, system, sanitize=sanitize)

    def clear(self) -> None:
        """Forgets what was read."""
        self._core.clear()

    @property
    def cached_tokens(self) -> int:
        """Tokens that it has read and would not read again."""
        return self._core.cached()


class Chat:
    """A conversation whose turns share what its session has read. It needs a model with a chat template."""

    def __init__(self, session: Session, system: str = "", *, sanitize: bool = False) -> None:
        """sanitize: control tokens that the user writes stay plain text."""
        self.session = session
        self._core = _core.Chat(session._core, system, sanitize)

    def send(self, user: str | Sequence[Message], **options: Unpack[Options]) -> Stream:
        """Adds the user's turn, or messages such as the results of tools, and writes the assistant's, which is part of the
        conversation at its end. tools: the model is told of them."""
        if isinstance(user, str):
            return Stream(self._core.send(user, dict(options)))
        return Stream(self._core.send_messages(json.dumps(list(user)), dict(options)))

    def regenerate(self, **options: Unpack[Options]) -> Stream:
        """Another answer to the last turn of the user."""
        return Stream(self._core.regenerate(dict(options)))

    @property
    def messages(self) -> list[Message]:
        """The conversation so far."""
        messages: list[Message] = json.loads(self._core.save())["messages"]
        return messages

    def save(self) -> str:
        """The conversation with what the model has read, as JSON, for ``restore`` in whatever process."""
        return self._core.save()

    def restore(self, saved: str | list[Message]) -> None:
        """Takes up a conversation: what ``save`` gave, or messages."""
        self._core.restore(saved if isinstance(saved, str) else json.dumps(saved))


class Batch:
    """Many answers at a time, which share each reading of the weights (docs/scheduler.md), for any number of threads and tasks."""

    def __init__(
        self,
        model: Model,
        *,
        sequences: int = 8,
        queue: int = 256,
        kept_bytes: int = 256 << 20,
        draft: Model | None = None,
    ) -> None:
        """sequences: most answers at a time; queue: most that wait behind them, beyond which ``generate`` raises a
        ``cairn.Error`` with code "busy"; kept_bytes: of beginnings of prompts that are kept for later ones."""
        self.model = model
        self._core = _core.Batch(model._engine, sequences, queue, kept_bytes, None if draft is None else draft._engine)

    def generate(self, prompt: Prompt, *, priority: int = 0, **options: Unpack[Options]) -> Stream:
        """Continues a prompt. Those of greater priority are begun first."""
        return Stream(self._core.submit(tokens_of(self.model, prompt), priority, dict(options)))

    def complete(self, prompt: Prompt, *, priority: int = 0, **options: Unpack[Options]) -> Result:
        """The whole continuation of a prompt."""
        return self.generate(prompt, priority=priority, **options).result()

    def status(self) -> dict[str, Any]:
        """``waiting`` and ``running`` requests; ``tokens``, ``prompt_tokens`` and ``cached_tokens`` so far."""
        return self._core.status()
