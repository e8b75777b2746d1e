"""Answers that are held to a form: as the program's, by all who answer. Needs libcairn_grammar.so."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import LLAMA, TEMPLATE

import cairn
from cairn.llama import Llama, LlamaGrammar

PROMPT = "a stone lies on a stone"
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["x", "yy"]}, "b": {"type": "integer", "minimum": 0, "maximum": 9}},
    "required": ["a", "b"],
}
REGEX = "[a-f]{3,9}(yes|no)\\."
GRAMMAR = 'root ::= word (" " word){0,4} "!"\nword ::= [a-z] | "stone"'
MESSAGES = [{"role": "user", "content": "hello"}]
USER: list[cairn.Message] = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def llm() -> Llama:
    return Llama(model_path=str(LLAMA), n_ctx=256, n_threads=2, verbose=False, chat_template=TEMPLATE)


@pytest.fixture(scope="module")
def no_blanks(model: cairn.Model) -> dict[int, float]:
    """Random weights like blanks, which JSON takes wherever it can."""
    a = model.tokenize("a", bos=False)
    return {token: -1000.0 for token in range(model.info.vocabulary) if model.detokenize_bytes([*a, token])[1:].isspace()}


@pytest.fixture
def flags(tmp_path: Path) -> dict[str, list[str]]:
    """How the program is asked for the same."""
    schema, grammar = tmp_path / "schema.json", tmp_path / "grammar.gbnf"
    schema.write_text(json.dumps(SCHEMA))
    grammar.write_text(GRAMMAR)
    return {"schema": ["--json-schema", str(schema)], "regex": ["--regex", REGEX], "grammar": ["--grammar", str(grammar)]}


FORMS: list[tuple[str, Any, Callable[[str], Any]]] = [
    ("schema", SCHEMA, lambda text: json.loads(text)["a"] in ("x", "yy") and json.loads(text)["b"] in range(10)),
    ("schema", json.dumps(SCHEMA), lambda text: set(json.loads(text)) == {"a", "b"}),
    ("regex", REGEX, lambda text: re.fullmatch(REGEX, text)),
    ("grammar", GRAMMAR, lambda text: re.fullmatch("([a-z]|stone)( ([a-z]|stone)){0,4}!", text)),
]


@pytest.mark.parametrize(("name", "form", "meets"), FORMS)
def test_is_the_programs(
    model: cairn.Model,
    program: Callable[..., str],
    flags: dict[str, list[str]],
    name: str,
    form: Any,
    meets: Callable[[str], Any],
) -> None:
    options: Any = {name: form, "max_tokens": 80, "temperature": 0}
    result = model.session().complete(PROMPT, **options)
    assert result.text == program(PROMPT, 80, *flags[name])
    assert result.finish == "stop"
    assert meets(result.text)
    assert model.complete(PROMPT, **options).text == result.text
    hot = model.session().complete(PROMPT, **{**options, "temperature": 3.0, "seed": 5})
    assert hot.text == program(PROMPT, 80, *flags[name], "--temperature", "3", "--seed", "5")
    assert meets(hot.text)


def test_many_at_a_time(model: cairn.Model) -> None:
    batch = model.batch(sequences=4)
    got: dict[int, str] = {}

    def work(i: int) -> None:
        got[i] = batch.complete(f"{PROMPT} {i}", regex=f"{i}(a|b)+{i}", max_tokens=60, seed=i, temperature=1.5).text

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(re.match(f"{i}(a|b)+", got[i]) for i in range(8))

    async def ask() -> str:
        return "".join([text async for text in model.chat("hello", regex="(yes|no)")])

    assert asyncio.run(ask()) in ("yes", "no")
    assert model.session().chat().send("hello", regex="(yes|no)").result().text in ("yes", "no")


def test_what_cannot_be_enforced_is_refused(model: cairn.Model) -> None:
    refused: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"schema": {"properties": {"a": {"not": {}}}, "type": "object"}}, cairn.Error, "at /properties/a: 'not'"),
        ({"schema": {"type": "strange"}}, cairn.Error, "no type \"strange\""),
        ({"schema": "{"}, cairn.Error, "no JSON"),
        ({"schema": object()}, TypeError, "JSON serializable"),
        ({"schema": "{}\0"}, cairn.Error, "json_schema: U"),
        ({"regex": "(a"}, cairn.Error, "position 3"),
        ({"regex": b"a"}, TypeError, "regex: b'a'"),
        ({"regex": "a\0b"}, cairn.Error, "regex: U"),
        ({"grammar": "start ::= x"}, cairn.Error, "line 1"),
        ({"grammar": 3}, TypeError, "grammar: 3"),
        ({"regex": "a", "schema": {}}, cairn.Error, "held to json_schema too"),
        ({"regex": "a", "ignore_end": True}, cairn.Error, "behind the end"),
    ]
    for options, kind, text in refused:
        for answer in (model.session().complete, model.complete):
            with pytest.raises(kind, match=text) as error:
                answer(PROMPT, **options)
            assert getattr(error.value, "code", "invalid argument") == "invalid argument"
    assert model.complete(PROMPT, regex="", max_tokens=4).text == ""


def test_response_formats(llm: Llama, model: cairn.Model, no_blanks: dict[int, float]) -> None:
    def asked(**options: Any) -> str:
        llm.reset()  # a prompt that is partly read already may be rounded otherwise
        answer: Any = llm.create_chat_completion(MESSAGES, **{**common, **options})
        text: str = answer["choices"][0]["message"]["content"]
        return text

    common: Any = {"max_tokens": 40, "temperature": 0, "logit_bias": no_blanks}
    held = model.session().complete(model.tokenize_messages(USER), schema=SCHEMA, **common).text
    assert set(json.loads(held)) == {"a", "b"}
    assert asked(response_format={"type": "json_object", "schema": SCHEMA}) == held
    assert asked(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}) == held
    assert asked(grammar=LlamaGrammar.from_json_schema(json.dumps(SCHEMA), verbose=False)) == held
    free = model.session().complete(model.tokenize_messages(USER), **common).text
    assert asked(response_format={"type": "text"}) == asked() == free
    objects = [asked(response_format={"type": "json_object"}, temperature=2.0, seed=seed) for seed in range(8)]
    assert all(text.startswith("{") for text in objects)
    assert any(text.startswith('{"') for text in objects)  # whatever its properties are called


def test_grammars(llm: Llama, model: cairn.Model, tmp_path: Path) -> None:
    expected = model.session().complete("a stone", grammar=GRAMMAR, max_tokens=60, temperature=0).text
    file = tmp_path / "some.gbnf"
    file.write_text(GRAMMAR)
    llm.reset()
    for grammar in (LlamaGrammar.from_string(GRAMMAR), LlamaGrammar.from_file(file)):
        answer: Any = llm("a stone", grammar=grammar, max_tokens=60, temperature=0)
        assert answer["choices"][0]["text"] == expected
        assert answer["choices"][0]["finish_reason"] == "stop"
        chunks: Any = llm("a stone", grammar=grammar, max_tokens=60, temperature=0, stream=True)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == expected


def test_what_llama_refuses(llm: Llama, tmp_path: Path) -> None:
    chat = llm.create_chat_completion
    grammar = LlamaGrammar.from_string(GRAMMAR)
    named = {"type": "json_object", "schema": SCHEMA}
    refused: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: llm("a", grammar=GRAMMAR), TypeError, "no LlamaGrammar"),  # type: ignore[arg-type]
        (lambda: llm("a", grammar=LlamaGrammar.from_string("x")), cairn.Error, "root"),
        (lambda: LlamaGrammar.from_string(b"x"), TypeError, "from_string: a text"),  # type: ignore[arg-type]
        (lambda: LlamaGrammar.from_json_schema(SCHEMA), TypeError, "from_json_schema: a text"),  # type: ignore[arg-type]
        (lambda: LlamaGrammar.from_file(tmp_path / "none"), FileNotFoundError, "none"),
        (lambda: llm("a", grammar=LlamaGrammar.from_json_schema('{"not": {}}')), cairn.Error, "'not'"),
        (lambda: next(llm.generate([5], grammar=grammar)), NotImplementedError, "grammar"),
        (lambda: chat(MESSAGES, response_format=named, grammar=grammar), ValueError, "response_format too"),
        (lambda: chat(MESSAGES, response_format={"type": "xml"}), ValueError, "xml"),
        (lambda: chat(MESSAGES, response_format="json"), ValueError, "a type was expected"),  # type: ignore[arg-type]
        (lambda: chat(MESSAGES, response_format={"type": "json_schema"}), ValueError, "a schema was expected"),
        (lambda: chat(MESSAGES, response_format={"type": "json_object", "schema": {"not": {}}}), cairn.Error, "'not'"),
    ]
    for call, kind, text in refused:
        with pytest.raises(kind, match=text):
            call()
