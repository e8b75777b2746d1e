"""Videos that ``cairn video encode`` made, restored frame by frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from . import _core


@dataclass(frozen=True)
class VideoInfo:
    """What a video is."""

    width: int  #: of restored frames
    height: int
    small_width: int  #: of the video that was sent
    small_height: int
    bits: int  #: of a sample: 8 or 10
    chroma: Literal["none", "420", "422", "444"]
    restored: bool  #: by networks; otherwise frames come as they were decoded
    frames: int  #: as the file says; 0: it does not
    seconds_per_tick: float
    frame_rate: float


@dataclass(frozen=True)
class Frame:
    """planes: Y, U and V (Y alone where there is no colour), each [height][width] of 16 bits: ``numpy.asarray(plane)``."""

    planes: tuple[memoryview, ...]
    pts: int  #: in ticks
    duration: int  #: 0: not known


class Video(Iterator[Frame]):
    """A video's frames, restored, in the order in which they are shown, upright. Needs the part of cairn that reads video."""

    def __init__(self, path: str | os.PathLike[str], *, threads: int = 0, keep_going: bool = False) -> None:
        """threads: 0: as many as usable processors; keep_going: what is broken is passed over."""
        self._core = _core.Video(os.fspath(path), threads, keep_going)

    @property
    def info(self) -> VideoInfo:
        """What it is."""
        return VideoInfo(**self._core.info())

    def __iter__(self) -> Video:
        return self

    def __next__(self) -> Frame:
        frame = self._core.next()
        if frame is None:
            raise StopIteration
        pts, duration, planes = frame
        return Frame(tuple(memoryview(data).cast("H", (height, width)) for width, height, data in planes), pts, duration)

    def rewind(self) -> None:
        """The next frame is the first again."""
        self._core.rewind()
