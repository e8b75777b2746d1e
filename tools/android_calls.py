#!/usr/bin/env python3
"""Makes a static ARM64 program of glibc's one that Android's apps may run (Termux among them).

  tools/android_calls.py PROGRAM        changes the file
  tools/android_calls.py --list PROGRAM prints the calls and where they are

Android ends an app that makes a system call which its own C library does not make. glibc's makes two of those at the
start of the program and of every thread, and goes on without where the system has none: set_robust_list, rseq. Here
`svc #0` becomes `mov x0, #-38` (no such call) where the call's number is one of these.
"""
import argparse
import pathlib
import struct
import sys

CALLS = {"set_robust_list": 99, "rseq": 293, "clone3": 435}
SVC, NO_SUCH_CALL = 0xD4000001, 0x928004A0  # movn x0, #37: −38
FAR = 24  # instructions before svc in which x8, the call's number, is set


def code(program):
    """(offset in the file, bytes) of each part that is executed."""
    if program[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", program, 18)[0] != 183:
        sys.exit("android_calls.py: not a program for 64-bit ARM")
    at, size, count = struct.unpack_from("<Q", program, 32)[0], *struct.unpack_from("<HH", program, 54)
    for i in range(count):
        kind, flags, offset, _, _, length = struct.unpack_from("<IIQQQQ", program, at + i * size)
        if kind == 1 and flags & 1:
            yield offset, length


def number_before(words, place):
    """What x8 is set to for the svc at `place`; None where that is not a constant nearby."""
    for word in reversed(words[max(0, place - FAR):place]):
        if word == SVC:
            continue
        if word & 0xFFE0001F in (0xD2800008, 0x52800008):  # movz x8 or w8
            return word >> 5 & 0xFFFF
        if word & 0x1F == 8 and word & 0x9F000000 in (0x91000000, 0x90000000, 0x8A000000, 0xAA000000):
            return None  # computed
    return None


def find(program):
    for offset, length in code(program):
        words = struct.unpack_from(f"<{length // 4}I", program, offset)
        for place, word in enumerate(words):
            if word != SVC:
                continue
            number = number_before(words, place)
            for name, wanted in CALLS.items():
                if number == wanted:
                    yield offset + 4 * place, name


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="change nothing")
    parser.add_argument("program", type=pathlib.Path)
    options = parser.parse_args()
    try:
        program = bytearray(options.program.read_bytes())
    except OSError as error:
        sys.exit(f"android_calls.py: {options.program}: {error.strerror}")
    found = list(find(program))
    if options.list:
        for at, name in found:
            print(f"{at:#x} {name}")
        return
    if not any(name == "set_robust_list" for _, name in found):
        sys.exit(f"android_calls.py: {options.program}: no set_robust_list found: another C library than glibc?")
    for at, _ in found:
        struct.pack_into("<I", program, at, NO_SUCH_CALL)
    options.program.write_bytes(program)


if __name__ == "__main__":
    main()
