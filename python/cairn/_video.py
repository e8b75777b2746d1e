"""Videos that ``cairn video encode`` made, restored frame by frame: decoded here, or by the caller."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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


@dataclass(frozen=True)
class RestorerInfo:
    """What a restorer takes and gives."""

    small_width: int  #: of the frames that it takes
    small_height: int
    width: int  #: of those that it gives
    height: int
    scale: int
    bits: int  #: of a sample: 8 (uint8) or 10 (uint16)
    chroma: Literal["none", "420", "422", "444"]
    networks: int  #: for luma
    needs_before: bool  #: a network looks at the small frame before
    needs_after: bool


class Restorer:
    """The networks of a cairn video, for who decodes it: small frames in, restored ones out. One call at a time."""

    def __init__(
        self,
        file: str | os.PathLike[str] | bytes,
        *,
        threads: int = 0,
        bits: Literal[8, 10] | None = None,
        chroma: Literal["none", "420", "422", "444"] | None = None,
    ) -> None:
        """file: a video's path, or the bytes of its attachment, which do not tell bits and chroma."""
        kinds = ["none", "420", "422", "444"]
        self._core = _core.Restorer(
            file if isinstance(file, bytes) else os.fspath(file), threads, bits or 0, -1 if chroma is None else kinds.index(chroma)
        )

    @property
    def info(self) -> RestorerInfo:
        """What it is."""
        return RestorerInfo(**self._core.info())

    def restore(
        self, frame: int, small: Sequence[Any], *, before: Sequence[Any] | None = None, after: Sequence[Any] | None = None
    ) -> tuple[memoryview, ...]:
        """Frame number ``frame`` of the video, from 0 on as they are shown.

        small, before, after: planes, each a buffer [height][width] (numpy arrays, memoryviews) of uint8 or uint16; what comes
        back is alike. before and after are the neighbours, where a network looks at them; None at the ends.
        """
        code: Literal["B", "H"] = "B" if self.info.bits == 8 else "H"
        planes = self._core.restore(frame, small, before, after)
        return tuple(memoryview(data).cast(code, (height, width)) for width, height, data in planes)

    def network_at(self, frame: int, x: int, y: int) -> int:
        """The number of the luma network that restores the small frame's sample at (x, y)."""
        return self._core.network_at(frame, x, y)
