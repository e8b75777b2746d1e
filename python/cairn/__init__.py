"""cairn: language models, and restored video, on the processor at hand.

>>> import cairn
>>> model = cairn.Model("smollm2-135m")
>>> for text in model.chat("Why is the sky blue?", max_tokens=64):
...     print(text, end="", flush=True)

A text that goes on is a ``Session``, a conversation a ``Chat``, many at a time a ``Batch``; ``cairn.llama`` has the calls that
programs for llama-cpp-python make most. docs/python.md tells more.
"""

from __future__ import annotations

import json as _json
from typing import Any as _Any

from . import _core
from ._core import Error
from ._model import Model
from ._session import Batch, Chat, Session
from ._stream import Stream
from ._types import (
    Memory,
    Message,
    ModelInfo,
    Options,
    Piece,
    Pooling,
    Prompt,
    Result,
    StackInfo,
    TokenEvent,
    TokenLogprobs,
)
from ._video import Frame, Restorer, RestorerInfo, Video, VideoInfo

__version__ = _core.version()
__all__ = [
    "Batch",
    "Chat",
    "Error",
    "Frame",
    "Memory",
    "Message",
    "Model",
    "ModelInfo",
    "Options",
    "Piece",
    "Pooling",
    "Prompt",
    "Restorer",
    "RestorerInfo",
    "Result",
    "Session",
    "StackInfo",
    "Stream",
    "TokenEvent",
    "TokenLogprobs",
    "Video",
    "VideoInfo",
    "devices",
    "set_log_level",
]


def devices() -> list[dict[str, _Any]]:
    """What models can run on here: the processor, its threads, memory and instruction sets; GPUs behind it."""
    told: list[dict[str, _Any]] = _json.loads(_core.devices())["devices"]
    return told


def set_log_level(level: str) -> None:
    """What cairn says itself on standard error: "error", "warning" (at first), "info" or "debug"."""
    levels = ("error", "warning", "info", "debug")
    if level not in levels:
        raise ValueError(f"level: {level!r} is none of {', '.join(levels)}")
    _core.set_log_level(levels.index(level))
