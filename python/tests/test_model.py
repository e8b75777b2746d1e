"""Models, tokens, templates; errors."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest
from conftest import DATA, LLAMA

import cairn


def test_tells_what_it_is(model: cairn.Model) -> None:
    info = model.info
    assert info.path == str(LLAMA)
    assert info.architecture == "llama"
    assert info.file_bytes == LLAMA.stat().st_size
    assert info.has_chat_template and not info.is_stack
    assert model.threads == 2
    described = model.describe()
    assert described["metadata"]["general.architecture"] == "llama"
    assert described["totals"]["elements"] == info.weights
    memory = model.memory
    assert memory.process > 0 and not memory.elastic
    assert model.context == min(info.context, 4096)
    assert cairn.__version__.count(".") == 2
    assert cairn.devices()[0]["name"] == "cpu"


@pytest.mark.parametrize("text", ["a stone on a stone", "", "h\u00e9 \U0001d400", "a\0b"])
def test_tokens_spell_the_text(model: cairn.Model, text: str) -> None:
    tokens = model.tokenize(text, bos=False)
    assert model.detokenize(tokens, special=True) == text
    assert model.detokenize_bytes(tokens, special=True) == text.encode()
    assert model.tokenize(text.encode(), bos=False) == tokens


def test_bytes_that_are_no_text(model: cairn.Model) -> None:
    tokens = model.tokenize(b"\xff", bos=False)
    assert model.detokenize(tokens) == "\ufffd"
    assert not model.is_end(-1)
    if model.info.eos >= 0:
        assert model.is_end(model.info.eos)


def test_renders_conversations(model: cairn.Model) -> None:
    messages: list[cairn.Message] = [{"role": "system", "content": "s"}, {"role": "user", "content": "\u00fc"}]
    assert model.render(messages) == "[system] s\n[user] \u00fc\n[assistant]"
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert "\n\n# Tools\n\n" in model.render(messages, tools=tools)  # whose template writes no calls
    text = model.render(messages, variables={"mood": "calm", "tools": tools})
    assert text == "[system] s\n[user] \u00fc\ntools: 1\ncalm\n[assistant]"
    assert model.tokenize_messages(messages) == model.tokenize(model.render(messages), bos=False)


def test_errors_are_one_line_with_a_code(model: cairn.Model, tmp_path: Path) -> None:
    with pytest.raises(cairn.Error, match="no-such-model") as error:
        cairn.Model("no-such-model")
    assert error.value.code == "not found"
    assert "\n" not in str(error.value)
    assert isinstance(error.value, RuntimeError)
    with pytest.raises(cairn.Error, match="sampler_golden") as error:
        cairn.Model(DATA / "sampler_golden.json")
    assert error.value.code == "format"
    with pytest.raises(cairn.Error, match="not in .* vocabulary"):
        model.detokenize([1 << 30])
    with pytest.raises(cairn.Error) as error:
        _ = model.stack
    assert error.value.code == "invalid argument"
    with pytest.raises(cairn.Error) as error:
        model.set_memory(1 << 30)
    assert error.value.code == "unsupported"
    with pytest.raises(cairn.Error, match="its memory is fixed"):
        cairn.Model(LLAMA, memory="auto")
    with pytest.raises(cairn.Error, match="template"):
        cairn.Model(LLAMA).render([{"role": "user", "content": "x"}])
    with pytest.raises(ValueError, match="kv: 'f3'"):
        cairn.Model(LLAMA, kv="f3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory: -1"):
        cairn.Model(LLAMA, memory=-1)
    with pytest.raises(ValueError, match="level"):
        cairn.set_log_level("loud")
    with pytest.raises(cairn.Error):
        cairn.Video(LLAMA)


def test_embeds(model: cairn.Model) -> None:
    one = model.embed("a stone")
    assert len(one) == model.info.embedding
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-5)
    assert model.embed(["a stone", "a hill"]) == [one, model.embed("a hill")]
    plain = model.embed("a stone", normalize=False)
    assert [x / math.hypot(*plain) for x in plain] == pytest.approx(one, rel=1e-4, abs=1e-6)
    first = model.embed("a stone", dimensions=8)
    assert first == pytest.approx([x / math.hypot(*one[:8]) for x in one[:8]], rel=1e-4, abs=1e-6)
    tokens = model.tokenize("a stone")
    assert model.embed("a stone", pooling="last") != one
    assert model.embed_tokens(tokens[-1:], pooling="last") == pytest.approx(model.embed_tokens(tokens[-1:], pooling="mean"))
    with pytest.raises(cairn.Error, match="empty"):
        model.embed_tokens([])
    with pytest.raises(ValueError, match="pooling"):
        model.embed("a", pooling="max")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="dimensions"):
        model.embed("a", dimensions=-1)
    with pytest.raises(cairn.Error, match="dimensions"):
        model.embed("a", dimensions=1 << 20)


def test_many_threads_tokenize(model: cairn.Model) -> None:
    expected = model.tokenize("one stone " * 50)
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            if model.tokenize("one stone " * 50) != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_template_is_the_callers() -> None:
    other = cairn.Model(LLAMA, chat_template="{{ messages[0].content }}!")
    assert other.render([{"role": "user", "content": "x"}]) == "x!"


def test_the_device_is_chosen_by_name() -> None:
    names = [device["name"] for device in cairn.devices()]
    assert names[0] == "cpu"
    on_whatever_there_is = cairn.Model(LLAMA, device="auto", threads=1)
    assert on_whatever_there_is.generate("x", max_tokens=2, temperature=0).result().text is not None
    with pytest.raises(cairn.Error, match="device 'tpu': cpu, auto, cuda or cuda:N"):
        cairn.Model(LLAMA, device="tpu")
    with pytest.raises(cairn.Error, match="GPU|libcairn_cuda.so|driver"):
        cairn.Model(LLAMA, device="cuda:77")
