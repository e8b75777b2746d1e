"""Functions that answers may call: by cairn's own calls, and by those of programs for llama-cpp-python. Needs
libcairn_grammar.so, which forces the answers of a model of random weights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from conftest import LLAMA

import cairn
from cairn.llama import Llama

TEMPLATE = (
    "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}{% for m in messages %}({{ m.role }}){{ m.content or '' }}"
    "{% for c in m.tool_calls or [] %}<call>{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}</call>"
    "{% endfor %};{% endfor %}(assistant)"
)
FIND = {
    "name": "find",
    "parameters": {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
        "required": ["n"],
        "additionalProperties": False,
    },
}
TOOLS = [{"type": "function", "function": {"name": "now"}}, {"type": "function", "function": FIND}]
NAMED = {"type": "function", "function": {"name": "find"}}
MESSAGES: list[cairn.Message] = [{"role": "user", "content": "Find 3"}]
# The answer is this, whatever the weights are.
FORCED = (
    r'Well\. <call>\{"name": "find", "arguments": \{"n": 3\}\}</call><call>\{"name": "now", "arguments": \{\}\}</call>'
)
PIECES = [("text", "Well."), ("call", "find"), ("arguments", '{"n": 3}'), ("call", "now"), ("arguments", "{}")]


@pytest.fixture(scope="module")
def calling() -> cairn.Model:
    return cairn.Model(LLAMA, context=512, threads=2, chat_template=TEMPLATE)


@pytest.fixture(scope="module")
def well(calling: cairn.Model) -> dict[int, float]:
    """Begins FORCED, where the model may choose between that and a call."""
    return {one: 100.0 for one in range(calling.info.vocabulary) if calling.detokenize_bytes([one]).startswith(b"W")}


@pytest.fixture(scope="module")
def llm() -> Llama:
    return Llama(model_path=str(LLAMA), n_ctx=512, n_threads=2, verbose=False, chat_template=TEMPLATE)


def _pieces(events: list[cairn.TokenEvent]) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    for piece in (piece for event in events for piece in event.pieces):
        if told and told[-1][0] == piece.kind != "call":
            told[-1] = (piece.kind, told[-1][1] + piece.text)
        else:
            told.append((piece.kind, piece.text))
    return told


def test_calls_are_told_from_text(calling: cairn.Model, well: dict[int, float]) -> None:
    options: Any = {"tools": TOOLS, "regex": FORCED, "max_tokens": 200, "logit_bias": well}
    prompt = calling.render(MESSAGES, tools=TOOLS)
    assert prompt == "[now][find](user)Find 3;(assistant)"
    for stream in (
        calling.chat(MESSAGES, **options),
        calling.session().generate(prompt, **options),
        calling.batch().generate(prompt, **options),
        calling.session().chat().send("Find 3", **options),
    ):
        events = list(stream.events())
        assert _pieces(events) == PIECES
        assert "".join(event.text for event in events) == "Well."
        result = stream.result()
        assert (result.text, result.finish) == ("Well.", "stop")
        assert [call["function"] for call in result.tool_calls] == [
            {"name": "find", "arguments": '{"n": 3}'},
            {"name": "now", "arguments": "{}"},
        ]
        assert result.message == {"role": "assistant", "content": "Well.", "tool_calls": result.tool_calls}
        assert [piece.id for event in events for piece in event.pieces if piece.id] == [c["id"] for c in result.tool_calls]
    assert "".join(calling.chat(MESSAGES, **options)) == "Well."

    async def ask() -> str:
        return "".join([text async for text in calling.chat(MESSAGES, **options)])

    assert asyncio.run(ask()) == "Well."
    plain = calling.complete(prompt, max_tokens=4)
    assert plain.message is None
    assert plain.tool_calls == []


def test_choices(calling: cairn.Model) -> None:
    for choice in (NAMED, "required"):
        for seed in range(3):
            result = calling.chat(
                MESSAGES, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, temperature=2.0, seed=seed
            ).result()
            (call,) = result.tool_calls
            arguments = json.loads(call["function"]["arguments"])
            assert arguments == {} if call["function"]["name"] == "now" else set(arguments) == {"n"}
            assert choice == "required" or call["function"]["name"] == "find"
    text = calling.chat(MESSAGES, tools=TOOLS, tool_choice="none", regex=FORCED).result()
    assert text.tool_calls == []
    assert text.text.endswith("<call>{\"name\": \"now\", \"arguments\": {}}</call>")
    assert text.prompt_tokens == len(calling.tokenize_messages(MESSAGES))


def test_a_conversation_with_results(calling: cairn.Model, well: dict[int, float]) -> None:
    chat = calling.session().chat()
    called = chat.send("Find 3", tools=TOOLS, regex=FORCED, logit_bias=well).result()
    results: list[cairn.Message] = [
        {"role": "tool", "tool_call_id": call["id"], "content": "here"} for call in called.tool_calls
    ]
    answer = chat.send(results, tools=TOOLS, tool_choice="none", regex=r"Three\.").result()
    assert answer.text == "Three."
    assert [message["role"] for message in chat.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert called.message is not None
    whole = calling.render([*MESSAGES, called.message, *results])
    assert whole == (
        '(user)Find 3;(assistant)Well.<call>{"name": "find", "arguments": {"n": 3}}</call>'
        '<call>{"name": "now", "arguments": {}}</call>;(tool)here;(tool)here;(assistant)'
    )


def test_what_cannot_be_is_refused(calling: cairn.Model) -> None:
    refused: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"tools": [3]}, cairn.Error, r"tools\[0\]"),
        ({"tools": 3}, TypeError, "tools: 3"),
        ({"tools": TOOLS, "tool_choice": "perhaps"}, cairn.Error, "tool_choice: none, auto"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "x"}}}, cairn.Error, "no function 'x'"),
        ({"tool_choice": "required"}, cairn.Error, "no function among the tools"),
        ({"tools": TOOLS, "tool_choice": "required", "regex": "a"}, cairn.Error, "cannot be of a format"),
    ]
    for options, kind, text in refused:
        with pytest.raises(kind, match=text):
            calling.session().complete("a", **options)


# The calls of programs for llama-cpp-python.


def _chat(llm: Llama, **options: Any) -> Any:
    llm.reset()
    return llm.create_chat_completion(MESSAGES, **{"max_tokens": 200, **options})


def _forced() -> Any:
    from cairn.llama import LlamaGrammar

    return LlamaGrammar.from_string(
        r'root ::= "Well. <call>{\"name\": \"find\", \"arguments\": {\"n\": 3}}</call>" more?' + "\n"
        r'more ::= "<call>{\"name\": \"now\", \"arguments\": {}}</call>"'
    )


def test_llama_whole(llm: Llama, well: dict[int, float]) -> None:
    for given in ({}, {"tool_choice": "auto"}):
        choice = _chat(llm, tools=TOOLS, grammar=_forced(), logit_bias=well, **given)["choices"][0]
        message = choice["message"]
        assert (choice["finish_reason"], message["content"]) == ("tool_calls", "Well.")
        call = message["tool_calls"][0]
        assert call["type"] == "function" and call["id"]
        assert call["function"] == {"name": "find", "arguments": '{"n": 3}'}
        assert ("function_call" in message) == (len(message["tool_calls"]) == 1)
    for asked in (
        {"tools": TOOLS, "tool_choice": NAMED},
        {"functions": [{"name": "now"}, FIND], "function_call": {"name": "find"}},
    ):
        choice = _chat(llm, temperature=1.5, **asked)["choices"][0]
        (call,) = choice["message"]["tool_calls"]
        assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", None)
        assert call["function"]["name"] == "find"
        assert set(json.loads(call["function"]["arguments"])) == {"n"}
        assert choice["message"]["function_call"] == call["function"]
    required = _chat(llm, tools=TOOLS, tool_choice="required", temperature=1.5)["choices"][0]["message"]
    assert {call["function"]["name"] for call in required["tool_calls"]} <= {"find", "now"}
    none = _chat(llm, tools=TOOLS, tool_choice="none", grammar=_forced())["choices"][0]
    assert none["message"]["content"].startswith('Well. <call>{"name": "find"')
    assert (none["finish_reason"], "tool_calls" in none["message"]) == ("stop", False)
    cut = _chat(llm, tools=TOOLS, tool_choice=NAMED, max_tokens=1)["choices"][0]
    assert cut["finish_reason"] == "length"


def test_llama_streamed(llm: Llama) -> None:
    for asked in ({"tool_choice": "none"}, {"tool_choice": "required"}, {"tool_choice": NAMED}):
        common: Any = {"tools": TOOLS, "temperature": 0, "max_tokens": 120, **asked}
        whole = _chat(llm, **common)["choices"][0]
        chunks = [chunk["choices"][0] for chunk in _chat(llm, stream=True, **common)]
        deltas = [chunk["delta"] for chunk in chunks]
        assert deltas[0] == {"role": "assistant"}
        assert deltas[-1] == {}
        assert [chunk["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + [whole["finish_reason"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == (whole["message"]["content"] or "")
        calls: dict[int, dict[str, str]] = {}
        for delta in deltas:
            for call in delta.get("tool_calls", []):
                told = calls.setdefault(call["index"], {**call["function"], "id": call["id"], "arguments": ""})
                assert (told["name"], told["id"]) == (call["function"]["name"], call["id"])
                told["arguments"] += call["function"]["arguments"]
        functions = [{"name": call["name"], "arguments": call["arguments"]} for call in calls.values()]
        assert functions == [call["function"] for call in whole["message"].get("tool_calls", [])]
        assert bool(functions) == (asked["tool_choice"] != "none")


def test_llama_goes_on(llm: Llama) -> None:
    answer: Any = _chat(llm, tools=TOOLS, tool_choice=NAMED)
    message = answer["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "here"}
    newer: Any = llm.create_chat_completion([*MESSAGES, message, result], max_tokens=2)
    older: Any = llm.create_chat_completion(
        [
            *MESSAGES,
            {"role": "assistant", "content": None, "function_call": message["function_call"]},
            {"role": "function", "name": "find", "content": "here"},
        ],
        max_tokens=2,
    )
    assert newer["usage"]["prompt_tokens"] == older["usage"]["prompt_tokens"]


def test_llama_refuses(llm: Llama) -> None:
    refused: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: _chat(llm, tools=[{}]), cairn.Error, r"tools\[0\].name"),
        (lambda: _chat(llm, tools=TOOLS, tool_choice={"function": {"name": "x"}}), cairn.Error, "no function 'x'"),
        (lambda: _chat(llm, tool_choice=NAMED), cairn.Error, "no function among the tools"),
        (lambda: _chat(llm, tools=TOOLS, tool_choice=NAMED, grammar=_forced()), cairn.Error, "cannot be of a format"),
        (lambda: _chat(llm, tools=TOOLS, functions=[FIND]), ValueError, "functions: an answer cannot have tools too"),
    ]
    for call, kind, text in refused:
        with pytest.raises(kind, match=text):
            call()
