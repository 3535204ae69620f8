"""Tensors in one line, their statistics, and pages of their elements.

A line costs no look at the values unless the tensor is small; nothing here copies more than the page that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SMALL_NUMEL = 1 << 14
"""Tensors on the host of at most this many elements show their summary in the line itself (about 0.1 ms)."""


PIECE_NUMEL = 1 << 22
"""Statistics of more elements are made piece by piece."""

FEW = 12
"""So many integers are written out in a line."""


@dataclass(frozen=True)
class Statistics:
    """Of all elements, in float64. Mean, std, min, max and norm are of the finite ones; NaN when there are none.

    Attributes:
        std: of the population, `sqrt(mean((x - mean)²))`.
        norm: Euclidean.
        first_non_finite: index of the first NaN or infinity.
    """

    count: int
    mean: float
    std: float
    min: float
    max: float
    norm: float
    zeros: int
    nan: int
    positive_inf: int
    negative_inf: int
    first_non_finite: tuple[int, ...] | None

    @property
    def non_finite(self) -> int:
        return self.nan + self.positive_inf + self.negative_inf


@torch.no_grad()
def statistics(tensor: Tensor, between: Callable[[], None] = lambda: None) -> Statistics:
    """Exact statistics of a dense real tensor, on its device, piece by piece in float64.

    Args:
        between: called between pieces; what it raises ends the work.

    Raises:
        TypeError: a complex or meta tensor, which has no order or no values.
    """
    if tensor.is_complex() or tensor.is_meta:
        raise TypeError(f"no statistics of a {'meta' if tensor.is_meta else 'complex'} tensor")
    parts = [_Part.of(piece) for piece in _pieces(tensor.detach(), between)]
    finite = sum(part.finite for part in parts)
    mean = math.fsum(part.total for part in parts) / finite if finite else math.nan
    around = math.fsum(p.around + p.finite * (p.total / p.finite - mean) ** 2 for p in parts if p.finite)
    return Statistics(
        count=tensor.numel(),
        mean=mean,
        std=math.sqrt(around / finite) if finite else math.nan,
        min=min((part.min for part in parts if part.finite), default=math.nan),
        max=max((part.max for part in parts if part.finite), default=math.nan),
        norm=math.sqrt(math.fsum(part.squares for part in parts)),
        zeros=sum(part.zeros for part in parts),
        nan=sum(part.nan for part in parts),
        positive_inf=sum(part.positive_inf for part in parts),
        negative_inf=sum(part.negative_inf for part in parts),
        first_non_finite=_first_non_finite(tensor, parts),
    )


@dataclass(frozen=True)
class _Part:
    """What one piece of a tensor tells; sums are over its finite elements.

    Attributes:
        around: of squared distances from the mean of the piece; pieces are joined as Chan, Golub and LeVeque do (1983).
        first: flat index of the first element that is not finite, or -1.
    """

    count: int
    finite: int
    total: float
    around: float
    squares: float
    min: float
    max: float
    zeros: int
    nan: int = 0
    positive_inf: int = 0
    negative_inf: int = 0
    first: int = -1

    @classmethod
    def of(cls, piece: Tensor) -> _Part:
        """`piece`: (N,)."""
        values = piece.to(torch.float64)
        count, zeros = values.numel(), values.numel() - int(values.count_nonzero())
        if math.isfinite(total := float(values.sum())):  # what is not finite would show in the sum
            return cls(count, count, total, *_sums(values, total), zeros)
        is_finite = values.isfinite()
        good = values[is_finite]
        total = float(good.sum())
        return cls(
            count,
            good.numel(),
            total,
            *_sums(good, total),
            zeros,
            nan=int(values.isnan().sum()),
            positive_inf=int(values.isposinf().sum()),
            negative_inf=int(values.isneginf().sum()),
            first=-1 if good.numel() == count else int((~is_finite).to(torch.uint8).argmax()),
        )


def _sums(values: Tensor, total: float) -> tuple[float, float, float, float]:
    """Squared distances from the mean, squares, minimum and maximum of finite values (N,)."""
    if not values.numel():
        return 0.0, 0.0, math.nan, math.nan
    squares = float(values.dot(values))
    low, high = values.aminmax()
    values = values - total / values.numel()
    return float(values.dot(values)), squares, float(low), float(high)


def _pieces(tensor: Tensor, between: Callable[[], None]) -> Iterator[Tensor]:
    """The elements in order, flat, in pieces that bound what float64 copies of them take."""
    if tensor.numel() <= PIECE_NUMEL:
        yield tensor.reshape(-1)
    elif tensor.is_contiguous():
        for piece in torch.split(tensor.view(-1), PIECE_NUMEL):
            between()
            yield piece
    else:
        for row in tensor:
            yield from _pieces(row, between)


def _first_non_finite(tensor: Tensor, parts: list[_Part]) -> tuple[int, ...] | None:
    before = 0
    for part in parts:
        if part.first >= 0:
            return tuple(int(i) for i in np.unravel_index(before + part.first, tuple(tensor.shape)))
        before += part.count
    return None


def type_line(tensor: Tensor) -> str:
    """`float32 [1, 7, 128] cpu`: never looks at a value."""
    return f"{dtype_name(tensor.dtype)} {list(tensor.shape)} {tensor.device}"


def line(tensor: Tensor) -> str:
    """One line for a tensor: dtype, shape, device, and what its values are like when that is cheap."""
    head = type_line(tensor)
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return f"{head} {str(tensor.layout).removeprefix('torch.')}{' quantized' if tensor.is_quantized else ''}"
    if tensor.numel() == 0:
        return f"{head} empty"
    if not _is_near(tensor) or tensor.is_complex():
        return head
    if tensor.numel() == 1:
        return f"{number(tensor)} · {head}"
    if tensor.dtype is torch.bool:
        return f"{head} · {int(tensor.sum())} of {tensor.numel()} true"
    if not tensor.is_floating_point():
        return f"{head} · {_integers(tensor)}"
    return f"{head} · {summary(statistics(tensor))}"


def _integers(tensor: Tensor) -> str:
    """A few integers themselves, the range of many: their mean says nothing."""
    if tensor.numel() <= FEW:
        return str(tensor.tolist())
    return f"in [{int(tensor.min())}, {int(tensor.max())}]"


def summary(stats: Statistics) -> str:
    """`0.01 ± 1.2 in [-4.1, 3.9]`, and what is not finite."""
    parts = (
        [] if math.isnan(stats.mean) else [f"{stats.mean:.4g} ± {stats.std:.4g} in [{stats.min:.4g}, {stats.max:.4g}]"]
    )
    for count, name in ((stats.nan, "NaN"), (stats.positive_inf, "inf"), (stats.negative_inf, "-inf")):
        if count:
            parts.append(f"{count} {name}")
    return ", ".join(parts)


def number(element: Tensor) -> str:
    """The one element of a tensor, with the digits that tell it from its neighbours in its dtype."""
    return numbers(element.detach().reshape(1))[0]


@torch.no_grad()
def numbers(values: Tensor) -> list[str]:
    """The elements of a tensor (N,) as text."""
    if values.is_meta:
        return ["?"] * values.shape[0]
    if values.is_floating_point():
        wide = values.detach().to("cpu", torch.float64 if values.dtype is torch.float64 else torch.float32)
        return [str(x) for x in wide.numpy()]
    return [str(x) for x in values.detach().cpu().tolist()]


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _is_near(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.numel() <= SMALL_NUMEL
