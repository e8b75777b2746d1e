"""What calls take and give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union

if TYPE_CHECKING:
    from typing_extensions import NotRequired

#: A prompt: a text, or its tokens.
Prompt = Union[str, Sequence[int]]
Finish = Literal["stop", "length", "cancelled"]
Pooling = Literal["mean", "first", "last"]
Speculation = Literal["none", "lookup", "draft", "self", "auto"]
PieceKind = Literal["text", "reasoning", "call", "arguments"]


class Message(TypedDict):
    """One turn of a conversation. A template may know more keys."""

    role: str
    content: str | None  #: None: an assistant's that only calls
    name: NotRequired[str]
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[Any]
    tool_call_id: NotRequired[str]


class Options(TypedDict, total=False):
    """How an answer is made; None, or what is left out, is what cairn does usually (docs/session.md)."""

    max_tokens: int | None  #: until the context is full
    temperature: float | None  #: 0.8; 0 takes the most likely token
    top_k: int | None  #: 40; 0: all
    top_p: float | None  #: 0.95
    min_p: float | None  #: 0.05
    repetition_penalty: float | None  #: 1
    frequency_penalty: float | None  #: 0
    presence_penalty: float | None  #: 0
    penalty_window: int | None  #: 64, the last tokens that penalties look at; 0: all
    logit_bias: Mapping[int, float] | None  #: added to tokens' logits; -inf bans
    seed: int | None  #: the system's
    stop: str | Sequence[str] | None  #: texts that end the answer
    ignore_end: bool | None  #: end-of-generation tokens are ordinary ones
    speculation: Speculation | None  #: "none"
    #: What the answer must match as a whole, at every temperature; at most one of the three (docs/grammar.md).
    schema: Mapping[str, Any] | bool | str | None  #: a JSON schema, or the text of one
    regex: str | None  #: a regular expression
    grammar: str | None  #: GBNF, of which the answer is ``root``
    logprobs: int | None  #: each token comes with its logprob, and those of so many of the likeliest tokens
    prompt_logprobs: bool | None  #: with ``logprobs``: those of the prompt too, which is read from its beginning
    #: Functions that the answer may call, as OpenAI's API has them (docs/python.md). Where a prompt is given as text or tokens,
    #: it is to tell of them (``Model.render``).
    tools: Sequence[Any] | None
    tool_choice: str | Mapping[str, Any] | None  #: "auto", "none", "required", or ``{"function": {"name": …}}``
    parallel_tool_calls: bool | None  #: False: one call at most where calls are required


@dataclass(frozen=True)
class TokenLogprobs:
    """How likely a token was to the model itself: the natural logarithm of its probability, before biases, penalties,
    temperature and what the answer is held to."""

    token: int
    logprob: float
    top: list[tuple[int, float]]  #: the likeliest tokens with theirs, the likeliest first


@dataclass(frozen=True)
class Piece:
    """A part of an answer with ``tools``."""

    kind: PieceKind  #: "call": ``text`` is a function's name, whose arguments follow: together they are JSON
    text: str
    id: str  #: of a call


@dataclass(frozen=True)
class TokenEvent:
    """One step of an answer."""

    token: int  #: -1: what was held back at the end
    text: str  #: empty while it may be the beginning of a stop string or an incomplete character; with ``tools``: of no call
    logprobs: TokenLogprobs | None  #: where they are asked for; not of token -1
    pieces: list[Piece]  #: with ``tools``


@dataclass(frozen=True)
class Result:
    """An answer."""

    text: str  #: with ``tools``: without calls and reasoning
    tokens: list[int]  #: without the end-of-generation token
    logprobs: list[TokenLogprobs] | None  #: of those tokens, where they are asked for
    prompt_logprobs: list[TokenLogprobs] | None  #: of the prompt's tokens from the second one on, where they are asked for
    message: Message | None  #: with ``tools``: the answer as the conversation's next message, with its ``tool_calls``
    finish: Finish
    stop: str | None  #: the stop string that matched
    prompt_tokens: int
    cached_tokens: int  #: of the prompt, read before
    prefill_tokens: int  #: of the prompt, read for this answer
    decode_tokens: int  #: after the first one
    decode_steps: int
    guessed_tokens: int
    accepted_tokens: int
    prefill_seconds: float
    decode_seconds: float
    first_token_seconds: float

    @property
    def tool_calls(self) -> list[Any]:
        """The calls of an answer with ``tools``: ``{"id", "type", "function": {"name", "arguments"}}``, the arguments JSON."""
        return list(self.message.get("tool_calls", [])) if self.message else []

    @property
    def decode_rate(self) -> float:
        """Tokens a second; 0 where nothing was measured."""
        return self.decode_tokens / self.decode_seconds if self.decode_seconds > 0 else 0.0


@dataclass(frozen=True)
class ModelInfo:
    """What a model file is."""

    path: str
    name: str
    architecture: str
    file_bytes: int
    weights: int
    context: int  #: positions that it was trained for
    layers: int
    embedding: int  #: floats of a hidden state
    vocabulary: int
    bos: int  #: -1: none
    eos: int
    has_chat_template: bool
    is_stack: bool


@dataclass(frozen=True)
class StackInfo:
    """What the beginning of a stack's file is (docs/stack.md)."""

    weights: int
    base_bytes: int
    file_bytes: int
    present_bytes: int
    blocks: int
    base_blocks: int
    bits: float
    base_bits: float


@dataclass(frozen=True)
class Memory:
    """What a model takes; all in bytes."""

    budget: int  #: of the process; 0: no limit
    automatic: bool
    elastic: bool  #: whether it can be set: the model is a stack
    process: int  #: resident, everything
    stack: int  #: of a stack's blocks, in memory
    stack_all: int
    bits: float  #: a weight of the stack's matrices, in memory
    kv_bytes: int
