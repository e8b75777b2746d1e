"""What answers are held to, as programs for llama-cpp-python say it, for cairn.llama."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any


class LlamaGrammar:
    """A grammar for an answer. It is read when an answer is asked for, whose ``cairn.Error`` tells what is wrong with it."""

    def __init__(self, *, _form: dict[str, Any]) -> None:
        self._form = _form

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = True) -> LlamaGrammar:
        """GBNF, of which the answer is ``root``. verbose: passed over."""
        return cls(_form={"grammar": _text("from_string", grammar)})

    @classmethod
    def from_file(cls, file: str | os.PathLike[str], verbose: bool = True) -> LlamaGrammar:
        """The same from a file."""
        with open(file, encoding="utf-8") as opened:
            return cls.from_string(opened.read(), verbose)

    @classmethod
    def from_json_schema(cls, json_schema: str, verbose: bool = True) -> LlamaGrammar:
        """The JSON that meets a schema, given as its text."""
        return cls(_form={"schema": _text("from_json_schema", json_schema)})


def _text(what: str, given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError(f"{what}: a text was expected, not {given!r}")
    return given


def form_of(grammar: LlamaGrammar | None, response_format: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of an answer that is held to one of them, or to nothing."""
    schema = _schema_of(response_format)
    if grammar is None:
        return {} if schema is None else {"schema": schema}
    if schema is not None:
        raise ValueError("grammar: an answer cannot be held to response_format too")
    if not isinstance(grammar, LlamaGrammar):
        raise TypeError(f"grammar: {grammar!r} is no LlamaGrammar")
    return grammar._form


def _schema_of(response_format: Mapping[str, Any] | None) -> Any:
    if response_format is None:
        return None
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        schema = response_format.get("schema")
        return {"type": "object"} if schema is None else schema
    if kind == "json_schema":
        named = response_format.get("json_schema")
        if not isinstance(named, Mapping) or named.get("schema") is None:
            raise ValueError("response_format: json_schema: a schema was expected in it")
        return named["schema"]
    raise ValueError(f"response_format: {response_format!r}: a type was expected: text, json_object or json_schema")


def asked_tools(
    tools: Sequence[Mapping[str, Any]] | None,
    tool_choice: Any,
    functions: Sequence[Mapping[str, Any]] | None,
    function_call: Any,
) -> tuple[list[Mapping[str, Any]] | None, Any]:
    """The tools of a chat's answer and the choice among them; functions and function_call are OpenAI's older form of it."""
    if functions is not None or function_call is not None:
        if tools is not None or tool_choice is not None:
            raise ValueError("functions: an answer cannot have tools too")
        tools = None if functions is None else [{"type": "function", "function": one} for one in functions]
        named = isinstance(function_call, Mapping)
        tool_choice = {"type": "function", "function": function_call} if named else function_call
    return (list(tools) if tools else None), tool_choice
