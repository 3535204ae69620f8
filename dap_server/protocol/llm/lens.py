"""What each layer would say, and what each part adds to a logit."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dap_server.protocol.llm.tokens import Token
from dap_server.protocol.messages import SafeUInt, Struct


class LensArguments(Struct):
    """`llm/lens`: the logit lens over layers and positions of the frame's sequence, at the frame's step."""

    frame_id: int
    step: SafeUInt | None = None
    """Another step of the same sequence than the frame's."""
    layers: list[int] | None = None
    """Indices of layers; -1 is what goes into the first one. All of them when missing."""
    positions: list[int] | None = None
    """In the sequence, padding included, as in the scope Tokens; from its end when negative. Only the position that the
    step chooses its token from when missing."""
    top: Annotated[int, Meta(ge=0, le=100)] = 5
    """How many of the most likely tokens are told."""
    watch: list[int | str] | None = None
    """Tokens whose rank and probability are told everywhere: ids, or their text, such as ' Paris', quoted or not."""
    exact: bool = False
    """Run every step again, rather than one forward over the whole text; takes as many forwards as there are steps."""


class LensCandidate(Token):
    """A token that could come next, or a label of a classifier."""

    rank: int
    """Counted from 1."""
    probability: float | None = None
    """Missing, as every number of a model may be, where it is not finite."""
    logit: float | None = None


class LensCell(Struct):
    """What would be said after one layer at one position, and the residual stream there."""

    top: list[LensCandidate]
    watched: list[LensCandidate]
    """In the order of `watch`."""
    norm: float | None = None
    """Euclidean norm of the residual stream."""
    update: float | None = None
    """Norm of what the layer added; 0 before the first one."""
    cosine: float | None = None
    """Of the residual stream with what the last layer leaves."""


class LensLayer(Struct):
    """A line of the table."""

    index: int
    """-1 for what goes into the first layer."""
    path: str
    """Of the module; empty for what goes into the first layer."""


class LensColumn(Struct):
    """One position of the text."""

    recomputed: bool
    """Whether it comes from one forward over the whole text, which rounds differently than the steps of the run did."""
    cells: list[LensCell]
    """In the order of `layers`; empty for padding."""
    position: int | None = None
    """Missing for a classifier, which says one thing about the whole text."""
    token: Token | None = None
    """That stands there."""
    padding: bool = False


class LensResponseBody(Struct):
    """The answer to `llm/lens`."""

    layers: list[LensLayer]
    columns: list[LensColumn]


class AttributionArguments(Struct):
    """`llm/attribution`: what each part of the model added to a logit at the position that a step chooses from."""

    frame_id: int
    token: int | str | None = None
    """An id, or a text, quoted or not; the token that the step chooses when missing."""
    position: int | None = None
    """In the sequence, from its end when negative: of an earlier choice, or one inside the prompt."""
    heads: bool = True
    """Whether attention is split into its heads."""


class AttributionPart(Struct):
    """One term of a logit."""

    name: str
    """Path of a module, `head 3` of the attention that it is a part of, `embedding`."""
    kind: Literal["embedding", "between", "layer", "attention", "module", "head", "bias"]
    value: float | None = None
    rest: float | None = None
    """What `parts` do not explain of it."""
    parts: list[AttributionPart] = []
    note: str | None = None
    """Why there are no `parts`."""


class AttributionResponseBody(Struct):
    """The answer to `llm/attribution`: `parts` and `remainder` sum to `logit`."""

    token: Token
    position: int
    parts: list[AttributionPart]
    """Embedding, layers in their order, biases behind them."""
    logit: float | None = None
    """Before capping, if the model caps its logits."""
    given: float | None = None
    """As the model gave it."""
    total: float | None = None
    """The sum of `parts`."""
    remainder: float | None = None
    """What they do not explain: rounding."""
