"""What a program for llama-cpp-python calls, with one import changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import LLAMA, TEMPLATE

import cairn
from cairn.llama import Llama

MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def llm() -> Llama:
    return Llama(
        model_path=str(LLAMA), n_ctx=128, n_threads=2, n_gpu_layers=-1, seed=7, verbose=False, chat_template=TEMPLATE
    )


def _dict(answer: Any) -> dict[str, Any]:
    assert isinstance(answer, dict)
    return answer


def test_a_text(llm: Llama, model: cairn.Model) -> None:
    expected = model.session().complete("a stone", max_tokens=16, temperature=0)
    whole = _dict(llm("a stone", temperature=0))
    assert whole["object"] == "text_completion"
    assert whole["id"].startswith("cmpl-")
    assert whole["model"] == str(LLAMA)
    assert whole["choices"] == [
        {"text": expected.text, "index": 0, "logprobs": None, "finish_reason": expected.finish}
    ]
    prompt = len(llm.tokenize(b"a stone"))
    assert whole["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": len(expected.tokens),
        "total_tokens": prompt + len(expected.tokens),
    }
    chunks: list[Any] = list(llm.create_completion("a stone", temperature=0, stream=True))
    assert all(chunk["object"] == "text_completion" for chunk in chunks)
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == expected.text
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["length"]
    echoed = _dict(llm("a stone", temperature=0, echo=True, model="mine"))
    assert (echoed["choices"][0]["text"], echoed["model"]) == ("a stone" + expected.text, "mine")
    assert _dict(llm(llm.tokenize(b"a stone"), temperature=0))["choices"] == whole["choices"]


def test_a_chat(llm: Llama, model: cairn.Model) -> None:
    expected = model.chat([{"role": "user", "content": "hello"}], max_tokens=8, temperature=0).result()
    whole = _dict(llm.create_chat_completion(MESSAGES, max_tokens=8, temperature=0))
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": expected.text}
    chunks: list[Any] = list(llm.create_chat_completion(MESSAGES, max_tokens=8, temperature=0, stream=True))
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant"}
    assert deltas[-1] == {}
    assert "".join(delta.get("content", "") for delta in deltas) == expected.text
    parts = [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}]
    assert _dict(llm.create_chat_completion(parts, max_tokens=8, temperature=0))["choices"] == whole["choices"]


def test_seeds_and_stops(llm: Llama) -> None:
    def sampled(**options: Any) -> Any:
        llm.reset()  # a prompt that is partly read already may be rounded otherwise
        return _dict(llm("a stone", temperature=1.5, max_tokens=12, **options))["choices"]

    first = sampled()
    assert sampled() == first
    assert sampled(seed=7) == first
    assert sampled(seed=8) != first
    text = _dict(llm("a stone", temperature=0, max_tokens=24))["choices"][0]["text"]
    stop = next(text[i : i + 3] for i in range(3, len(text)) if "\ufffd" not in text[i : i + 3])
    cut = _dict(llm("a stone", temperature=0, max_tokens=24, stop=[stop]))["choices"][0]
    assert (cut["text"], cut["finish_reason"]) == (text[: text.index(stop)], "stop")
    until_full = _dict(llm("a stone", max_tokens=None, temperature=0))["usage"]
    assert until_full["completion_tokens"] > 16


def test_logprobs(llm: Llama, model: cairn.Model, served: Callable[[str, dict[str, Any]], Any]) -> None:
    """As the server's, which names tokens that are no whole characters otherwise."""
    common: dict[str, Any] = {"max_tokens": 12, "temperature": 0}
    theirs = served("completions", {"prompt": "a stone", "logprobs": 3, **common})["choices"][0]["logprobs"]
    llm.reset()
    ours = _dict(llm("a stone", logprobs=3, **common))["choices"][0]["logprobs"]
    assert ours["token_logprobs"] == pytest.approx(theirs["token_logprobs"], abs=1e-4)
    assert len(ours["tokens"]) == 12
    for name, other, top, other_top in zip(ours["tokens"], theirs["tokens"], ours["top_logprobs"], theirs["top_logprobs"]):
        if not other.startswith("bytes:"):
            assert name == other
        whole = {key: value for key, value in other_top.items() if not key.startswith("bytes:")}
        assert {key: top[key] for key in whole} == pytest.approx(whole, abs=1e-4)
    llm.reset()
    chunks: list[Any] = list(llm("a stone", logprobs=3, stream=True, **common))
    pieces = [chunk["choices"][0]["logprobs"] for chunk in chunks if chunk["choices"][0]["logprobs"]]
    for field in ours:
        assert [value for piece in pieces for value in piece[field]] == ours[field]
    llm.reset()
    plain = _dict(llm("a stone", **common))["choices"][0]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == plain["text"]
    assert plain["logprobs"] is None
    for name, offset in zip(ours["tokens"], ours["text_offset"]):
        assert ("a stone" + plain["text"])[offset:].startswith(name)
    assert ours["text_offset"][0] == len("a stone")


