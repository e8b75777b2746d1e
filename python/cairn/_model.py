"""Models."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from . import _core
from ._session import Batch, Session
from ._stream import Stream
from ._types import Memory, Message, ModelInfo, Options, Pooling, Prompt, Result, StackInfo

if TYPE_CHECKING:
    from typing_extensions import Unpack

_KV = {"f16": 0, "i8": 1, "q4": 2}
_WEIGHTS = {"auto": 0, "on": 1, "off": 2}
_PRECISION = {"standard": 0, "f32": 1}
_POOLING = {"mean": 1, "last": 2, "first": 3}


def _choice(name: str, value: str, values: Mapping[str, int]) -> int:
    if value not in values:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(values)}")
    return values[value]


def _budget(memory: int | Literal["auto"] | None) -> int:
    if memory == "auto":
        return _core.MEMORY_AUTO
    if memory is None:
        return 0
    if not isinstance(memory, int) or memory <= 0:
        raise ValueError(f"memory: {memory!r} is no number of bytes, nor 'auto'")
    return memory


class Model:
    """A model file with an engine that runs it, for any number of threads."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        context: int = 0,
        threads: int = 0,
        kv: Literal["f16", "i8", "q4"] = "f16",
        mmap: Literal["auto", "on", "off"] = "auto",
        memory: int | Literal["auto"] | None = None,
        precision: Literal["standard", "f32"] = "standard",
        repeatable: bool = False,
        chat_template: str | None = None,
        share_threads: Model | None = None,
        device: str = "cpu",
        device_memory: int | Literal["auto"] | None = None,
    ) -> None:
        """path: a GGUF file's, or the name of a model that ``cairn pull`` has fetched.
        context: most tokens of a text; 0: what it was trained for, at most 4,096.
        threads: 0: as many as usable processors.
        kv: the numbers of the KV cache.
        mmap: whether weights are read from the file's pages, or copied to memory of this process, which is faster and cannot
            be paged out; "auto" copies files of 16 MiB up to half of the free memory.
        memory: of a stack: most bytes of resident memory of this process, or "auto": what the system can spare.
        precision: of products: with 8-bit inputs, or all in float.
        repeatable: answers do not depend on what was read before, to the bit; several times slower.
        chat_template: Jinja source to use instead of the file's.
        share_threads: a model whose threads this one uses, as a draft should.
        device: "cpu"; "cuda" or "cuda:1", a GPU, with the CPU behind it where that fails; "auto": a GPU where there is one
            that can, else the CPU.
        device_memory: most bytes of the GPU's memory, or "auto": what is free there; a stack grows and shrinks to it.

        Raises ``cairn.Error``."""
        budget = _budget(memory)
        self._model: _core.Model = _core.Model(os.fspath(path), chat_template or "")
        self._engine: _core.Engine = _core.Engine(
            self._model,
            context,
            threads,
            _choice("precision", precision, _PRECISION),
            repeatable,
            _choice("kv", kv, _KV),
            _choice("mmap", mmap, _WEIGHTS),
            budget,
            None if share_threads is None else share_threads._engine,
            device,
            _budget(device_memory),
        )
        self._lock = threading.Lock()
        self._batch: Batch | None = None

    def __repr__(self) -> str:
        return f"cairn.Model({self.info.path!r}, context={self.context})"

    @property
    def info(self) -> ModelInfo:
        """What is in the file."""
        return ModelInfo(**self._model.info())

    @property
    def stack(self) -> StackInfo:
        """What a stack's file holds. Raises ``cairn.Error`` where it is none."""
        return StackInfo(**self._model.stack())

    @property
    def context(self) -> int:
        """Most tokens of a text, the answer's among them."""
        return self._engine.context()

    @property
    def threads(self) -> int:
        """That compute."""
        return self._engine.threads()

    def describe(self) -> dict[str, Any]:
        """Metadata and tensors, as ``cairn inspect --json`` prints them."""
        told: dict[str, Any] = json.loads(self._model.describe())
        return told

    # Tokens

    def tokenize(self, text: str | bytes, *, bos: bool = True, eos: bool = False, special: bool = True) -> list[int]:
        """A text's tokens. bos, eos: where the model's metadata asks for them; special: control tokens in the text are taken
        for what they are."""
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        return self._model.tokenize(data, bos, eos, special)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """Their text; what is no whole character becomes U+FFFD. special: control tokens give their text."""
        return self.detokenize_bytes(tokens, special=special).decode("utf-8", "replace")

    def detokenize_bytes(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """Their bytes, which may begin or end within a character."""
        return self._model.detokenize(list(tokens), special)

    def is_end(self, token: int) -> bool:
        """Whether it ends answers."""
        return self._model.is_end(token)

    def render(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        sanitize: bool = False,
    ) -> str:
        """A conversation as the chat template writes it, up to where the assistant's turn begins. tools: functions as OpenAI's
        API has them, told as the template tells of such, or in the system message where it knows none. variables: more for the
        template, such as ``{"enable_thinking": False}``."""
        return self._model.render(json.dumps(list(messages)), _json(variables), sanitize, _json(tools and list(tools)))

    def tokenize_messages(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Any] | None = None,
        variables: Mapping[str, Any] | None = None,
        sanitize: bool = False,
    ) -> list[int]:
        """The tokens of what ``render`` gives."""
        return self._model.tokenize_messages(
            json.dumps(list(messages)), _json(variables), sanitize, _json(tools and list(tools))
        )

    # Answers

    def session(self, *, draft: Model | None = None) -> Session:
        """One text at a time, which is remembered."""
        return Session(self, draft=draft)

    def batch(self, **settings: Any) -> Batch:
        """Many texts at a time: ``cairn.Batch``, with its settings."""
        return Batch(self, **settings)

    def _shared(self) -> Batch:
        with self._lock:
            if self._batch is None:
                self._batch = Batch(self)
            return self._batch

    def generate(self, prompt: Prompt, **options: Unpack[Options]) -> Stream:
        """Continues a prompt, piece by piece. Answers of several threads or tasks are made at a time, by a batch of the model's own."""
        return self._shared().generate(prompt, **options)

    def complete(self, prompt: Prompt, **options: Unpack[Options]) -> Result:
        """The whole continuation of a prompt."""
        return self.generate(prompt, **options).result()

    def chat(
        self,
        messages: str | Sequence[Message],
        *,
        variables: Mapping[str, Any] | None = None,
        **options: Unpack[Options],
    ) -> Stream:
        """The assistant's next turn in a conversation: messages, or what a user asks. Of a conversation that goes on, what was
        read before is not read again. tools: functions that it may call, unless ``tool_choice`` is "none"; the result has
        the calls."""
        turns: Sequence[Message] = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        tools = None if options.get("tool_choice") == "none" else options.get("tools")
        return self._shared().generate(self.tokenize_messages(turns, tools=tools, variables=variables), **options)

    # Embeddings

    @overload
    def embed(  # type: ignore[overload-overlap]  # a str is a sequence of them, but comes first
        self, text: str, *, pooling: Pooling | None = None, dimensions: int = 0, normalize: bool = True
    ) -> list[float]: ...
    @overload
    def embed(
        self, text: Sequence[str], *, pooling: Pooling | None = None, dimensions: int = 0, normalize: bool = True
    ) -> list[list[float]]: ...
    def embed(
        self,
        text: str | Sequence[str],
        *,
        pooling: Pooling | None = None,
        dimensions: int = 0,
        normalize: bool = True,
    ) -> list[float] | list[list[float]]:
        """A text as one vector, or several texts. pooling: of the tokens' hidden states by "mean", "first" or "last"; None: as the file
        asks, the mean if it does not say. dimensions: the first so many; 0: all. normalize: of length 1."""
        if isinstance(text, str):
            return self.embed_tokens(self.tokenize(text), pooling=pooling, dimensions=dimensions, normalize=normalize)
        return [self.embed(one, pooling=pooling, dimensions=dimensions, normalize=normalize) for one in text]

    def embed_tokens(
        self, tokens: Sequence[int], *, pooling: Pooling | None = None, dimensions: int = 0, normalize: bool = True
    ) -> list[float]:
        """The same of tokens."""
        way = 0 if pooling is None else _choice("pooling", pooling, _POOLING)
        if dimensions < 0:
            raise ValueError(f"dimensions: {dimensions} is less than 0")
        return self._engine.embed(list(tokens), way, dimensions, normalize)

    # Memory

    @property
    def memory(self) -> Memory:
        """What it takes now."""
        return Memory(**self._engine.memory())

    def set_memory(self, memory: int | Literal["auto"] | None) -> None:
        """Lets a stack's weights grow and shrink so that the process keeps within so many bytes, at any time. None: no limit."""
        self._engine.set_memory(_budget(memory))


def _json(given: Any) -> str:
    return json.dumps(given) if given else ""
