"""Videos restored by a program that decodes them itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import cairn

PROGRAM = os.environ.get("CAIRN_PROGRAM", "cairn")
WIDTH, HEIGHT, FRAMES = 128, 96, 3


def write_y4m(path: Path, width: int, height: int) -> None:
    """Edges that move, in 4:2:0."""
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(FRAMES):
            file.write(b"FRAME\n")
            for w, h in ((width, height), (width // 2, height // 2), (width // 2, height // 2)):
                step = w / 16
                file.write(bytes(70 + 110 * ((int(x / step) + int(y / step) + frame) % 2) for y in range(h) for x in range(w)))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A cairn video, and the small one that it is made of."""
    folder = tmp_path_factory.mktemp("video")
    write_y4m(folder / "clip.y4m", WIDTH, HEIGHT)
    write_y4m(folder / "small.y4m", WIDTH // 2, HEIGHT // 2)

    def encode(source: str, *flags: str) -> Path:
        output = folder / f"{source}.mkv"
        words = [PROGRAM, "video", "encode", str(folder / f"{source}.y4m"), "-o", str(output), "--quiet", *flags]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return output

    small = encode("small", "--mode", "plain", "--codec", "x264", "--crf", "20")
    return encode("clip", "--coded", str(small), "--train-steps", "20"), small


@pytest.mark.program
def test_restores_what_others_decoded(clips: tuple[Path, Path], tmp_path: Path) -> None:
    coded, small = clips
    attachment = tmp_path / "cairn.bin"
    subprocess.run([PROGRAM, "video", "inspect", str(coded), "--attachment", str(attachment)], check=True)
    for restorer in (cairn.Restorer(coded), cairn.Restorer(attachment.read_bytes(), bits=8, chroma="420", threads=2)):
        assert (restorer.info.width, restorer.info.height, restorer.info.scale) == (WIDTH, HEIGHT, 2)
        assert restorer.network_at(0, 5, 5) == 0
        for i, (wanted, frame) in enumerate(zip(cairn.Video(coded), cairn.Video(small))):
            narrow = [memoryview(bytes(plane.cast("B").cast("H").tolist())).cast("B", shape_of(plane)) for plane in frame.planes]
            got = restorer.restore(i, narrow)
            assert [plane.tolist() for plane in got] == [plane.tolist() for plane in wanted.planes]
            with pytest.raises(ValueError, match="planes: 1, it takes 3"):
                restorer.restore(i, narrow[:1])
            with pytest.raises(ValueError, match=r"plane 0: it takes \[height\]\[width\] of uint8"):
                restorer.restore(i, frame.planes)
            with pytest.raises(ValueError, match="plane 1: 64x48 does not fit luma"):
                restorer.restore(i, [narrow[0], narrow[0], narrow[2]])
            with pytest.raises(cairn.Error, match="small: 32×24, it must be 64×48"):
                restorer.restore(i, [narrow[1], *map(quarter, narrow[1:])])


def shape_of(plane: memoryview) -> tuple[int, int]:
    assert plane.shape is not None
    return plane.shape[0], plane.shape[1]


def quarter(plane: memoryview) -> memoryview:
    height, width = shape_of(plane)
    return memoryview(bytes(width // 2 * (height // 2))).cast("B", (height // 2, width // 2))


def test_refuses_what_is_none() -> None:
    with pytest.raises(cairn.Error) as error:
        cairn.Restorer(b"nothing", bits=8, chroma="420")
    assert error.value.code in ("format", "not found")  # without the part that reads video
    with pytest.raises(cairn.Error):
        cairn.Restorer("/none.mkv")
    with pytest.raises(ValueError):
        cairn.Restorer(b"", chroma="411")  # type: ignore[arg-type]
