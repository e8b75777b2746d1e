"""Answers: as the program's, whole, in pieces, cut short, by many threads and tasks."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from conftest import LLAMA, TEMPLATE

import cairn

PROMPT = "a stone lies on a stone"


def test_pieces_are_the_programs_text(model: cairn.Model, program: Callable[..., str]) -> None:
    expected = program(PROMPT, 24)
    session = model.session()
    stream = session.generate(PROMPT, max_tokens=24, temperature=0)
    assert "".join(stream) == expected
    result = stream.result()
    assert result.text == expected
    assert len(result.tokens) == 24
    assert result.finish == "length"
    assert result.prompt_tokens == len(model.tokenize(PROMPT))
    assert result.decode_rate > 0
    assert session.cached_tokens == result.prompt_tokens + 23
    assert session.complete(PROMPT, max_tokens=24, temperature=0).cached_tokens == result.prompt_tokens - 1
    session.clear()
    assert session.cached_tokens == 0
    assert model.complete(PROMPT, max_tokens=24, temperature=0).text == expected


def test_sampling_is_the_programs(model: cairn.Model, program: Callable[..., str]) -> None:
    expected = program(
        PROMPT, 16, "--temperature", "1.2", "--seed", "5", "--top-k", "30", "--repeat-penalty", "1.1", "--ignore-end"
    )
    got = model.session().complete(
        PROMPT, max_tokens=16, temperature=1.2, seed=5, top_k=30, repetition_penalty=1.1, ignore_end=True
    )
    assert got.text == expected


def test_tokens_and_their_texts(model: cairn.Model) -> None:
    stream = model.session().generate(PROMPT, max_tokens=12, temperature=0, ignore_end=True)
    events = list(stream.tokens())
    result = stream.result()
    assert [token for token, _ in events if token >= 0] == result.tokens
    assert "".join(text for _, text in events) == result.text


def test_logprobs_of_tokens(model: cairn.Model) -> None:
    prompt = model.tokenize(PROMPT)
    exact = cairn.Model(LLAMA, threads=2, repeatable=True)  # as the answer is written, or read as a prompt
    stream = exact.session().generate(prompt, max_tokens=8, temperature=1.5, seed=3, ignore_end=True, logprobs=400)
    events = list(stream.events())
    result = stream.result()
    assert result.logprobs is not None
    assert result.logprobs == [event.logprobs for event in events if event.token >= 0]
    assert [one.token for one in result.logprobs] == result.tokens
    assert "".join(event.text for event in events) == result.text
    assert all(event.logprobs is None for event in events if event.token < 0)
    for i, one in enumerate(result.logprobs):
        values = [logprob for _, logprob in one.top]
        assert len(one.top) == min(400, model.info.vocabulary) and values == sorted(values, reverse=True)
        assert dict(one.top)[one.token] == one.logprob
        assert math.fsum(map(math.exp, values)) == pytest.approx(1, abs=1e-4)  # all that there are
        best = exact.session().complete(prompt + result.tokens[:i], max_tokens=1, temperature=0, ignore_end=True)
        assert best.tokens == [one.top[0][0]]
    batched = model.complete(prompt, max_tokens=8, temperature=0, logprobs=0)
    assert batched.logprobs is not None
    assert [(one.token, one.top) for one in batched.logprobs] == [(token, []) for token in batched.tokens]
    assert model.complete(prompt, max_tokens=2).logprobs is None


def test_stop_and_bias(model: cairn.Model) -> None:
    session = model.session()
    whole = session.complete(PROMPT, max_tokens=24, temperature=0)
    stop = next(whole.text[i : i + 3] for i in range(4, len(whole.text)) if "\ufffd" not in whole.text[i : i + 3])
    cut = session.complete(PROMPT, max_tokens=24, temperature=0, stop=["no such thing", stop])
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert (cut.finish, cut.stop) == ("stop", stop)
    assert session.complete(PROMPT, max_tokens=24, temperature=0, stop=stop).text == cut.text
    banned = whole.tokens[0]
    other = session.complete(PROMPT, max_tokens=4, temperature=0, logit_bias={banned: float("-inf")})
    assert other.tokens[0] != banned
    assert session.complete(PROMPT, max_tokens=24, temperature=0, speculation="lookup").tokens == whole.tokens


def test_what_cannot_be_is_refused(model: cairn.Model) -> None:
    session = model.session()
    for options, kind, text in [
        ({"temprature": 1}, TypeError, "temprature"),
        ({"max_tokens": "many"}, TypeError, "max_tokens: 'many'"),
        ({"max_tokens": -1}, TypeError, "max_tokens"),
        ({"logprobs": -1}, TypeError, "logprobs: -1"),
        ({"logprobs": "all"}, TypeError, "logprobs: 'all'"),
        ({"speculation": "wild"}, ValueError, "wild"),
        ({"temperature": -1.0}, cairn.Error, "temperature"),
        ({"speculation": "self"}, cairn.Error, "stack"),
    ]:
        with pytest.raises(kind, match=text):
            session.complete(PROMPT, **options)  # type: ignore[arg-type]
    with pytest.raises(cairn.Error) as error:
        session.complete([5] * (model.context + 1))
    assert error.value.code == "invalid argument"
    assert str(model.context) in str(error.value)
    with pytest.raises(cairn.Error):
        model.complete([-3])
    with pytest.raises(TypeError):
        session.complete(["a"])  # type: ignore[list-item]
    assert session.complete(PROMPT, max_tokens=2, temperature=None).tokens


def test_cancel_close_and_forgetting(model: cairn.Model) -> None:
    session = model.session()
    codes, finishes = set(), set()
    for _ in range(50):  # the small model may be ready before this thread comes to it
        stream = session.generate(PROMPT, max_tokens=100, ignore_end=True)
        next(stream)
        try:
            session.clear()
        except cairn.Error as error:
            codes.add(error.code)
        stream.cancel()
        finishes.add(stream.result().finish)
    assert codes == {"busy"}
    assert "cancelled" in finishes
    with session.generate(PROMPT, max_tokens=100, ignore_end=True) as other:
        next(other)
    with pytest.raises(ValueError, match="closed"):
        next(other)
    forgotten = session.generate(PROMPT, max_tokens=100, ignore_end=True)
    del forgotten
    gc.collect()
    assert session.complete(PROMPT, max_tokens=1).tokens  # nobody uses the session any more


def test_chat_goes_on(model: cairn.Model) -> None:
    chat = model.session().chat("be brief")
    first = chat.send("hello", max_tokens=6, temperature=0, ignore_end=True)
    text = "".join(first)
    assert chat.messages == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": text},
    ]
    assert text == "".join(chat.regenerate(max_tokens=6, temperature=0, ignore_end=True))
    saved = chat.save()
    other = model.session().chat()
    other.restore(saved)
    assert other.messages == chat.messages
    other.restore([{"role": "user", "content": "x"}])
    assert other.messages == [{"role": "user", "content": "x"}]
    messages: list[cairn.Message] = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    assert model.chat(messages, max_tokens=6, temperature=0, ignore_end=True).result().text == text
    asked = model.render([{"role": "user", "content": "hi"}])
    assert model.chat("hi", max_tokens=4, temperature=0).result().text == (
        model.session().complete(model.tokenize(asked, bos=False), max_tokens=4, temperature=0).text
    )


def test_many_threads_at_a_time(model: cairn.Model) -> None:
    prompts = [f"{PROMPT} {i}" for i in range(6)]
    expected = [model.session().complete(p, max_tokens=12, temperature=0).text for p in prompts]
    batch = model.batch(sequences=4)
    got: dict[int, str] = {}

    def work(i: int) -> None:
        got[i] = "".join(batch.generate(prompts[i], max_tokens=12, temperature=0))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[i] for i in range(len(prompts))] == expected
    assert batch.status()["tokens"] == 12 * len(prompts)


def test_python_goes_on_meanwhile(model: cairn.Model) -> None:
    """The lock is free while an answer is waited for."""
    counted = 0
    over = threading.Event()

    def count() -> None:
        nonlocal counted
        while not over.is_set():
            counted += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    thread.start()
    session = model.session()
    for _ in range(40):
        session.complete(PROMPT, max_tokens=100, ignore_end=True)
    over.set()
    thread.join()
    assert counted > 150  # with the lock held, one or two an answer


def test_tasks(model: cairn.Model) -> None:
    prompts = [f"{i} {PROMPT}" for i in range(5)]
    # Long enough for the loop to run beside them, however fast they are.
    expected = [model.session().complete(p, max_tokens=70, temperature=0, ignore_end=True).text for p in prompts]

    async def one(prompt: str) -> str:
        return "".join([text async for text in model.generate(prompt, max_tokens=70, temperature=0, ignore_end=True)])

    async def main() -> list[str]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        texts = await asyncio.gather(*[one(p) for p in prompts])
        ticking.cancel()
        assert ticks > 5
        result = await model.session().generate(prompts[0], max_tokens=70, temperature=0, ignore_end=True).aresult()
        assert result.text == expected[0]
        with pytest.raises(cairn.Error):
            await model.session().generate([-1]).aresult()
        return list(texts)

    assert asyncio.run(main()) == expected


def test_a_task_that_is_cancelled_leaves_nothing(model: cairn.Model) -> None:
    session = model.session()

    async def main() -> None:
        async def read() -> None:
            async for _ in session.generate(PROMPT, max_tokens=120, ignore_end=True):
                await asyncio.sleep(0.01)

        task = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    gc.collect()
    assert session.complete(PROMPT, max_tokens=1).tokens


def _child(code: str) -> subprocess.Popen[str]:
    head = f"import cairn\nmodel = cairn.Model({str(LLAMA)!r}, chat_template={TEMPLATE!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


def test_ctrl_c_is_heard_while_waiting() -> None:
    code = (
        "batch = model.batch()\n"
        "print('begun', flush=True)\n"
        "for _ in range(100000): batch.complete('a', max_tokens=100, ignore_end=True)\n"
    )
    child = _child(code)
    assert child.stdout is not None and child.stdout.readline() == "begun\n"
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert child.returncode in (-signal.SIGINT, 130)


def test_the_end_of_python_ends_answers() -> None:
    child = _child("streams = [model.generate('a', max_tokens=100, ignore_end=True) for _ in range(9)]\nnext(streams[0])\n")
    _, errors = child.communicate(timeout=20)
    assert (child.returncode, errors) == (0, "")
