#!/usr/bin/env python3
"""The real client of OpenAI's API against `cairn serve`: tests/server/openai_client.py CAIRN MODEL
Needs `openai` from PyPI. Ends with status 0 when all went as that client expects."""
import sys

import openai
from running_server import running_server


def main() -> None:
    with running_server(sys.argv[1], sys.argv[2]) as (model, url):
        check(model, url)


def check(model: str, url: str) -> None:
    client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0)
    assert [one.id for one in client.models.list()] == [model]
    messages = [{"role": "user", "content": "Count from one to five."}]

    whole = client.chat.completions.create(model=model, messages=messages, max_completion_tokens=64, temperature=0)
    text = whole.choices[0].message.content
    assert text and whole.choices[0].finish_reason in ("stop", "length")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    print("whole:", repr(text), whole.usage.to_dict())

    pieces, usage, reasons = "", None, []
    for chunk in client.chat.completions.create(model=model, messages=messages, max_completion_tokens=64, temperature=0,
                                                stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces += choice.delta.content or ""
            reasons += [choice.finish_reason] if choice.finish_reason else []
    assert pieces == text, pieces
    assert reasons == [whole.choices[0].finish_reason]
    assert usage.completion_tokens == whole.usage.completion_tokens
    print("streamed: the same;", usage.to_dict())

    several = client.chat.completions.create(model=model, messages=messages, n=3, seed=5, max_tokens=8, temperature=1)
    again = client.chat.completions.create(model=model, messages=messages, n=3, seed=5, max_tokens=8, temperature=1)
    assert [c.index for c in several.choices] == [0, 1, 2]
    assert [c.message.content for c in several.choices] == [c.message.content for c in again.choices]
    print("three:", [c.message.content for c in several.choices])

    plain = client.completions.create(model=model, prompt="one two three", max_tokens=8, temperature=0, stop=["\n\n"])
    assert "".join(c.choices[0].text for c in client.completions.create(
        model=model, prompt="one two three", max_tokens=8, temperature=0, stop=["\n\n"], stream=True)
    ) == plain.choices[0].text
    print("text:", repr(plain.choices[0].text))

    likely = client.chat.completions.create(model=model, messages=messages, max_tokens=4, temperature=1.5, seed=1,
                                            logprobs=True, top_logprobs=3)
    assert "".join(one.token for one in likely.choices[0].logprobs.content) == likely.choices[0].message.content
    assert all(len(one.top_logprobs) == 3 and one.logprob <= 0 for one in likely.choices[0].logprobs.content)
    written = client.completions.create(model=model, prompt="one two three", max_tokens=3, temperature=0, logprobs=1).choices[0]
    longer = "one two three" + written.text
    echoed = client.completions.create(model=model, prompt=longer, max_tokens=0, echo=True, logprobs=1)
    known = echoed.choices[0].logprobs
    assert echoed.choices[0].text == longer and known.token_logprobs[0] is None
    # What was likely when it was written is when it is read, but for rounding.
    assert known.tokens[-3:] == written.logprobs.tokens, (known, written)
    for read, wrote in zip(known.token_logprobs[-3:], written.logprobs.token_logprobs):
        assert abs(read - wrote) < 0.3, (known, written)
    print("logprobs:", [(one.token, one.logprob) for one in likely.choices[0].logprobs.content], known.token_logprobs)

    response = client.responses.create(model=model, input=messages, temperature=0, max_output_tokens=64)
    assert response.output_text == text and response.usage.output_tokens == whole.usage.completion_tokens, response
    with client.responses.stream(model=model, input="Count from one to five.", temperature=0, max_output_tokens=64) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text == text
    counted = client.responses.input_tokens.count(model=model, input=messages)
    assert counted.input_tokens == whole.usage.prompt_tokens
    print("responses: the same;", sorted(set(kinds)))

    vectors = {encoding: client.embeddings.create(model=model, input=["one two", "three"], **({} if encoding is None else dict(
        encoding_format=encoding))) for encoding in (None, "float", "base64")}
    floats = vectors["float"].data[1].embedding
    assert abs(sum(x * x for x in floats) - 1) < 1e-4
    assert all(abs(x - y) < 1e-6 for x, y in zip(floats, vectors[None].data[1].embedding))  # base64 by default
    assert isinstance(vectors["base64"].data[1].embedding, str)
    cut = client.embeddings.create(model=model, input="three", dimensions=16).data[0].embedding
    ratio = cut[0] / floats[0]
    assert len(cut) == 16 and all(abs(x * ratio - y) < 1e-4 for x, y in zip(floats, cut))
    print("embeddings:", len(floats), vectors["float"].usage.to_dict())

    refusals = {
        openai.NotFoundError: dict(model="other", messages=messages),
        openai.BadRequestError: dict(model=model, messages=[{"role": "user", "content": "word " * 2000}]),
    }
    for kind, body in refusals.items():
        try:
            client.chat.completions.create(**body)
            raise SystemExit(f"{body['model']} was not refused")
        except kind as error:
            print("refused:", error.status_code, error.code, error.param, error.message)
    try:
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0).models.list()
        raise SystemExit("a wrong key was taken")
    except openai.AuthenticationError as error:
        print("refused:", error.status_code, error.code)

    # Leaves in the middle; the server goes on.
    stream = client.chat.completions.create(model=model, messages=messages, max_tokens=400, stream=True)
    next(iter(stream))
    stream.close()
    assert client.chat.completions.create(model=model, messages=messages, max_tokens=1).choices
    print("left in the middle; the server goes on")


main()
