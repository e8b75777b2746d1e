#!/usr/bin/env python3
"""Writes src/kernels/grid_data.hpp: the grids of the IQ encodings, as the `gguf` package (0.19) has them.

    pip install gguf
    tools/make_grids.py
"""
import pathlib

import numpy as np
from gguf import quants

HEAD = """\
// Written by tools/make_grids.py from the `gguf` Python package 0.19: the points of the IQ encodings' grids, which are
// part of the formats. Four hexadecimal digits a point, lowest coordinate in the lowest bits: 2 bits for each of
// eight coordinates, 3 bits for each of four; kernels/grids.cpp says which value each number stands for.
#pragma once

namespace cairn::kernels::grid_data {
"""
GRIDS = {"kIq2Xxs": "IQ2_XXS", "kIq2Xs": "IQ2_XS", "kIq2S": "IQ2_S", "kIq1": "IQ1_S", "kIq3Xxs": "IQ3_XXS",
         "kIq3S": "IQ3_S"}
DIGITS = 104  # a line


def points(kind):
    """Each point's coordinates as numbers of the values that the package names, in one integer."""
    kind.init_grid()
    values = kind.grid.reshape(kind.grid_shape)
    numbers = np.searchsorted(np.array(kind.grid_map, dtype=np.float32), values)
    bits = 2 if len(kind.grid_map) <= 4 else 3
    return (numbers << (bits * np.arange(values.shape[1]))).sum(axis=1)


def main():
    text = HEAD
    for name, kind in GRIDS.items():
        digits = "".join(f"{point:04x}" for point in points(getattr(quants, kind)))
        lines = [f'    "{digits[at : at + DIGITS]}"' for at in range(0, len(digits), DIGITS)]
        text += f"\nconstexpr char {name}[] =\n" + "\n".join(lines) + ";\n"
    text += "\n}  // namespace cairn::kernels::grid_data\n"
    path = pathlib.Path(__file__).resolve().parent.parent / "src" / "kernels" / "grid_data.hpp"
    path.write_text(text)


main()
