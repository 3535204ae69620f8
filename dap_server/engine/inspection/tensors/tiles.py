"""Pages of numbers as bytes, down-sampled when they are larger than somebody can look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Dtype = Literal["float32", "float16", "uint8"]
Reduction = Literal["magnitude", "maximum"]

DEFAULT_CELLS = 1 << 16
"""256 kB in float32."""

PIECE_NUMEL = 1 << 20
"""Of so many elements float32 copies are made at a time."""

NOT_FINITE = 255
"""Stands for NaN and infinities in `uint8`."""


@dataclass(frozen=True)
class Tile:
    """Numbers in one or two axes.

    Attributes:
        data: little-endian, row by row; a value is `scale` times its number.
        blocks: so many neighbours along each axis became one number.
        reduction: which of them stands for the others; None when every one is there.
    """

    shape: tuple[int, ...]
    dtype: Dtype
    data: bytes
    scale: float
    blocks: tuple[int, ...]
    reduction: Reduction | None


@torch.no_grad()
def tile(
    values: Tensor,
    max_cells: int = DEFAULT_CELLS,
    dtype: Dtype = "float32",
    reduction: Reduction = "magnitude",
    between: Callable[[], None] = lambda: None,
) -> Tile:
    """Real numbers (N,) or (N, M) as at most `max_cells` numbers; never more than `PIECE_NUMEL` are copied at a time.

    Args:
        reduction: what stands for a block of neighbours: the value of the largest magnitude, with its sign, or the
            largest value. Of two that are as far from 0 the positive one; NaN goes before all.
        between: called between pieces; what it raises ends the work.

    Raises:
        ValueError: `uint8` of negative numbers.
    """
    rows = values.detach() if values.dim() == 2 else values.detach().reshape(1, -1)
    blocks = blocks_for(rows.shape[0], rows.shape[1], max_cells)
    cells = _number(rows) if blocks == (1, 1) else _pooled(rows, blocks, reduction, between)
    numbers = cells.cpu().numpy()
    encoded, scale = _encode(numbers, dtype)
    return Tile(
        shape=numbers.shape[2 - values.dim() :],
        dtype=dtype,
        data=encoded.astype(encoded.dtype.newbyteorder("<"), copy=False).tobytes(),
        scale=scale,
        blocks=blocks[2 - values.dim() :],
        reduction=None if blocks == (1, 1) else reduction,
    )


def blocks_for(rows: int, columns: int, max_cells: int) -> tuple[int, int]:
    """The smallest blocks, as even as the shape allows, that leave at most so many cells."""
    if rows * columns <= max_cells:
        return 1, 1
    side = math.isqrt(max_cells)
    if rows <= side:
        return 1, math.ceil(columns / (max_cells // rows))
    if columns <= side:
        return math.ceil(rows / (max_cells // columns)), 1
    return math.ceil(rows / side), math.ceil(columns / side)


def _number(values: Tensor) -> Tensor:
    return values.to(torch.float32)


def _pooled(rows: Tensor, blocks: tuple[int, int], reduction: Reduction, between: Callable[[], None]) -> Tensor:
    """(N, M) → (⌈N / blocks[0]⌉, ⌈M / blocks[1]⌉) in float32."""
    shape = tuple(math.ceil(size / block) for size, block in zip(rows.shape, blocks, strict=True))
    high = torch.full(shape, -math.inf, device=rows.device)
    low = torch.full(shape, math.inf, device=rows.device)
    for across in _spans(rows.shape[1], blocks[1], PIECE_NUMEL):
        for down in _spans(rows.shape[0], blocks[0], max(PIECE_NUMEL // across.size, 1)):
            between()
            piece = _number(rows[down.first : down.end, across.first : across.end])
            parts = _divided(_divided(piece, 0, down.block), 2, across.block)  # (n, block, m, block)
            at = (down.cells, across.cells)
            high[at] = torch.maximum(high[at], parts.amax((1, 3)))
            low[at] = torch.minimum(low[at], parts.amin((1, 3)))
    return high if reduction == "maximum" else torch.where(-low > high, low, high)


@dataclass(frozen=True)
class _Span:
    """A stretch of an axis that is worked on at a time: whole blocks, or a part of one.

    Attributes:
        block: how many elements of it belong together.
        cells: where they go.
    """

    first: int
    end: int
    block: int
    cells: slice

    @property
    def size(self) -> int:
        return self.end - self.first


def _spans(length: int, block: int, limit: int) -> Iterator[_Span]:
    """An axis in stretches of at most `limit` elements."""
    if block <= limit:
        step = limit // block * block
        for first in range(0, length, step):
            end = min(first + step, length)
            yield _Span(first, end, block, slice(first // block, math.ceil(end / block)))
        return
    for start in range(0, length, block):
        for first in range(start, min(start + block, length), limit):
            end = min(first + limit, start + block, length)
            yield _Span(first, end, end - first, slice(start // block, start // block + 1))


def _divided(values: Tensor, axis: int, block: int) -> Tensor:
    """An axis as blocks; the last one is filled up with its last element, which changes no extreme."""
    length = values.shape[axis]
    missing = -length % block
    if missing:
        last = values.narrow(axis, length - 1, 1)
        values = torch.cat([values, last.expand(*(missing if i == axis else -1 for i in range(values.dim())))], axis)
    return values.reshape(*values.shape[:axis], -1, block, *values.shape[axis + 1 :])


def _encode(numbers: np.ndarray, dtype: Dtype) -> tuple[np.ndarray, float]:
    """Numbers of a type, and what to multiply them with."""
    if dtype == "float32":
        return numbers, 1.0
    finite = np.isfinite(numbers)
    largest = float(np.abs(numbers[finite]).max(initial=0.0))
    if dtype == "float16":
        # A power of two loses no digits; the largest comes near the end of the range, so that few become subnormal.
        scale = 2.0 ** (math.frexp(largest)[1] - 15) if largest else 1.0
        return (numbers.astype(np.float64) / scale).astype(np.float16), scale
    if (numbers[finite] < 0).any():
        raise ValueError("uint8 holds numbers from 0 on: ask for float16 or float32")
    scale = largest / (NOT_FINITE - 1) or 1.0
    codes = np.full(numbers.shape, NOT_FINITE, np.uint8)
    codes[finite] = np.rint(numbers[finite].astype(np.float64) / scale).astype(np.uint8)
    return codes, scale