def test_echoed_logprobs(llm: Llama, model: cairn.Model, served: Callable[[str, dict[str, Any]], Any]) -> None:
    """As answers to the prompt's beginnings have them, and as the server's."""
    prompt = "a stone lies on h\u00e9r stones"
    tokens = llm.tokenize(prompt.encode())
    written = [token for token in tokens if token != llm.token_bos()]
    common: dict[str, Any] = {"max_tokens": 3, "temperature": 0, "logprobs": 3, "echo": True}
    llm.reset()
    whole = _dict(llm(prompt, **common))["choices"][0]
    told = whole["logprobs"]
    assert whole["text"].startswith(prompt)
    assert {len(values) for values in told.values()} == {len(written) + 3}
    assert told["token_logprobs"][0] is told["top_logprobs"][0] is None
    for i in range(1, len(written)):
        before = tokens[: len(tokens) - len(written) + i]
        (one,) = model.session().complete(before, max_tokens=1, temperature=0, logprobs=model.info.vocabulary).logprobs or []
        # Products have 8-bit inputs, whose rounding differs with the pieces that the prompt is read in.
        assert told["token_logprobs"][i] == pytest.approx(dict(one.top)[written[i]], abs=0.3)
        assert told["tokens"][i] in told["top_logprobs"][i]
    for name, offset in zip(told["tokens"], told["text_offset"]):
        assert whole["text"][offset:].startswith(name)
    llm.reset()
    answers: list[Any] = list(llm(prompt, stream=True, **common))
    chunks = [answer["choices"][0] for answer in answers]
    assert chunks[0]["text"] == prompt
    assert len(chunks[0]["logprobs"]["tokens"]) == len(written)
    for field, values in told.items():
        assert [one for chunk in chunks if chunk["logprobs"] for one in chunk["logprobs"][field]] == values
    theirs = served("completions", {"prompt": prompt, **common})["choices"][0]["logprobs"]["token_logprobs"]
    assert told["token_logprobs"][1:] == pytest.approx(theirs[-len(told["tokens"]) + 1 :], abs=1e-4)
    alone = _dict(llm([written[0]], max_tokens=1, temperature=0, logprobs=1, echo=True))["choices"][0]["logprobs"]
    assert (len(alone["tokens"]), alone["token_logprobs"][0]) == (2, None)


