#!/usr/bin/env python3
"""Writes src/text/word_piece_unicode.cpp: how tokenizers' BertNormalizer and BertPreTokenizer see each character.

Their tables are of several versions of Unicode, most of them older and one newer than those of this project's libraries; so
each character is asked of them. Needs tokenizers (0.23.3); run with a Python whose unicodedata is version 14 (3.11), for
the small letters that are newer.
"""
import pathlib

from tokenizers import normalizers, pre_tokenizers

OUT = pathlib.Path(__file__).parent.parent / "src" / "text" / "word_piece_unicode.cpp"
PER_LINE = 6


def ranges(members):
    out = []
    for c in members:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def table(name, members):
    cells = [f"{{0x{a:X}, 0x{b:X}}}" for a, b in ranges(members)]
    lines = [", ".join(cells[i:i + PER_LINE]) for i in range(0, len(cells), PER_LINE)]
    return f"constexpr CharacterRange {name}[] = {{\n    " + ",\n    ".join(lines) + "};\n"


def pairs(members):
    cells = [f"{{0x{a:X}, 0x{b:X}}}" for a, b in members]
    return ",\n      ".join(", ".join(cells[i:i + PER_LINE]) for i in range(0, len(cells), PER_LINE))


def main():
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    strip = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    cut = pre_tokenizers.BertPreTokenizer()
    lower = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=True)
    removed, blank, single, marks, punctuation, newer = [], [], [], [], [], []
    for c in [*range(0xD800), *range(0xE000, 0x110000)]:
        character = chr(c)
        cleaned = clean.normalize_str(f"a{character}b")
        if cleaned == "ab":
            removed.append(c)
        elif cleaned == "a b":
            blank.append(c)
        elif cleaned == f"a {character} b":
            single.append(c)
        if strip.normalize_str(f"a{character}b") == "ab":
            marks.append(c)
        small = lower.normalize_str(character)
        if len(small) == 1 and small != character.lower():
            newer.append((c, ord(small)))
        if [word for word, _ in cut.pre_tokenize_str(f"a{character}b")] == ["a", character, "b"]:
            punctuation.append(c)
    tables = [("kRemoved", removed), ("kBlank", blank), ("kIdeographs", single), ("kMarks", marks), ("kPunctuation", punctuation)]
    getters = [("removed", "kRemoved"), ("blank", "kBlank"), ("ideograph", "kIdeographs"), ("mark", "kMarks"),
               ("punctuation", "kPunctuation")]
    text = ('// Written by tools/make_bert_unicode.py.\n#include "text/word_piece_unicode.hpp"\n\n#include <algorithm>\n'
            "#include <span>\n\nnamespace cairn::text::bert {\nnamespace {\n\nstruct CharacterRange {\n"
            "  char32_t first, last;\n};\n\n// clang-format off\n" + "\n".join(table(n, m) for n, m in tables) + "// clang-format on\n\n"
            "bool holds(std::span<const CharacterRange> ranges, char32_t character) {\n"
            "  const auto at = std::lower_bound(ranges.begin(), ranges.end(), character,\n"
            "                                   [](const CharacterRange& r, char32_t c) { return r.last < c; });\n"
            "  return at != ranges.end() && at->first <= character;\n}\n\n}  // namespace\n\n"
            + "\n".join(f"bool is_{getter}(char32_t character) {{\n  return holds({name}, character);\n}}" for getter, name in getters)
            + "\n\n// clang-format off\nchar32_t newer_small(char32_t character) {\n"
            "  static constexpr char32_t kPairs[][2] = {\n      " + pairs(newer) + "};\n"
            "  for (const auto& pair : kPairs) {\n    if (pair[0] == character) return pair[1];\n  }\n  return 0;\n}\n// clang-format on\n"
            "\n}  // namespace cairn::text::bert\n")
    OUT.write_text(text)


if __name__ == "__main__":
    main()
