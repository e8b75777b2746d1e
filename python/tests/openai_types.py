#!/usr/bin/env python3
"""cairn.llama's answers as the openai package (PyPI) reads them: python/tests/openai_types.py, with cairn installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from cairn.llama import Llama

LLAMA = Path(__file__).resolve().parents[2] / "tests" / "data" / "golden_models" / "llama.gguf"
TOOL = {"type": "function", "function": {"name": "put"}}
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]


def main() -> None:
    template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]"
    llm = Llama(model_path=str(LLAMA), n_ctx=512, n_threads=2, verbose=False, chat_template=template)
    for more in ({}, {"logprobs": True, "top_logprobs": 2}, {"tools": [TOOL], "tool_choice": TOOL}, {"tools": [TOOL]}):
        asked: dict[str, Any] = {"max_tokens": 4, **more}
        ChatCompletion.model_validate(llm.create_chat_completion(MESSAGES, **asked), strict=True)
        chunks = [
            ChatCompletionChunk.model_validate(chunk, strict=True)
            for chunk in llm.create_chat_completion(MESSAGES, stream=True, **asked)
        ]
        assert chunks[-1].choices[0].finish_reason == "length", chunks[-1]
    for logprobs in (None, 2):
        Completion.model_validate(llm("a", max_tokens=4, logprobs=logprobs), strict=True)
    print("as it should be")


if __name__ == "__main__":
    main()
