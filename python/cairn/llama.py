"""The calls that programs for llama-cpp-python make most, so that changing one import is enough:

>>> from cairn.llama import Llama        # was: from llama_cpp import Llama
>>> llm = Llama(model_path="model.gguf", n_ctx=2048)
>>> llm.create_chat_completion([{"role": "user", "content": "Hello"}])["choices"][0]["message"]["content"]

Names and defaults are those of llama-cpp-python 0.3. What would change an answer and is not there raises NotImplementedError
by its name; what is about llama.cpp's own working (``n_gpu_layers``, ``use_mlock``, …) is passed over. docs/python.md lists both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Union

from . import _core
from ._forms import LlamaGrammar, asked_tools, form_of
from ._model import Model
from ._openai import LogprobsWriter, Writer, plain_messages
from ._stream import Stream

__all__ = ["Llama", "LlamaGrammar"]

Answer = Union[dict[str, Any], Iterator[dict[str, Any]]]

# llama.cpp's numbers of types of the KV cache.
_KV_TYPES = {None: "f16", 1: "f16", 8: "i8", 2: "q4"}
_RANDOM_SEED = 0xFFFFFFFF
# Of the constructor: changes nothing here; changes answers, unless it has one of these values.
_PASSED_OVER = frozenset(
    "n_gpu_layers split_mode main_gpu tensor_split use_mlock n_batch n_ubatch n_threads_batch offload_kqv flash_attn "
    "op_offload swa_full no_perf numa verbose embedding spm_infill logits_all".split()
)
_REFUSED: dict[str, tuple[Any, ...]] = {
    "vocab_only": (False,),
    "kv_overrides": (None,),
    "rope_scaling_type": (-1, None),
    "rope_freq_base": (0.0,),
    "rope_freq_scale": (0.0,),
    "yarn_ext_factor": (-1.0,),
    "attention_type": (-1,),
    "pooling_type": (-1,),
    "lora_base": (None,),
    "lora_path": (None,),
    "lora_scale": (1.0,),
    "chat_handler": (None,),
    "draft_model": (None,),
    "tokenizer": (None,),
}
_SAMPLING_REFUSED: dict[str, tuple[Any, ...]] = {
    "suffix": (None,),
    "typical_p": (1.0,),
    "mirostat_mode": (0,),
    "mirostat_tau": (5.0,),
    "mirostat_eta": (0.1,),
    "tfs_z": (1.0,),
    "stopping_criteria": (None,),
    "logits_processor": (None,),
}


def _refuse(given: Mapping[str, Any], known: Mapping[str, tuple[Any, ...]], where: str) -> None:
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"{where} has no argument {name!r}")
        if value not in known[name]:
            raise NotImplementedError(f"{where}: {name}={value!r} is not there")


class Llama:
    """A model for one text at a time."""

    def __init__(
        self,
        model_path: str | os.PathLike[str],
        *,
        n_ctx: int = 512,
        n_threads: int | None = None,
        seed: int = _RANDOM_SEED,
        last_n_tokens_size: int = 64,
        chat_format: str | None = None,
        chat_template: str | None = None,
        type_k: int | None = None,
        type_v: int | None = None,
        use_mmap: bool | None = None,
        **others: Any,
    ) -> None:
        """n_ctx: 0: what the model was trained for. chat_format: None: the file's template. chat_template: Jinja source instead
        of it; llama-cpp-python has a class for that. use_mmap: as it says there; None: what suits the file's size."""
        _refuse({k: v for k, v in others.items() if k not in _PASSED_OVER}, _REFUSED, "Llama")
        if chat_format is not None:
            raise NotImplementedError("Llama: chat_format: the model's own template is used; chat_template takes another")
        if type_k != type_v or type_k not in _KV_TYPES:
            raise NotImplementedError(f"Llama: type_k={type_k!r}, type_v={type_v!r}: not both None, 1 (F16), 8 or 2")
        self.model_path = os.fspath(model_path)
        kv: Any = _KV_TYPES[type_k]
        self._model: Model | None = Model(
            self.model_path,
            context=n_ctx or _core.Model(self.model_path, "").info()["context"],
            threads=n_threads or 0,
            kv=kv,
            mmap="auto" if use_mmap is None else "on" if use_mmap else "off",
            chat_template=chat_template,
        )
        self._session = self._model.session()
        self._seed = seed
        self._window = last_n_tokens_size

    @property
    def model(self) -> Model:
        """cairn's own."""
        if self._model is None:
            raise ValueError("the model is closed")
        return self._model

    @property
    def metadata(self) -> dict[str, str]:
        """The file's metadata as texts, without arrays."""
        told = self.model.describe()["metadata"]
        return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in told.items() if not isinstance(v, dict)}

    def n_ctx(self) -> int:
        return self.model.context

    def n_embd(self) -> int:
        return self.model.info.embedding

    def n_vocab(self) -> int:
        return self.model.info.vocabulary

    def token_eos(self) -> int:
        return self.model.info.eos

    def token_bos(self) -> int:
        return self.model.info.bos

    def set_seed(self, seed: int) -> None:
        self._seed = seed

    def set_cache(self, cache: Any) -> None:
        """Nothing: what was read last is always kept."""

    def reset(self) -> None:
        """Forgets what was read."""
        self._session.clear()

    def close(self) -> None:
        """Lets go of the model's memory."""
        self._model = None
        del self._session

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        return self.model.tokenize(text, bos=add_bos, special=special)

    def detokenize(self, tokens: Sequence[int], prev_tokens: Sequence[int] | None = None, special: bool = False) -> bytes:
        """prev_tokens: what stands before them, whose bytes are not given."""
        if not prev_tokens:
            return self.model.detokenize_bytes(tokens, special=special)
        before = self.model.detokenize_bytes(prev_tokens, special=special)
        return self.model.detokenize_bytes([*prev_tokens, *tokens], special=special)[len(before) :]

    def embed(
        self, input: str | Sequence[str], normalize: bool = False, truncate: bool = True, return_count: bool = False
    ) -> Any:
        """A vector for a text, a list of them for a list; with return_count, (that, tokens). truncate: texts are cut to the
        context."""
        texts = [input] if isinstance(input, str) else list(input)
        tokens = [self.model.tokenize(text) for text in texts]
        if truncate:
            tokens = [one[: self.model.context] for one in tokens]
        vectors = [self.model.embed_tokens(one, normalize=normalize) for one in tokens]
        told = vectors[0] if isinstance(input, str) else vectors
        return (told, sum(map(len, tokens))) if return_count else told

    def create_embedding(self, input: str | Sequence[str], model: str | None = None) -> dict[str, Any]:
        """OpenAI's dict of embeddings, not normalised, as llama-cpp-python's."""
        vectors, count = self.embed([input] if isinstance(input, str) else input, return_count=True)
        data = [{"object": "embedding", "embedding": vector, "index": i} for i, vector in enumerate(vectors)]
        usage = {"prompt_tokens": count, "total_tokens": count}
        return {"object": "list", "data": data, "model": model or self.model_path, "usage": usage}

    def generate(
        self,
        tokens: Sequence[int],
        top_k: int = 40,
        top_p: float = 0.95,
        min_p: float = 0.05,
        temp: float = 0.8,
        repeat_penalty: float = 1.0,
        reset: bool = True,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        **others: Any,
    ) -> Iterator[int]:
        """Tokens, past the model's end ones, as long as they are asked for. reset: whether the tokens are the whole text; they
        always are, here: what was read of them before is not read again."""
        del reset
        refused = {**_SAMPLING_REFUSED, "grammar": (None,)}
        _refuse({k: v for k, v in others.items() if k != "penalize_nl"}, refused, "generate")
        options = self._options(None, temp, top_p, top_k, min_p, [], None, repeat_penalty)
        options.update(frequency_penalty=frequency_penalty, presence_penalty=presence_penalty, ignore_end=True)
        with self._session.generate(tokens, **options) as stream:
            for token, _ in stream.tokens():
                if token >= 0:
                    yield token

    def create_completion(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = 16,
        temperature: float = 0.8,
        top_p: float = 0.95,
        min_p: float = 0.05,
        logprobs: int | None = None,
        echo: bool = False,
        stop: str | Sequence[str] | None = None,
        frequency_penalty: float = 0.0,
        presence_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        top_k: int = 40,
        stream: bool = False,
        seed: int | None = None,
        model: str | None = None,
        grammar: LlamaGrammar | None = None,
        logit_bias: Mapping[int, float] | None = None,
        **others: Any,
    ) -> Answer:
        """A text that goes on: OpenAI's dict, or with ``stream`` an iterator of its chunks. logprobs: of each token, and of so
        many of the likeliest ones; with ``echo`` of the prompt's too, but for the first."""
        _refuse(others, _SAMPLING_REFUSED, "create_completion")
        if logprobs is False:  # as a chat's has it
            logprobs = None
        tokens = self.model.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
        options = self._options(max_tokens, temperature, top_p, top_k, min_p, stop, seed, repeat_penalty)
        options.update(
            frequency_penalty=frequency_penalty, presence_penalty=presence_penalty, logit_bias=dict(logit_bias or {})
        )
        options.update(logprobs=logprobs, prompt_logprobs=echo and logprobs is not None, **form_of(grammar, None))
        text = prompt if isinstance(prompt, str) else self.model.detokenize(tokens)
        told = None if logprobs is None else LogprobsWriter(self._piece(), False, len(text))
        echoed: Any = {"echoed": text} if echo else {}
        if echo and told is not None:
            alone: Callable[[int], bytes] = lambda token: self.detokenize([token], special=True)
            echoed["echoed_logprobs"] = partial(told.of_prompt, tokens, self.token_bos(), alone)
        writer = Writer(model or self.model_path, False, logprobs=told, **echoed)
        return self._answer(writer, self._session.generate(tokens, **options), stream)

    __call__ = create_completion

    def create_chat_completion(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        functions: Sequence[Mapping[str, Any]] | None = None,
        function_call: str | Mapping[str, Any] | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: str | Mapping[str, Any] | None = None,
        temperature: float = 0.2,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        stream: bool = False,
        stop: str | Sequence[str] | None = None,
        seed: int | None = None,
        response_format: Mapping[str, Any] | None = None,
        max_tokens: int | None = None,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        repeat_penalty: float = 1.0,
        model: str | None = None,
        grammar: LlamaGrammar | None = None,
        logit_bias: Mapping[int, float] | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        **others: Any,
    ) -> Answer:
        """The assistant's next turn: OpenAI's dict, or with ``stream`` an iterator of its chunks. response_format: a type
        "json_object", with or without a "schema", or OpenAI's "json_schema". tools: functions that the answer may call, in the
        way of the model's own template; tool_choice: "auto", "none", "required" or one that is named, whose arguments meet the
        function's schema. functions, function_call: OpenAI's older form of that."""
        _refuse(others, _SAMPLING_REFUSED, "create_chat_completion")
        asked, choice = asked_tools(tools, tool_choice, functions, function_call)
        tokens = self.model.tokenize_messages(plain_messages(messages), tools=None if choice == "none" else asked)
        options = self._options(max_tokens, temperature, top_p, top_k, min_p, stop, seed, repeat_penalty)
        options.update(
            frequency_penalty=frequency_penalty, presence_penalty=presence_penalty, logit_bias=dict(logit_bias or {})
        )
        options.update(logprobs=(top_logprobs or 0) if logprobs else None, **form_of(grammar, response_format))
        named = isinstance(choice, Mapping)  # which is called once
        options.update(tools=asked, tool_choice=choice, parallel_tool_calls=False if named else None)
        told = LogprobsWriter(self._piece(), True, 0) if logprobs else None
        writer = Writer(model or self.model_path, True, logprobs=told, tools=asked is not None)
        return self._answer(writer, self._session.generate(tokens, **options), stream)

    def _piece(self) -> Callable[[int], bytes]:
        """A token's bytes behind other text, where a blank that a tokenizer puts before texts is its own; control tokens have
        their names."""
        before = self.tokenize(b"a", add_bos=False)
        return lambda token: self.detokenize([token], prev_tokens=before, special=True)

    def _options(
        self,
        max_tokens: int | None,
        temperature: float,
        top_p: float,
        top_k: int,
        min_p: float,
        stop: str | Sequence[str] | None,
        seed: int | None,
        repeat_penalty: float,
    ) -> Any:
        chosen = self._seed if seed is None else seed
        return {
            "max_tokens": max_tokens if max_tokens is not None and max_tokens > 0 else None,
            "temperature": max(temperature, 0.0),
            "top_p": min(top_p, 1.0),
            "top_k": max(top_k, 0),
            "min_p": min_p,
            "stop": stop,
            "seed": None if chosen == _RANDOM_SEED or chosen < 0 else chosen,
            "repetition_penalty": repeat_penalty,
            "penalty_window": self._window,
        }

    @staticmethod
    def _answer(writer: Writer, stream: Stream, streamed: bool) -> Answer:
        return writer.chunks(stream) if streamed else writer.whole(stream.result())
