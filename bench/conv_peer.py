#!/usr/bin/env python3
"""The same chains of 3×3 convolutions in onnxruntime, for comparison with bench_conv.

  pip install onnxruntime onnx numpy
  bench/conv_peer.py [--threads 2] [--against build/release/bench/bench_conv]

Each network takes the luma of one 1080p frame (small) as floats and gives the restored luma: 3×3 convolutions with
ReLU, depth to space, and the bicubic's 5×5 beside them. It is run as float32 and quantised to int8 (static, QDQ form,
per channel, by onnxruntime's own tool); the better of the two is the peer's figure. Chroma, which bench_conv includes,
is left out here, to the peer's advantage.
"""
import argparse
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

NETWORKS = [("C8M4", 8, 4, 1), ("C8M4", 8, 4, 2), ("C16M4", 16, 4, 2)]


def build(channels: int, depth: int, scale: int, path: str) -> tuple[int, int]:
    width, height = 1920 // scale, 1080 // scale
    random = np.random.default_rng(1)
    nodes, weights = [], []

    def conv(source: str, name: str, cin: int, cout: int, kernel: int, relu: bool) -> str:
        values = (random.standard_normal((cout, cin, kernel, kernel)) * (1.4 / (cin * kernel * kernel) ** 0.5))
        weights.append(numpy_helper.from_array(values.astype(np.float32), name + "_w"))
        weights.append(numpy_helper.from_array(np.zeros(cout, np.float32), name + "_b"))
        nodes.append(helper.make_node("Conv", [source, name + "_w", name + "_b"], [name], pads=[kernel // 2] * 4,
                                      kernel_shape=[kernel, kernel], name=name))
        if relu:
            nodes.append(helper.make_node("Relu", [name], [name + "_r"]))
        return name + "_r" if relu else name

    last = conv("x", "head", 1, channels, 3, True)
    for i in range(depth):
        last = conv(last, f"inner{i}", channels, channels, 3, True)
    last = conv(last, "tail", channels, scale * scale, 3, False)
    skip = conv("x", "skip", 1, scale * scale, 5, False)
    nodes.append(helper.make_node("Add", [last, skip], ["sum"]))
    if scale > 1:
        nodes.append(helper.make_node("DepthToSpace", ["sum"], ["y"], blocksize=scale, mode="CRD"))
    else:
        nodes.append(helper.make_node("Identity", ["sum"], ["y"]))
    graph = helper.make_graph(
        nodes, "chain", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, height * scale, width * scale])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return width, height


class Frames(CalibrationDataReader):
    def __init__(self, width: int, height: int):
        random = np.random.default_rng(2)
        self.frames = iter([{"x": random.random((1, 1, height, width), np.float32)} for _ in range(2)])

    def get_next(self):
        return next(self.frames, None)


def rate(path: str, threads: int, width: int, height: int) -> float:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(3).random((1, 1, height, width), np.float32)
    session.run(None, {"x": x})
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(3):
            session.run(None, {"x": x})
        rates.append(3 / (time.perf_counter() - start))
    return sorted(rates)[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--against", help="bench_conv, run after the peer")
    arguments = parser.parse_args()
    print(f"onnxruntime {ort.__version__}, {arguments.threads} threads")
    with tempfile.TemporaryDirectory() as folder:
        for name, channels, depth, scale in NETWORKS:
            plain, quantised = f"{folder}/{name}x{scale}.onnx", f"{folder}/{name}x{scale}-int8.onnx"
            width, height = build(channels, depth, scale, plain)
            quantize_static(plain, quantised, Frames(width, height), quant_format=QuantFormat.QDQ, per_channel=True,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
            floats = rate(plain, arguments.threads, width, height)
            integers = rate(quantised, arguments.threads, width, height)
            print(f"{name} x{scale}: float32 {floats:.1f} frames/s, int8 {integers:.1f} frames/s", flush=True)
    if arguments.against:
        subprocess.run([arguments.against, "--threads", str(arguments.threads)], check=True)


if __name__ == "__main__":
    main()