def test_a_chats_logprobs(llm: Llama, served: Callable[[str, dict[str, Any]], Any]) -> None:
    common: dict[str, Any] = {"max_tokens": 12, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    theirs = served("chat/completions", {"messages": MESSAGES, **common})["choices"][0]["logprobs"]["content"]
    llm.reset()
    ours = _dict(llm.create_chat_completion(MESSAGES, **common))["choices"][0]["logprobs"]
    assert ours["refusal"] is None
    assert [one["bytes"] for one in ours["content"]] == [one["bytes"] for one in theirs]
    for one, other in zip(ours["content"], theirs):
        assert one["logprob"] == pytest.approx(other["logprob"], abs=1e-4)
        assert [top["bytes"] for top in one["top_logprobs"]] == [top["bytes"] for top in other["top_logprobs"]]
    llm.reset()
    chunks: list[Any] = list(llm.create_chat_completion(MESSAGES, stream=True, **common))
    told = [chunk["choices"][0]["logprobs"]["content"] for chunk in chunks if chunk["choices"][0]["logprobs"]]
    assert [one for content in told for one in content] == ours["content"]
    alone = _dict(llm.create_chat_completion(MESSAGES, max_tokens=3, temperature=0, logprobs=True))["choices"][0]["logprobs"]
    assert [one["top_logprobs"][0]["logprob"] for one in alone["content"]] == [one["logprob"] for one in alone["content"]]
    assert _dict(llm.create_chat_completion(MESSAGES, max_tokens=3, top_logprobs=2))["choices"][0]["logprobs"] is None


def test_tokens_and_sizes(llm: Llama, model: cairn.Model) -> None:
    tokens = llm.tokenize("h\u00e9 stones".encode(), add_bos=False)
    assert tokens == model.tokenize("h\u00e9 stones", bos=False)
    assert llm.detokenize(tokens) == "h\u00e9 stones".encode()
    assert llm.detokenize(tokens[2:], prev_tokens=tokens[:2]) == "h\u00e9 stones".encode()[len(llm.detokenize(tokens[:2])) :]
    assert llm.n_ctx() == 128
    assert llm.n_vocab() == model.info.vocabulary
    assert llm.n_embd() == model.info.embedding
    assert (llm.token_bos(), llm.token_eos()) == (model.info.bos, model.info.eos)
    assert llm.metadata["general.architecture"] == "llama"
    got = []
    for token in llm.generate(llm.tokenize(b"a stone"), temp=0):
        got.append(token)
        if len(got) == 5:
            break
    assert got == model.session().complete("a stone", max_tokens=5, temperature=0, ignore_end=True).tokens
    llm.reset()


def test_embeddings(llm: Llama, model: cairn.Model) -> None:
    told = llm.create_embedding(["a stone", "two stones"])
    assert [one["index"] for one in told["data"]] == [0, 1]
    assert told["data"][0]["embedding"] == llm.embed("a stone") == model.embed("a stone", normalize=False)
    count = len(llm.tokenize(b"a stone")) + len(llm.tokenize(b"two stones"))
    assert told["usage"] == {"prompt_tokens": count, "total_tokens": count}
    assert len(llm.embed("stone " * 500)) == llm.n_embd()
    with pytest.raises(cairn.Error):
        llm.embed("stone " * 500, truncate=False)


def test_what_is_not_there_is_refused(llm: Llama) -> None:
    refused: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (lambda: llm("a", logprobs=-3), TypeError, "logprobs: -3"),
        (lambda: llm("a", mirostat_mode=2), NotImplementedError, "mirostat_mode=2"),
        (lambda: llm("a", max_tokns=3), TypeError, "max_tokns"),
        (lambda: llm.create_chat_completion([{"role": "user", "content": [{"type": "image_url"}]}]), NotImplementedError, "no text"),
        (lambda: Llama(str(LLAMA), lora_path="x"), NotImplementedError, "lora_path"),
        (lambda: Llama(str(LLAMA), n_contexts=3), TypeError, "n_contexts"),
        (lambda: Llama(str(LLAMA), chat_format="chatml"), NotImplementedError, "chat_format"),
        (lambda: Llama(str(LLAMA), type_k=8), NotImplementedError, "type_v"),
        (lambda: Llama("no-such-model"), cairn.Error, "no-such-model"),
        (lambda: llm([1] * 200), cairn.Error, "128"),
    ]
    for call, kind, text in refused:
        with pytest.raises(kind, match=text):
            call()
    other = Llama(str(LLAMA), n_ctx=0, type_k=8, type_v=8)
    assert other.n_ctx() == other.model.info.context
    other.close()
    with pytest.raises(ValueError, match="closed"):
        other.n_ctx()
