#!/usr/bin/env python3
"""Golden distributions for tests/llm/sampler_test.cpp, made with transformers' logits processors.

Writes tests/data/sampler_golden.json: for each case the logits, the tokens so far, the options under cairn's
names and the probabilities of all tokens. transformers has no frequency and presence penalties; for those the
formula of OpenAI's API reference is applied here.

Needs: torch, transformers.   Usage: tools/make_sampler_golden.py
"""

import json
import pathlib

import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

VOCABULARY = 50

CASES = [
    {"temperature": 1.0},
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"temperature": 1.0, "top_k": 1},
    {"temperature": 1.0, "top_k": 7},
    {"temperature": 1.3, "top_p": 0.9},
    {"temperature": 1.0, "top_p": 0.05},
    {"temperature": 1.0, "min_p": 0.1},
    {"temperature": 0.7, "top_k": 20, "top_p": 0.8},
    {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05},
    {"temperature": 1.0, "repetition_penalty": 1.3},
    {"temperature": 1.0, "repetition_penalty": 0.7},
    {"temperature": 1.0, "presence_penalty": 0.9},
    {"temperature": 1.0, "frequency_penalty": 0.6},
    {"temperature": 1.0, "logit_bias": [[3, 2.5], [11, -4.0], [12, "-inf"]]},
    {
        "temperature": 0.9, "top_k": 25, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.2,
        "frequency_penalty": 0.25, "presence_penalty": 0.5, "logit_bias": [[7, 1.0], [8, "-inf"]],
    },
]  # fmt: skip


def probabilities(logits: torch.Tensor, history: list[int], options: dict) -> torch.Tensor:
    scores = logits.clone()
    for token, bias in options.get("logit_bias", []):
        scores[token] += float(bias)
    batch = torch.tensor([history])
    if "repetition_penalty" in options:
        scores = RepetitionPenaltyLogitsProcessor(options["repetition_penalty"])(batch, scores[None])[0]
    counts = torch.bincount(batch[0], minlength=VOCABULARY).float()
    scores = scores - counts * options.get("frequency_penalty", 0.0)
    scores = scores - (counts > 0).float() * options.get("presence_penalty", 0.0)

    warpers = LogitsProcessorList([TemperatureLogitsWarper(options["temperature"])])
    if "top_k" in options:
        warpers.append(TopKLogitsWarper(options["top_k"]))
    if "top_p" in options:
        warpers.append(TopPLogitsWarper(options["top_p"]))
    if "min_p" in options:
        warpers.append(MinPLogitsWarper(options["min_p"]))
    return torch.softmax(warpers(batch, scores[None])[0].double(), dim=-1)


def main() -> None:
    generator = torch.Generator().manual_seed(20)
    cases = []
    for options in CASES:
        logits = torch.randn(VOCABULARY, generator=generator) * 2.5
        history = torch.randint(0, VOCABULARY, (30,), generator=generator).tolist()
        expected = probabilities(logits, history, options)
        cases.append({
            "options": options,
            "history": history,
            "logits": [float(f"{x:.9g}") for x in logits.tolist()],
            "probabilities": [float(f"{x:.7g}") for x in expected.tolist()],
        })  # fmt: skip
    target = pathlib.Path(__file__).parent.parent / "tests/data/sampler_golden.json"
    target.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
