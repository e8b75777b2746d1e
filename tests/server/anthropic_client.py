#!/usr/bin/env python3
"""The real client of Anthropic's API against `cairn serve`: tests/server/anthropic_client.py CAIRN MODEL
Needs `anthropic` from PyPI. Ends with status 0 when all went as that client expects."""
import sys

import anthropic
from running_server import running_server


def main() -> None:
    with running_server(sys.argv[1], sys.argv[2]) as (model, url):
        check(model, url.removesuffix("/v1"))


def check(model: str, url: str) -> None:
    client = anthropic.Anthropic(base_url=url, api_key="secret", max_retries=0)
    ask = dict(model=model, max_tokens=24, extra_body={"temperature": 0}, system="Be brief.",
               messages=[{"role": "user", "content": "Count from one to five."}])
    counted = client.messages.count_tokens(model=model, system=ask["system"], messages=ask["messages"])

    whole = client.messages.create(**ask)
    assert whole.content[0].type == "text" and whole.stop_reason in ("end_turn", "max_tokens")
    assert whole.usage.input_tokens + whole.usage.cache_read_input_tokens == counted.input_tokens
    print("whole:", whole.content[0].text, whole.usage.to_dict())

    with client.messages.stream(**ask) as stream:
        pieces = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert pieces == whole.content[0].text == message.content[0].text, pieces
    assert message.stop_reason == whole.stop_reason
    assert message.usage.output_tokens == whole.usage.output_tokens
    kinds = [event.type for event in client.messages.create(**ask, stream=True)]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop", kinds
    print("streamed: the same;", sorted(set(kinds)))

    said = whole.content[0].text
    stop = said[len(said) // 2:len(said) // 2 + 3]
    stopped = client.messages.create(**ask, stop_sequences=["never said", stop])
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == stop, stopped
    assert stopped.content[0].text == said[:said.index(stop)], (stopped, said)
    blocks = [{"role": "user", "content": [{"type": "text", "text": "Say"}, {"type": "text", "text": "yes"}]},
              {"role": "assistant", "content": "Y"}]
    print("begun with Y:", client.messages.create(**ask | {"messages": blocks}).content)

    refusals = {
        anthropic.NotFoundError: ask | {"model": "other"},
        anthropic.BadRequestError: ask | {"messages": [{"role": "user", "content": "word " * 2000}]},
    }
    for kind, body in refusals.items():
        try:
            client.messages.create(**body)
            raise SystemExit(f"{kind} was not raised")
        except kind as error:
            print("refused:", error.status_code, error.body["error"])
    try:
        anthropic.Anthropic(base_url=url, api_key="wrong", max_retries=0).messages.create(**ask)
        raise SystemExit("a wrong key was taken")
    except anthropic.AuthenticationError as error:
        print("refused:", error.status_code, error.body["error"])


main()
