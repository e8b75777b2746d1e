#!/usr/bin/env python3
"""Schemas and calls of tools by the real clients of OpenAI's and Anthropic's API: tests/server/tools_client.py CAIRN MODEL
Needs `openai`, `anthropic` and `pydantic` from PyPI, and a cairn with libcairn_grammar.so. Ends with status 0 when all went as
those clients expect."""
import enum
import json
import sys

import anthropic
import openai
import pydantic
from running_server import running_server


class Kind(str, enum.Enum):
    town = "town"
    village = "village"


class Place(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=20)
    kind: Kind
    people: int | None
    twins: list[str] = pydantic.Field(max_length=2)


class Weather(pydantic.BaseModel):
    """The weather of a place."""

    city: str
    days: int


def main() -> None:
    with running_server(sys.argv[1], sys.argv[2], context=2048) as (model, url):
        check_schemas(openai.OpenAI(base_url=url, api_key="secret", max_retries=0), model)
        check_calls(openai.OpenAI(base_url=url, api_key="secret", max_retries=0), model)
        check_responses(openai.OpenAI(base_url=url, api_key="secret", max_retries=0), model)
        check_blocks(anthropic.Anthropic(base_url=url.removesuffix("/v1"), api_key="secret", max_retries=0), model)


def check_schemas(client: openai.OpenAI, model: str) -> None:
    asked = [{"role": "user", "content": "Describe Oslo."}]
    for temperature in (0, 1.5):
        answer = client.chat.completions.parse(model=model, messages=asked, response_format=Place, max_tokens=300,
                                               temperature=temperature, seed=1)
        assert isinstance(answer.choices[0].message.parsed, Place)
        print("parsed:", answer.choices[0].message.parsed)
    text = ""
    with client.chat.completions.stream(model=model, messages=asked, response_format=Place, max_tokens=300, temperature=0) as stream:
        for event in stream:
            text += event.delta if event.type == "content.delta" else ""
        assert stream.get_final_completion().choices[0].message.parsed == Place.model_validate_json(text)
    whole = client.chat.completions.create(model=model, messages=asked, response_format={"type": "json_object"}, max_tokens=300, temperature=0)
    if whole.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(whole.choices[0].message.content), dict)
    else:  # a small model may say the same over and over
        assert whole.choices[0].message.content.lstrip().startswith("{"), whole
    try:
        client.chat.completions.create(model=model, messages=asked, extra_body={"guided_json": {"not": {}}})
        raise AssertionError("a schema that cannot be enforced was taken")
    except openai.BadRequestError as error:
        assert "'not' cannot be enforced" in str(error), error


def check_calls(client: openai.OpenAI, model: str) -> None:
    tools = [openai.pydantic_function_tool(Weather), {"type": "function", "function": {"name": "now"}}]
    messages = [{"role": "user", "content": "What will the weather be in Oslo for the next 3 days?"}]
    named = {"type": "function", "function": {"name": "Weather"}}
    for choice in ("required", named):
        answer = client.chat.completions.parse(model=model, messages=messages, tools=tools[:1], tool_choice=choice, max_tokens=200,
                                               temperature=0, parallel_tool_calls=False)
        assert answer.choices[0].finish_reason == "tool_calls", answer
        call = answer.choices[0].message.tool_calls[0]
        print("called:", call.function.name, call.function.arguments)
    assert isinstance(call.function.parsed_arguments, Weather)

    name, arguments, ids = "", "", []
    for chunk in client.chat.completions.create(model=model, messages=messages, tools=tools, tool_choice=named, max_tokens=200,
                                                temperature=0, stream=True, parallel_tool_calls=False):
        for part in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
            ids += [part.id] if part.id else []
            name += part.function.name or ""
            arguments += part.function.arguments or ""
    assert (name, len(ids)) == ("Weather", 1) and arguments == call.function.arguments, (name, arguments)

    messages += [answer.choices[0].message.model_dump(exclude_none=True),
                 {"role": "tool", "tool_call_id": call.id, "content": "Snow, -3 degrees."}]
    told = client.chat.completions.create(model=model, messages=messages, tools=tools, max_tokens=60, temperature=0)
    print("told:", repr(told.choices[0].message.content), told.choices[0].message.tool_calls)
    free = client.chat.completions.create(model=model, messages=messages[:1], tools=tools, max_tokens=100, temperature=0)
    print("auto:", repr(free.choices[0].message.content), free.choices[0].message.tool_calls)


def check_responses(client: openai.OpenAI, model: str) -> None:
    tool = {"type": "function", "name": "Weather", "parameters": Weather.model_json_schema()}
    answer = client.responses.create(model=model, input="The weather in Oslo?", tools=[tool, {"type": "web_search"}],
                                     tool_choice="required", max_output_tokens=200, temperature=0)
    calls = [item for item in answer.output if item.type == "function_call"]
    assert calls and Weather.model_validate_json(calls[0].arguments), answer
    parsed = client.responses.parse(model=model, input="Describe Oslo.", text_format=Place, max_output_tokens=300, temperature=0)
    assert isinstance(parsed.output_parsed, Place)
    print("responses:", calls[0].name, calls[0].arguments, parsed.output_parsed)


def check_blocks(client: anthropic.Anthropic, model: str) -> None:
    tool = {"name": "Weather", "description": "The weather of a place.", "input_schema": Weather.model_json_schema()}
    asked = [{"role": "user", "content": "The weather in Oslo?"}]
    with client.messages.stream(model=model, messages=asked, tools=[tool], tool_choice={"type": "any"}, max_tokens=200,
                                extra_body={"temperature": 0}) as stream:
        final = stream.get_final_message()
    blocks = [block for block in final.content if block.type == "tool_use"]
    assert final.stop_reason == "tool_use" and Weather.model_validate(blocks[0].input), final
    print("blocks:", blocks[0].name, blocks[0].input)


if __name__ == "__main__":
    main()
