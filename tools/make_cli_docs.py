#!/usr/bin/env python3
"""Puts the output of every command's --help into docs/cli.md: tools/make_cli_docs.py build/release/cairn"""
import pathlib
import re
import subprocess
import sys

page = pathlib.Path(__file__).resolve().parent.parent / "docs" / "cli.md"


def block(match: re.Match) -> str:
    command = match[1]
    text = subprocess.run([sys.argv[1], *command.split(), "--help"], check=True, capture_output=True, text=True).stdout
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return f"```help {command}\n" + "\n".join(lines) + "\n```"


page.write_text(re.sub(r"^```help ([\w ]+)\n.*?^```", block, page.read_text(), flags=re.S | re.M))
