#!/usr/bin/env python3
"""Packs the dynamic ARM64 program with every library that it needs, the C library's and its loader among them.

  tools/bundle.py build/aarch64 cairn-aarch64.tar.gz
  tar -xzf cairn-aarch64.tar.gz && cairn/cairn devices      # on any 64-bit ARM Linux, whatever its C library

What a static program cannot do it can: open ONNX Runtime with Qualcomm's plug-in, OpenVINO, cairn's own libraries. Those
have to be made for glibc (the packages on PyPI are); Android's own are made for another C library.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

FOLDERS = [pathlib.Path(p) for p in ("/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/aarch64-linux-gnu/lib")]
LOADER = "ld-linux-aarch64.so.1"
# Of what programs open at run time: threads' cancellation, names of hosts.
OPENED = ["libgcc_s.so.1", "libnss_dns.so.2", "libnss_files.so.2"]
START = f"""#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
exec "$here/lib/{LOADER}" --library-path "$here/lib" "$here/lib/cairn" "$@"
"""


def needed(path):
    read = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=False)
    if read.returncode != 0:
        sys.exit(f"bundle.py: {path}: {read.stderr.strip().splitlines()[-1]}")
    return re.findall(r"\(NEEDED\).*\[(.+)\]", read.stdout)


def find(name):
    return next((folder / name for folder in FOLDERS if (folder / name).exists()), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("archive", type=pathlib.Path)
    options = parser.parse_args()
    program = options.build / "cairn"
    if not program.is_file():
        sys.exit(f"bundle.py: no {program}: cmake --build --preset aarch64 --target cairn")
    files = {"cairn": program}
    for own in ("libcairn_video.so", "libcairn_grammar.so"):
        if (options.build / own).is_file():
            files[own] = options.build / own
    names = [LOADER, *(n for n in OPENED if find(n)), *(n for path in files.values() for n in needed(path))]
    while names:
        name = names.pop()
        if name in files:
            continue
        path = find(name)
        if path is None:
            sys.exit(f"bundle.py: no {name} in {', '.join(map(str, FOLDERS))}")
        files[name] = path
        names += needed(path)
    part = options.archive.with_name(options.archive.name + ".part")
    with tempfile.TemporaryDirectory() as folder, tarfile.open(part, "w:gz", compresslevel=6, dereference=True) as tar:
        start = pathlib.Path(folder) / "cairn"
        start.write_text(START, encoding="utf-8")
        start.chmod(0o755)
        tar.add(start, "cairn/cairn")
        for name, path in sorted(files.items()):
            tar.add(path, f"cairn/lib/{name}")
    part.rename(options.archive)
    print(f"{options.archive}: {len(files)} files, {options.archive.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
