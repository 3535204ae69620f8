"""Own messages about attention."""

from __future__ import annotations

from typing import Literal

from dap_server.protocol.llm.tiles import MaxCells, Tile, TileDtype
from dap_server.protocol.messages import SafeUInt, Struct


class Positions(Struct):
    """A stretch of a text; `end` is the first position behind it."""

    start: SafeUInt
    end: SafeUInt


class AttentionArguments(Struct):
    """`llm/attention`: where the heads of a layer look, in the step of a frame."""

    frame_id: int
    step: SafeUInt | None = None
    """Another step of the same sequence than the frame's."""
    layer: int | str | None = None
    """Index of a layer, or path of a module; the layer of the frame when missing."""
    heads: list[int] | None = None
    """All when missing."""
    queries: Positions | None = None
    """Positions that look; all of the step when missing."""
    keys: Positions | None = None
    """Positions that are looked at; all when missing."""
    max_cells: MaxCells = 1 << 16
    """How many numbers may come, all heads together: tiles that are larger are down-sampled by maximum."""
    dtype: TileDtype = "float16"
    leave_out: Literal["first", "highest"] | SafeUInt | None = None
    """A key that the tiles are without, such as a sink: the first token, the key that each head gives most to over the
    queries asked for, or a position. The rest of every row is made to sum to 1 again; nothing else changes."""


class AttentionAxis(Struct):
    """Queries or keys of a tile."""

    start: SafeUInt
    end: SafeUInt
    size: SafeUInt
    """How many there are, asked for or not."""
    labels: list[str]
    """The token at every cell; of a cell that stands for several the first one."""
    block: SafeUInt = 1
    """How many positions a cell stands for."""
    are_positions: bool = True
    """Whether `start` and `end` are positions of a text; else keys are something else, such as blocks of tokens."""


class AttentionHead(Struct):
    """One head over the queries asked for; masked ones do not count.

    `kind` is that of the highest of `scores`: `previous token`, `duplicate`, `induction` or `sink`, `mixed` when none
    is high. Cross attention has neither.
    """

    head: SafeUInt
    entropy: float
    """In nats."""
    first: float
    """Share of the first token."""
    tile: Tile
    """Queries × keys; NaN in rows whose every key is masked."""
    kind: str | None = None
    scores: dict[str, float] | None = None
    distance: float | None = None
    """How many positions back it looks."""
    left_out: SafeUInt | None = None
    """Position of the key that the tile is without; its column is 0, and a row that had nothing else NaN."""
    learnt_sink: float | None = None
    """Mean share that goes to no key at all, where the model has learnt such a sink; rows sum to 1 without it."""
    sinks: Tile | None = None
    """That share, by query."""


class AttentionOfModule(Struct):
    """One call of attention."""

    path: str
    """Of the module that made it."""
    kind: Literal["self", "cross", "encoder"]
    kernel: str
    """What ran: `eager`, `sdpa`, `flash_attention_2` …"""
    source: str
    """How it was heard of: `AttentionInterface`, `scaled_dot_product_attention`, `softmax` …"""
    head_count: SafeUInt
    queries: AttentionAxis
    keys: AttentionAxis
    heads: list[AttentionHead]
    start: SafeUInt = 0
    """Position of the first key of the sequence: those before it are padding."""
    window: SafeUInt | None = None
    """How many keys a query may see, itself among them."""


class AttentionResponseBody(Struct):
    step: SafeUInt
    path: str
    """The module that was looked into."""
    calls: list[AttentionOfModule]
    """Several in a decoder that also looks at an encoder; none where no attention can be heard of."""
