"""How a token is chosen: `llm/sampling`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dap_server.protocol.llm.tokens import Token
from dap_server.protocol.messages import SafeUInt, Struct


class SamplingArguments(Struct):
    """`llm/sampling`: the choice of the token of a frame's step, for the sequence of its thread."""

    frame_id: int
    step: SafeUInt | None = None
    """Another step of the same sequence than the frame's."""
    top: Annotated[int, Meta(ge=0, le=1000)] = 20
    """How many tokens to list at every stage."""


class SamplingToken(Token):
    """A token at one stage."""

    score: float | None = None
    """Missing when it is not a finite number: a token that was pruned has -inf."""
    probability: float | None = None


class SamplingMove(Token):
    """A token whose probability a logits processor changed."""

    before: float
    after: float


class SamplingOption(Struct):
    """What a logits processor was made with, as text."""

    name: str
    value: str


class SamplingStage(Struct):
    """The scores at one point of the choice."""

    name: str
    """`logits`, the class of a logits processor, or `probabilities`."""
    kind: Literal["logits", "processor", "probabilities"]
    occurrence: int
    """How many processors of that class come before it."""
    tokens: int
    """How many tokens can be chosen."""
    top: list[SamplingToken]
    chosen: SamplingToken
    """The token that is chosen in the end, at this stage."""
    rank: int | None = None
    """Of the chosen token, from 1; missing where there are no probabilities."""
    entropy: float | None = None
    """In nats; missing where there are no probabilities."""
    options: list[SamplingOption] | None = None
    changed: int = 0
    """How many scores are not what they were at the stage before."""
    pruned: int = 0
    """How many tokens were taken out."""
    pruned_mass: float | None = None
    """Their probability at the stage before."""
    nan: int = 0
    """How many scores are NaN."""
    movers: list[SamplingMove] | None = None
    """The tokens whose probability changed most."""


class SamplingResponseBody(Struct):
    """All stages, and the draw."""

    step: int
    sequence: int
    token: SamplingToken
    is_chosen: bool
    """Whether the token is chosen already; else it will be."""
    draw: Literal["greedy", "sampled", "padding"]
    """Padding is what a sequence that has ended gets, whatever the scores say."""
    pruned: int
    """How many tokens cannot be chosen that the logits allowed."""
    stages: list[SamplingStage]
    pruned_mass: float | None = None
    """Their probability under the logits."""
