#!/usr/bin/env python3
"""LangChain's models and embeddings for OpenAI's API against `cairn serve`: tests/server/langchain_client.py CAIRN MODEL
Needs `langchain-openai` from PyPI. Ends with status 0 when all went as that package expects."""
import sys

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from running_server import running_server


def main() -> None:
    with running_server(sys.argv[1], sys.argv[2]) as (model, url):
        check(model, dict(model=model, base_url=url, api_key="secret", max_retries=0))


def check(model: str, at: dict) -> None:
    chat = ChatOpenAI(**at, temperature=0, max_tokens=16)
    messages = [SystemMessage("Be brief."), HumanMessage("Count from one to five.")]
    whole = chat.invoke(messages)
    assert whole.content and whole.usage_metadata["output_tokens"] > 0, whole
    assert whole.response_metadata["finish_reason"] in ("stop", "length")
    assert "".join(piece.content for piece in chat.stream(messages)) == whole.content
    print("chat, whole and streamed:", repr(whole.content), whole.usage_metadata)

    # What is read is kept in blocks of 64 tokens.
    longer = [SystemMessage("Be brief. " * 40), *messages[1:]]
    first = chat.invoke(longer)
    again = chat.invoke(longer + [AIMessage(first.content), HumanMessage("And then?")])
    assert again.usage_metadata["input_token_details"]["cache_read"] > 0, again.usage_metadata
    print("second turn:", repr(again.content))
    assert [one.content for one in chat.batch([messages, messages])] == [whole.content] * 2
    likely = chat.bind(logprobs=True, top_logprobs=2).invoke(messages)
    assert len(likely.response_metadata["logprobs"]["content"]) == likely.usage_metadata["output_tokens"]
    newer = ChatOpenAI(**at, temperature=0, max_tokens=16, use_responses_api=True)
    assert newer.invoke(messages).text == whole.content
    assert "".join(piece.text for piece in newer.stream(messages)) == whole.content
    print("by responses: the same")

    text = OpenAI(**at, temperature=0, max_tokens=8)
    print("text:", repr(text.invoke("one two three")))

    # Without the length check it sends texts; with it, ids of OpenAI's tokenizer.
    embeddings = OpenAIEmbeddings(**at, check_embedding_ctx_length=False)
    cat, kitten, engine = embeddings.embed_documents(["A cat sleeps.", "A kitten is sleeping.", "The engine has eight valves."])
    near, far = (sum(x * y for x, y in zip(cat, other)) for other in (kitten, engine))
    assert abs(sum(x * x for x in cat) - 1) < 1e-4 and near > far, (near, far)
    print(f"embeddings of {len(cat)}: {near:.3f} and {far:.3f}")


main()
