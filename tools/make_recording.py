#!/usr/bin/env python3
"""Runs a command in a terminal of its own and draws what it printed, when it printed it, as an animated SVG.

tools/make_recording.py docs/recording.svg build/release/cairn run smollm2-135m -p "Why is the sky blue?" -n 48
"""
import html
import os
import pty
import select
import shlex
import sys
import time

COLUMNS, CELL_WIDTH, LINE_HEIGHT, MARGIN = 88, 7.8, 19, 16
HOLD = 4.0  # seconds that the finished screen stays before the recording starts again


def record(argv: list[str]) -> list[tuple[float, str]]:
    """(seconds since the start, what came then)"""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["COLUMNS"] = str(COLUMNS)
        os.execvp(argv[0], argv)
    started, events = time.monotonic(), []
    while True:
        try:
            select.select([terminal], [], [])
            data = os.read(terminal, 65536)
        except OSError:  # the program has closed its end
            break
        if not data:
            break
        events.append((time.monotonic() - started, data))
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f"{shlex.join(argv)} failed")
    return events


def cells(argv: list[str], events: list[tuple[float, bytes]]) -> list[tuple[float, int, int, str]]:
    """(seconds, row, column, text) of every piece, lines wrapped at COLUMNS"""
    name = os.path.basename(argv[0])
    pieces = [(0.0, "$ " + shlex.join([name, *argv[1:]]) + "\n")]
    pending = b""
    for when, data in events:
        pending += data
        text = pending.decode("utf-8", errors="ignore")
        pending = b""
        pieces.append((when, text.replace("\r", "")))
    placed, row, column = [], 0, 0
    for when, text in pieces:
        for word in split_words(text):
            if word == "\n" or column + len(word.rstrip()) > COLUMNS:
                row, column = row + 1, 0
                if word in ("\n", " "):
                    continue
            placed.append((when, row, column, word))
            column += len(word)
    return placed


def split_words(text: str) -> list[str]:
    words, word = [], ""
    for character in text:
        if character == "\n":
            words += [word, "\n"] if word else ["\n"]
            word = ""
        else:
            word += character
            if character == " ":
                words.append(word)
                word = ""
    return words + [word] if word else words


def draw(placed: list[tuple[float, int, int, str]]) -> str:
    rows = max(row for _, row, _, _ in placed) + 1
    width, height = COLUMNS * CELL_WIDTH + 2 * MARGIN, rows * LINE_HEIGHT + 2 * MARGIN
    whole = placed[-1][0] + HOLD
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}">',
        "<style>text{font:13px ui-monospace,Menlo,Consolas,monospace;fill:#d8dee9;white-space:pre}"
        ".c{fill:#a3be8c}</style>",
        f'<rect width="100%" height="100%" rx="8" fill="#1b1f27"/>',
    ]
    for when, row, column, text in placed:
        if not text.strip():
            continue
        x, y = MARGIN + column * CELL_WIDTH, MARGIN + (row + 0.75) * LINE_HEIGHT
        style = ' class="c"' if when == 0 else ""
        share = when / whole
        shown = "" if when == 0 else (
            f'<animate attributeName="opacity" dur="{whole:.2f}s" repeatCount="indefinite" calcMode="discrete" '
            f'values="0;1" keyTimes="0;{share:.4f}"/>')
        lines.append(f'<text x="{x:.1f}" y="{y:.1f}"{style} textLength="{len(text.rstrip()) * CELL_WIDTH:.1f}">'
                     f"{html.escape(text.rstrip())}{shown}</text>")
    return "\n".join([*lines, "</svg>", ""])


if len(sys.argv) < 3:
    sys.exit(__doc__)
output, command = sys.argv[1], sys.argv[2:]
with open(output, "w", encoding="utf-8") as file:
    file.write(draw(cells(command, record(command))))
