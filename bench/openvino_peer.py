#!/usr/bin/env python3
"""The same GGUF model through OpenVINO's own engine (openvino-genai), for `cairn bench --against`:

    cairn bench MODEL --prompt 512 --prefill openvino:CPU --against \\
        "python3 bench/openvino_peer.py MODEL.gguf --prompt 512 --threads 2"

Prints JSON with prefill_tok_s (prompt tokens by the time to the first token) and decode_tok_s, the medians of
--repeat runs after one to warm up. Needs: pip install openvino==2026.4.1 openvino-genai==2026.4.1.0
"""
import argparse
import json
import statistics
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a GGUF file that openvino-genai reads (llama, qwen2, ...)")
    parser.add_argument("--prompt", type=int, default=512, help="tokens to prefill")
    parser.add_argument("--generate", type=int, default=32, help="tokens to decode after them")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--property", action="append", default=[], metavar="NAME=VALUE",
                        help="of OpenVINO, such as DYNAMIC_QUANTIZATION_GROUP_SIZE=64; may be given again")
    options = parser.parse_args()

    try:
        import numpy
        import openvino
        import openvino_genai
    except ImportError as error:
        sys.exit(f"{error}; pip install openvino==2026.4.1 openvino-genai==2026.4.1.0")

    properties = dict(text.split("=", 1) for text in options.property)
    if options.device == "CPU":
        properties.setdefault("INFERENCE_NUM_THREADS", options.threads)
    pipeline = openvino_genai.LLMPipeline(options.model, options.device, **properties)
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = max(options.generate, 2)
    config.ignore_eos = True

    random = numpy.random.default_rng(1)
    words = len(pipeline.get_tokenizer().get_vocab())
    prefill, decode = [], []
    for run in range(options.repeat + 1):
        ids = random.integers(words // 50, words * 4 // 5, (1, options.prompt))  # new ones: no prefix is cached
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
        metrics = pipeline.generate(inputs, config).perf_metrics
        if run > 0:
            prefill.append(1000 * options.prompt / metrics.get_ttft().mean)
            decode.append(1000 / metrics.get_tpot().mean)
    print(json.dumps({"prefill_tok_s": statistics.median(prefill), "decode_tok_s": statistics.median(decode),
                      "engine": f"openvino-genai {openvino_genai.__version__}"}))


main()
