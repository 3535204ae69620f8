"""The text of a run as tokens, where it stands, and how it goes: what panels and a status bar show."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dap_server.protocol.llm.tokens import Token
from dap_server.protocol.messages import SafeUInt, Struct


class GenerationArguments(Struct):
    """`llm/generation`: a stretch of the text of one sequence."""

    thread_id: int = 1
    start: SafeUInt = 0
    """Position, padding included."""
    count: SafeUInt | None = None
    """All that follow when missing."""
    top: Annotated[int, Meta(ge=0, le=100)] = 0
    """How many alternatives to tell of every chosen token, which runs its step again."""
    entropy: bool = False
    """Whether the entropy of every choice is wanted, which runs its step again."""


class Alternative(Token):
    """A token that could have been chosen."""

    probability: float | None = None
    """After all logits processors."""


class GeneratedToken(Token):
    """One position of the text."""

    position: SafeUInt
    step: SafeUInt | None = None
    """That chose it; missing in the prompt."""
    probability: float | None = None
    """With which it was chosen, after all logits processors."""
    entropy: float | None = None
    """Of that choice, in nats; missing where it was not asked for."""
    alternatives: list[Alternative] | None = None
    """The most likely ones, the chosen one among them if it is one of them."""
    special: bool = False
    padding: bool = False


class GenerationResponseBody(Struct):
    """A text, and where in it the run stands. After a way back the tokens that followed are still told."""

    sequence: SafeUInt
    tokens: list[GeneratedToken]
    total: SafeUInt
    """How many positions there are, asked for or not."""
    prompt_length: SafeUInt
    """Positions of the prompt, padding included."""
    steps: SafeUInt
    """How many tokens have been chosen."""
    step: SafeUInt
    """At which the run stands."""
    path: str
    """Of the module it stands at, empty for the whole model; or `step`, `logits`, `sample`, `end`, a processor."""
    phase: Literal["before", "after"]
    layers: list[str]
    """Paths of the layers, in their order."""
    has_selection: bool
    """Whether steps have `logits` and `sample`: not in decoding loops of transformers, nor without generation."""
    is_over: bool
    """Whether the last token of the run has been chosen."""
    layer: SafeUInt | None = None
    """Index in `layers` of the one that it stands in or behind; missing before the first one."""
    is_selecting: bool = False
    """Whether it stands in the choice of a token: at `logits`, a logits processor or `sample`."""


class StatusArguments(Struct):
    """`llm/status`: how the run goes."""


class StatusResponseBody(Struct):
    """The answer to `llm/status`."""

    model: str
    """Class of the model; empty before a program has called one."""
    device: str
    dtype: str
    parameters: SafeUInt
    steps: SafeUInt
    """How many tokens have been chosen, of each sequence."""
    seconds: float
    """That choosing them took; stops do not count."""
    memory: SafeUInt | None = None
    """Bytes in use: of the model's process, or on the device where it has memory of its own."""
    program: str | None = None
    """File name of the program that was started, or the name of its module; none of a prompt, or after an attach."""
    is_outside: bool = False
    """Whether the run stands in Python code around which no model is called: what is told is of the last call."""


class InlineValuesArguments(Struct):
    """`llm/inlineValues`: a short value for each of the modules whose lines are visible."""

    frame_id: int
    paths: list[str]
    """As written on the lines of the map."""
    wait: bool = False
    """Run the step again for what is not known yet. Else only what is held is told, at once."""


class InlineValue(Struct):
    """What the last call of a module in this step gave. Modules that have not run have none."""

    path: str
    norm: float | None = None
    """Euclidean, of the vector at the last position of its output; of its input while it runs."""
    is_input: bool = False
    token: Token | None = None
    """What the logit lens says behind a layer; at `sample` the chosen token."""
    probability: float | None = None


class InlineValuesResponseBody(Struct):
    values: list[InlineValue]
    is_complete: bool
    """Whether asking with `wait` would tell no more."""
