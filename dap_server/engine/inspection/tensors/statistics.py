"""What the elements of a tensor are like: exact, in one pass over pieces of it, on its device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dap_server.engine.inspection.tensors import counting
from dap_server.engine.inspection.tensors.counting import Counted
from dap_server.engine.inspection.tensors.pieces import Between, pieces, unheard


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
    def finite(self) -> int:
        return self.count - self.non_finite

    @property
    def non_finite(self) -> int:
        return self.nan + self.positive_inf + self.negative_inf


def statistics(tensor: Tensor, between: Between = unheard) -> Statistics:
    """Exact statistics of real elements.

    Args:
        between: called between pieces; what it raises ends the work.

    Raises:
        TypeError: complex elements, which have no order, or elements that cannot be read.
    """
    return summarize(tensor, between)[0]


@torch.no_grad()
def summarize(tensor: Tensor, between: Between = unheard) -> tuple[Statistics, Counted | None]:
    """With how often each value occurs, where the pass has counted that."""
    if tensor.is_complex():
        raise TypeError("complex numbers have no order: look at `real` and `imag`")
    if not counting.is_countable(tensor):
        return _summed(tensor, between), None
    counted, first = counting.count_values(tensor, between)
    return _of_counts(counted, _index(first, tensor)), counted


def _summed(tensor: Tensor, between: Between) -> Statistics:
    parts = [_Part.of(piece) for piece in pieces(tensor, between)]
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
        first_non_finite=_index(_first_non_finite(parts), tensor),
    )


def _of_counts(counted: Counted, first_non_finite: tuple[int, ...] | None) -> Statistics:
    values, counts = counted.values, counted.counts
    is_finite = np.isfinite(values)
    x, n = values[is_finite], counts[is_finite]
    finite = int(n.sum())
    mean = math.fsum(x * n) / finite if finite else math.nan
    return Statistics(
        count=int(counts.sum()),
        mean=mean,
        std=math.sqrt(math.fsum(n * (x - mean) ** 2) / finite) if finite else math.nan,
        min=float(x.min()) if finite else math.nan,
        max=float(x.max()) if finite else math.nan,
        norm=math.sqrt(math.fsum(n * x * x)),
        zeros=int(n[x == 0].sum()),
        nan=int(counts[np.isnan(values)].sum()),
        positive_inf=int(counts[values == math.inf].sum()),
        negative_inf=int(counts[values == -math.inf].sum()),
        first_non_finite=first_non_finite,
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


def _first_non_finite(parts: list[_Part]) -> int:
    before = 0
    for part in parts:
        if part.first >= 0:
            return before + part.first
        before += part.count
    return -1


def _index(flat: int, tensor: Tensor) -> tuple[int, ...] | None:
    if flat < 0:
        return None
    return tuple(int(i) for i in np.unravel_index(flat, tuple(tensor.shape)))
