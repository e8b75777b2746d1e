#!/usr/bin/env python3
"""Writes tests/data/gguf/: small GGUF files made by the `gguf` package, and golden.json, which says what its own
reader finds in them.

    pip install gguf
    tools/make_gguf_golden.py
"""
import json
import pathlib
import sys

import gguf
import numpy as np

ENCODINGS = "F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4".split()


def add_metadata(writer):
    writer.add_uint8("kinds.u8", 200)
    writer.add_int8("kinds.i8", -100)
    writer.add_uint16("kinds.u16", 60000)
    writer.add_int16("kinds.i16", -30000)
    writer.add_uint32("kinds.u32", 4_000_000_000)
    writer.add_int32("kinds.i32", -2_000_000_000)
    writer.add_uint64("kinds.u64", 2**63 + 5)
    writer.add_int64("kinds.i64", -(2**62))
    writer.add_float32("kinds.f32", 0.1)
    writer.add_float64("kinds.f64", 0.1)
    writer.add_bool("kinds.bool", True)
    writer.add_string("kinds.string", "stones, Steine, 石")
    writer.add_array("arrays.i32", [1, -2, 3])
    writer.add_array("arrays.f32", [0.5, -1.25])
    writer.add_array("arrays.bool", [True, False, True])
    writer.add_array("arrays.string", ["a", "", "ß"])
    writer.add_array("arrays.long", list(range(100)))


def add_tensors(writer, random):
    writer.add_tensor("scalars", np.arange(5, dtype=np.float32))
    writer.add_tensor("four", random.standard_normal((2, 3, 4, 5), dtype=np.float32))
    for name in ENCODINGS:
        kind = getattr(gguf.GGMLQuantizationType, name)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        if name in ("F32", "F16"):
            dtype = np.float32 if name == "F32" else np.float16
            writer.add_tensor(name.lower(), random.standard_normal((3, 8)).astype(dtype))
        else:
            data = random.integers(0, 256, (2, 2 * size), dtype=np.uint8)
            writer.add_tensor(name.lower(), data, raw_dtype=kind)


def write(path, version=3, **options):
    alignment = options.pop("alignment", None)
    gguf.gguf_writer.GGUF_VERSION = version
    writer = gguf.GGUFWriter(path, "golden", **options)
    if alignment:
        writer.add_custom_alignment(alignment)
    add_metadata(writer)
    add_tensors(writer, np.random.default_rng(7))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_reference(path):
    """What tests/formats/gguf_writer_test.cpp writes as well, to be compared byte for byte."""
    gguf.gguf_writer.GGUF_VERSION = 3
    writer = gguf.GGUFWriter(path, "reference")
    writer.add_bool("flag", True)
    writer.add_uint32("u32", 7)
    writer.add_int32("i32", -7)
    writer.add_uint64("u64", 2**40)
    writer.add_int64("i64", -(2**40))
    writer.add_float32("f32", 1.5)
    writer.add_float64("f64", -2.25)
    writer.add_string("string", "stone")
    writer.add_array("ints", [3, -4])
    writer.add_array("floats", [0.5])
    writer.add_array("strings", ["a", "bc"])
    writer.add_tensor("norm", np.arange(5, dtype=np.float32))
    blocks = (np.arange(2 * 2 * 34) % 251).astype(np.uint8).reshape(2, 68)
    writer.add_tensor("matrix", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read(path):
    reader = gguf.GGUFReader(path)
    metadata = {}
    for key, field in reader.fields.items():
        if key.startswith("GGUF."):
            continue
        value = field.contents()
        metadata[key] = value.tolist() if isinstance(value, np.ndarray) else value
    tensors = [
        {"name": t.name, "shape": t.shape.tolist(), "encoding": t.tensor_type.name.lower(), "bytes": int(t.n_bytes),
         "sum": int(t.data.view(np.uint8).sum(dtype=np.int64)), "head": bytes(t.data.view(np.uint8).ravel()[:8]).hex()}
        for t in reader.tensors
    ]
    return {"metadata": metadata, "tensors": tensors}


def main():
    folder = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "gguf"
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "v3.gguf")
    write(folder / "v2.gguf", version=2)
    write(folder / "aligned64.gguf", alignment=64)
    write(folder / "split.gguf", split_max_tensors=7)
    write_reference(folder / "reference.gguf")
    golden = {name: read(folder / name) for name in ("v3.gguf", "v2.gguf", "aligned64.gguf")}
    parts = [read(path) for path in sorted(folder.glob("split-*.gguf"))]
    golden["split-00001-of-00003.gguf"] = {
        "metadata": parts[0]["metadata"],
        "tensors": [tensor for part in parts for tensor in part["tensors"]],
    }
    (folder / "golden.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
