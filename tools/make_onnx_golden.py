#!/usr/bin/env python3
"""Makes tests/data/video_onnx.json: what onnxruntime makes of the ONNX models that `cairn video export` writes.

    pip install onnx onnxruntime numpy
    tools/make_onnx_golden.py build/release/tests/test_video tests/data/video_onnx.json

test_video writes the models (networks of random weights) and their input, the checker of onnx checks them, onnxruntime runs
them. To be run again whenever the exporter writes other bytes.
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

program, output = sys.argv[1:]
golden = {}
with tempfile.TemporaryDirectory() as folder:
    subprocess.run([program, "--gtest_filter=*Onnx.*"], env=dict(os.environ, CAIRN_ONNX_MODELS=folder), check=True,
                   stdout=subprocess.DEVNULL)
    for path in sorted(pathlib.Path(folder).glob("*.onnx")):
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = onnxruntime.InferenceSession(path)
        frames = session.get_inputs()[0].shape[1]
        samples = numpy.array(path.with_suffix(".txt").read_text().split(), numpy.float32) / 255
        restored, = session.run(None, {"small": samples.reshape(1, frames, 6, 8)})
        golden[path.stem] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                             "restored": [float(f"{v:.7f}") for v in restored.ravel()]}
pathlib.Path(output).write_text(json.dumps({"onnxruntime": onnxruntime.__version__, **golden}, indent=None,
                                           separators=(",", ":")).replace('"sha256', '\n"sha256') + "\n")
