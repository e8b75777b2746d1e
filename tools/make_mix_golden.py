#!/usr/bin/env python3
"""Makes tests/data/mixes.json of what llama.cpp expects of itself: tests/snapshots/*.schema of the revision in
llama-cpp-python 0.3.36, which encoding each tensor of a model gets in each file type where that is not the type's own.

For each model and type: {"tensor, layers as *": {"encoding": [layers]}}, an empty list for a tensor in no layer.

usage: make_mix_golden.py SNAPSHOTS OUTPUT.json
"""
import json
import pathlib
import re
import sys

MODELS = {
    "qwen3-0.6b": "qwen3", "qwen3-14b": "qwen3", "meta-llama-3.1-70b-instruct": "llama", "gemma-3-4b-it": "gemma3",
    "gpt-oss-120b": "gpt-oss", "deepseek-v3.1": "deepseek2",
}
TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q2_K_S", "Q3_K_S", "Q3_K_M", "Q3_K_L",
         "Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS", "MXFP4_MOE",
         "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M", "TQ1_0", "TQ2_0"]


def read(path: pathlib.Path) -> dict:
    model, section = {"types": {}}, None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# n_embd"):
            model |= {key: int(value) for key, value in re.findall(r"(n_\w+)=(\d+)", line)}
        elif line.startswith("["):
            name = line[1:line.index("]")]
            section = model["types"].setdefault(name.lower(), {}) if name in TYPES else None
        elif line and not line.startswith("#") and section is not None:
            tensor, encoding = line.split()
            layer = re.match(r"blk\.(\d+)\.", tensor)
            tensor = re.sub(r"blk\.\d+\.", "blk.*.", tensor)
            layers = section.setdefault(tensor, {}).setdefault(encoding.lower(), [])
            if layer:
                layers.append(int(layer[1]))
    return model


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    models = {name: {"architecture": arch} | read(folder / f"{name}.schema") for name, arch in MODELS.items()}
    text = json.dumps(models, separators=(",", ":")).replace('},"', '},\n"')
    pathlib.Path(sys.argv[2]).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
