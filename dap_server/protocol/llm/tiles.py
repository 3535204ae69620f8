"""A page of numbers for a picture or a table, as several own messages carry it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dap_server.protocol.messages import SafeUInt, Struct

TileDtype = Literal["float32", "float16", "uint8"]
Reduction = Literal["magnitude", "maximum"]

MaxCells = Annotated[int, Meta(ge=1, le=1 << 22)]
"""How many numbers a tile may have at most."""


class Tile(Struct):
    """Numbers in one or two axes, row by row. A value is `scale` times the number in `data`."""

    shape: list[SafeUInt]
    """After down-sampling."""
    dtype: TileDtype
    data: str
    """Little-endian, in base64. In `uint8` 255 stands for what is not finite, such as a masked row."""
    scale: float = 1.0
    blocks: list[SafeUInt] | None = None
    """So many neighbours along each axis became one number; the last block may have fewer. Missing: all are there."""
    reduction: Reduction | None = None
    """Which one stands for a block: the one that is farthest from 0, with its sign, or the largest. NaN before all."""
