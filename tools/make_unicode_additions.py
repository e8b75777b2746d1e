#!/usr/bin/env python3
"""Writes src/text/pre_tokenizer_unicode.cpp: the characters by which the Unicode categories of the reference
tokenizers' regular expressions (package `tokenizers`) exceed Unicode 14, the version of PCRE2 10.42.

Run with a Python whose unicodedata is version 14 (3.11):  tools/make_unicode_additions.py > src/text/...
"""
import sys
import unicodedata

from tokenizers import Regex, pre_tokenizers

CATEGORIES = ["L", "N", "M", "P", "S", "Lu", "Ll", "Lm", "Lo"]
CHARACTERS = [chr(x) for x in range(0x110000) if not 0xD800 <= x < 0xE000]


def matched(category):
    """Characters that the reference puts into a category; Digit is its step Digits."""
    found = set()
    for i in range(0, len(CHARACTERS), 4096):
        part = CHARACTERS[i : i + 4096]
        if category == "Digit":
            pieces = pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str("".join("a" + c for c in part))
            found |= {piece for piece, _ in pieces if len(piece) == 1 and piece != "a"}
        else:
            split = pre_tokenizers.Split(Regex(rf"\p{{{category}}}"), "removed")
            rest = set("".join(piece for piece, _ in split.pre_tokenize_str("".join(part))))
            found |= set(part) - rest
    return found


def ranges(characters):
    out = []
    for point in sorted(map(ord, characters)):
        if out and out[-1][1] == point - 1:
            out[-1][1] = point
        else:
            out.append([point, point])
    return [rf"\x{{{a:X}}}" + (rf"-\x{{{b:X}}}" if b > a else "") for a, b in out]


def main():
    if unicodedata.unidata_version != "14.0.0":
        sys.exit(f"unicodedata is version {unicodedata.unidata_version}; 14.0.0 is needed")
    print("// Written by tools/make_unicode_additions.py.")
    print('#include "text/pre_tokenizer_unicode.hpp"\n')
    print("namespace cairn::text {\nnamespace {\n\nconstexpr UnicodeAdditions additions[] = {")
    for category in CATEGORIES + ["Digit"]:
        wanted = "N" if category == "Digit" else category
        old = {c for c in CHARACTERS if unicodedata.category(c).startswith(wanted)}
        lines, line = [], ""
        for text in ranges(matched(category) - old):
            if len(line) + len(text) > 84:
                lines.append(line)
                line = ""
            line += text
        lines.append(line)
        literals = "\n     ".join(f'R"({text})"' for text in lines)
        print(f'    {{"{category}",\n     {literals}}},')
    print("};\n\n}  // namespace\n")
    print("std::span<const UnicodeAdditions> unicode_additions() { return additions; }\n")
    print("}  // namespace cairn::text")


if __name__ == "__main__":
    main()
