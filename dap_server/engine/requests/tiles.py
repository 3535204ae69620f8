"""Tiles on the wire."""

from __future__ import annotations

import base64

from dap_server.engine.inspection.tensors import tiles
from dap_server.protocol.llm.tiles import Tile


def tile_body(tile: tiles.Tile) -> Tile:
    """A tile as messages carry it."""
    return Tile(
        shape=list(tile.shape),
        dtype=tile.dtype,
        data=base64.b64encode(tile.data).decode("ascii"),
        scale=tile.scale,
        blocks=list(tile.blocks) if tile.reduction else None,
        reduction=tile.reduction,
    )
