#!/usr/bin/env python3
"""Greedy answers of the real models, for tests/llm/real_model_test.cpp: whole conversations from text to text.

Writes tests/data/answers_golden.json: for each model a list of turns with the prompt's text (rendered by jinja2 with
the model's own template, or raw), its token ids, and the ids of the answer that transformers generates in float32
from the dequantised weights, taking the most likely token each time. Answers end before the end-of-generation token.

Needs torch, transformers, gguf, jinja2.   Usage: tools/make_answer_golden.py SMOLLM2.gguf GEMMA3.gguf
"""

import json
import pathlib
import sys

import jinja2
import torch
import transformers
from compare_real_model import Model

CHAT = ["What is the capital of France?", "And of Italy?", "Name three colours."]
RAW = ["The capital of France is", "Once upon a time there was a"]
TOKENS = 24


def answer(model: Model, prompt: list[int], ends: set[int]) -> list[int]:
    tokens = list(prompt)
    with torch.no_grad():
        while len(tokens) < len(prompt) + TOKENS:
            best = model.model(torch.tensor([tokens])).logits[0, -1].argmax().item()
            if best in ends:
                break
            tokens.append(best)
    return tokens[len(prompt) :]


def turns(path: str) -> list[dict]:
    model = Model(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(pathlib.Path(path).parent), gguf_file=pathlib.Path(path).name)
    ends = {model.meta["tokenizer.ggml.eos_token_id"]}
    source = model.meta.get("tokenizer.chat_template")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    bos = [model.meta["tokenizer.ggml.bos_token_id"]] if model.meta.get("tokenizer.ggml.add_bos_token") else []
    messages, result = [], []
    for question in CHAT if source else RAW:
        messages.append({"role": "user", "content": question})
        text = environment.from_string(source).render(messages=messages, add_generation_prompt=True) if source else question
        prompt = bos + tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = answer(model, prompt, ends)
        messages.append({"role": "assistant", "content": tokenizer.decode(ids)})
        result.append({"question": question, "prompt": prompt, "answer": ids, "text": messages[-1]["content"]})
        print(path, result[-1])
    return result


def main() -> None:
    golden = {"smollm2-135m": turns(sys.argv[1]), "gemma3-270m": turns(sys.argv[2])}
    target = pathlib.Path(__file__).parent.parent / "tests/data/answers_golden.json"
    target.write_text(json.dumps(golden, separators=(",", ":"), ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
