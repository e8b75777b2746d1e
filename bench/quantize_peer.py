#!/usr/bin/env python3
"""What llama.cpp's own quantisers make of the same tensors: a copy of a file that `cairn quantize` wrote, with ggml's blocks.

    cairn quantize model --type f16 -o f16.gguf
    cairn quantize f16.gguf --type q4_k_m -o ours.gguf [--text FILE --save-imatrix imatrix.gguf]
    bench/quantize_peer.py LIBGGML_BASE f16.gguf ours.gguf theirs.gguf [imatrix.gguf]
    cairn eval theirs.gguf --perplexity wiki.test.raw --limit 12

LIBGGML_BASE: a shared libggml-base, such as the one in llama-cpp-python's wheel. Needs gguf and numpy.
"""
import ctypes
import shutil
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

FLOATS = ("F32", "F16", "BF16")


def importance(path):
    """{tensor: the mean square of each column}"""
    sums = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    return {name.removesuffix(".in_sum2"): np.ascontiguousarray(
                (values / sums[name.replace(".in_sum2", ".counts")].reshape(-1, 1)).ravel(), np.float32)
            for name, values in sums.items() if name.endswith(".in_sum2")}


def main():
    library, source, ours, theirs = sys.argv[1:5]
    weights = importance(sys.argv[5]) if len(sys.argv) > 5 else {}
    ggml = ctypes.CDLL(library)
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    pointer = ctypes.c_void_p
    floats = {tensor.name: tensor for tensor in GGUFReader(source).tensors}
    shutil.copyfile(ours, theirs)
    with open(theirs, "r+b") as out:
        for tensor in GGUFReader(ours).tensors:
            if tensor.tensor_type.name in FLOATS:
                continue
            given = floats[tensor.name]
            columns = int(tensor.shape[0])
            x = np.ascontiguousarray(dequantize(given.data, given.tensor_type), np.float32).reshape(-1, columns)
            blocks = np.zeros(tensor.n_bytes, np.uint8)
            w = weights.get(tensor.name)
            written = ggml.ggml_quantize_chunk(
                ctypes.c_int(int(tensor.tensor_type)), pointer(x.ctypes.data), pointer(blocks.ctypes.data), ctypes.c_int64(0),
                ctypes.c_int64(len(x)), ctypes.c_int64(columns), pointer(None if w is None else w.ctypes.data))
            assert written == tensor.n_bytes, (tensor.name, written, tensor.n_bytes)
            out.seek(int(tensor.data_offset))
            out.write(blocks.tobytes())


if __name__ == "__main__":
    main()
