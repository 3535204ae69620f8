"""Attention weights of many rows as small pictures, in memory that does not grow with their number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from dap_server.engine.analysis.attention.heads import HeadSummary, Tally
from dap_server.engine.analysis.attention.sinks import without
from dap_server.engine.analysis.attention.weights import AttentionCall
from dap_server.engine.execution import memory
from dap_server.engine.inspection.tensors import tiles
from dap_server.engine.inspection.tensors.tiles import Tile

COPIES = 12
"""Of the rows that are worked on at once, in float32: scores, weights, and float64 for the sums."""

HIDDEN = -1.0
"""Stands for what is masked until it is known that nothing beside it is open."""


@dataclass(frozen=True)
class HeadTile:
    """One head.

    Attributes:
        weights: queries × keys.
        sinks: by query, where there is a learnt sink.
    """

    head: int
    summary: HeadSummary
    weights: Tile
    sinks: Tile | None


@torch.no_grad()
def head_tiles(
    call: AttentionCall,
    sequence: int,
    heads: Sequence[int],
    rows: range,
    keys: range,
    cells: int,
    dtype: tiles.Dtype,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    left_out: Sequence[int | None] | None = None,
) -> list[HeadTile]:
    """Some heads over some query rows and keys, by their indexes, each as at most `cells` numbers.

    Args:
        report: called between pieces of work with how many rows are done, and of how many; what it raises ends it.
        left_out: by head of the call, the index of a key that its tile is without.

    Raises:
        NotEnoughMemory: not even a few rows fit.
    """
    blocks = tiles.blocks_for(len(rows), len(keys), cells)
    size = min(call.rows_at_once(), max(len(rows), 1))
    needed = COPIES * 4 * call.shape[1] * call.shape[3] * size
    memory.require(
        needed, call.device, f"{size} rows of attention over {call.shape[3]:,} keys", "there is no smaller piece"
    )
    tally = Tally(call.text, sequence, call.shape[3], call.device)
    shape = (len(heads), math.ceil(len(rows) / blocks[0]))
    weights = torch.full((*shape, math.ceil(len(keys) / blocks[1])), HIDDEN, device=call.device)
    sinks: Tensor | None = None
    for start in range(rows.start, rows.stop, size):
        report(start - rows.start, len(rows))
        piece = call.rows(sequence, slice(start, min(start + size, rows.stop)))
        tally.add(piece, start)
        cell = (torch.arange(piece.weights.shape[1], device=call.device) + start - rows.start) // blocks[0]
        shown = _of_heads(piece.weights, heads)
        if left_out is not None:
            shown = without(shown, [left_out[head] for head in heads])
        _keep_largest(weights, cell, _pooled(shown[..., keys.start : keys.stop], blocks[1]))
        if piece.sink is not None:
            sinks = torch.full((*shape, 1), HIDDEN, device=call.device) if sinks is None else sinks
            _keep_largest(sinks, cell, _pooled(_of_heads(piece.sink, heads)[..., None], 1))
    summaries = tally.summaries()
    made = []
    for i, head in enumerate(heads):
        own_sinks = None if sinks is None else _tile(sinks[i, :, 0], blocks[:1], dtype)
        made.append(HeadTile(head, summaries[head], _tile(weights[i], blocks, dtype), own_sinks))
    return made


def _pooled(values: Tensor, block: int) -> Tensor:
    """(H, T', S) → (H, T', ⌈S / block⌉), the largest of every block, HIDDEN where all of it is masked."""
    values = values.float()
    if bool(values[..., 0].isnan().any()):
        values = values.nan_to_num(HIDDEN)
    if block == 1:
        return values
    if missing := -values.shape[-1] % block:
        values = nn.functional.pad(values, (0, missing), value=HIDDEN)
    return values.reshape(*values.shape[:2], -1, block).amax(-1)


def _of_heads(weights: Tensor, heads: Sequence[int]) -> Tensor:
    return weights if list(heads) == list(range(weights.shape[0])) else weights[list(heads)]


def _keep_largest(cells: Tensor, at: Tensor, values: Tensor) -> None:
    """Puts rows `values` (H, T', m) into rows `at` (T',) of `cells` (H, n, m)."""
    cells.scatter_reduce_(1, at[None, :, None].expand_as(values), values, "amax")


def _tile(cells: Tensor, blocks: tuple[int, ...], dtype: tiles.Dtype) -> Tile:
    cells = cells.masked_fill(cells < 0, math.nan)
    made = tiles.tile(cells, max(cells.numel(), 1), dtype, "maximum")
    pooled = any(block > 1 for block in blocks)
    return replace(made, blocks=blocks, reduction="maximum" if pooled else None)
